"""Print the plan of a pipeline: its stages, the checkpoints that they need, and the estimated time."""

from app.console import say, table
from app.paper_plan import Plan
from ercache.wording import count_noun


def show_plan(plan: Plan, command: str = "dvc repro") -> None:
    """Print a plan.

    Args:
        plan: the plan.
        command: the command that runs it.
    """
    table(("stage",), [(name,) for name in plan.stages], title="`dvc repro` runs")
    rows = [
        (
            need.key,
            "here" if need.present else "LACKING",
            f"{need.bytes / 1e6:,.0f} MB" if need.bytes else "",
            need.command,
        )
        for need in plan.needs
    ]
    if rows:
        table(("checkpoint or folder", "", "size", "to get it"), rows, title="what they need")
    if plan.estimate_seconds is not None:
        text = (
            f"extraction: about {_duration(plan.estimate_seconds)}, from rates measured on {plan.measured_on}"
        )
        without = f"; not measured, so left out: {', '.join(plan.unmeasured)}" if plan.unmeasured else ""
        say(f"{text}{without}. Trainings are not in the estimate.")
    for line in plan.deviations:
        say(f"differs from the paper: {line}")
    if plan.lacking:
        say(
            f"{len(plan.lacking)} of {len(plan.needs)} are lacking; get them, run `ercache pipeline`, then `{command}`"
        )
    else:
        say(f"next: {command}")


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{count_noun(round(seconds / 60), 'minute')}" if seconds >= 60 else "1 minute or less"

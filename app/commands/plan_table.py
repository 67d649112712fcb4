"""Print what a DVC pipeline will run: its stages, the checkpoints that they need, estimated time and disk space."""

from app.console import say, table
from app.paper_plan import Estimate, StagePlan
from ercache.wording import count_noun


def show_plan(plan: StagePlan, command: str = "dvc repro") -> None:
    """Print what the pipeline of a corpus will run, which checkpoints it lacks, and the command to run next.

    Args:
        plan: what the pipeline will run, and what it needs.
        command: the command that starts the pipeline; it is printed at the end.
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
    if plan.estimate is not None:
        _say_estimate(plan.estimate, plan.free_bytes)
    for line in plan.deviations:
        say(f"differs from the paper: {line}")
    if plan.lacking:
        say(
            f"{len(plan.lacking)} of {len(plan.needs)} are lacking; get them, run `ercache pipeline`, then `{command}`"
        )
    else:
        say(f"next: {command}")


def _say_estimate(estimate: Estimate, free_bytes: int) -> None:
    without = f"; not measured, so left out: {', '.join(estimate.unmeasured)}" if estimate.unmeasured else ""
    space = f" and {_size(estimate.bytes)} on disk" if estimate.bytes is not None else ""
    say(
        f"extraction: about {_duration(estimate.seconds)}{space}, from rates measured on "
        f"{estimate.measured_on}{without}. Trainings are not in the estimate."
    )
    if estimate.bytes is not None and estimate.bytes > free_bytes:
        say(f"warning: the disk has {_size(free_bytes)} free, less than the features will take")


def _size(size: int) -> str:
    """Write a number of bytes in MB or GB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6)):,} MB"


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{count_noun(round(seconds / 60), 'minute')}" if seconds >= 60 else "1 minute or less"

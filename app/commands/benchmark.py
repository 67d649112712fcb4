"""The command `ercache bench batch`: measure a good batch size on this machine."""

from typing import Annotated

import typer

from app.console import FEATURES, Device, Json, answer, device_of, params, say, table
from app.features import features_of
from ercache.errors import WorkError

benchmarks = typer.Typer(help="Measure the speed of encoders on this machine.", no_args_is_help=True)


def register(cli: typer.Typer) -> None:
    """Add the group `ercache bench` with the command `batch` to the command line."""
    cli.add_typer(benchmarks, name="bench", rich_help_panel=FEATURES)


@benchmarks.callback()
def _group() -> None:
    """Measure the speed of encoders on this machine."""


@benchmarks.command("batch")
def batch(
    feature: Annotated[str, typer.Argument(help="Name of a feature in params.yaml.")],
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure an encoder's speed at several batch sizes, and print a good batch size for this machine.

    To use it, write it into params.yaml as `engine.batch`.

    Example: [dim]ercache bench batch minilm[/]
    """
    loaded = params()
    (wanted,) = features_of(loaded, [feature])
    from extract.encoders.numba_cache import prepare
    from extract.engine.batch_size import good_batch_size, throughputs

    if wanted.spec.modality == "audio":
        prepare()
    found = throughputs(wanted, loaded.engine, device_of(device))
    if not found:
        raise WorkError(
            f"feature {feature}: a single utterance does not fit into the memory of {device}; use --device cpu"
        )
    value = good_batch_size(found)
    if json:
        answer(value)
        return
    table(("batch", "utterances/s"), [(r.batch, f"{r.utterances_per_second:.1f}") for r in found])
    if wanted.spec.batch == "one":
        say(f"{feature} is encoded one utterance at a time, so engine.batch has no effect on it")
    else:
        say(f"engine.batch: {value}")

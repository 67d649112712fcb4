"""What every command shares: answers on stdout (table or JSON), progress on stderr, params read once."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from app.lines import Tick, lines
from ercache.errors import UsageError
from ercache.params.load import NO_PARAMS, PARAMS_FILE, load_params, suggestion
from ercache.params.schema import Params
from extract.corpora import CORPORA
from extract.encoders import configs as encoder_configs
from extract.pretrain.config import CONFIGS
from fusion.models import configs as model_configs

DATA = Path("data")
MANIFESTS = DATA / "manifests"
PIPED_WIDTH = 200  # a table in a file or pipe takes the width it needs
CACHES = DATA / "caches"
MODELS = DATA / "models"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]


def say(message: str) -> None:
    """A message for people, on stderr."""
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


def answer(value: Any) -> None:
    """The JSON answer, on stdout; what the terminal's encoding lacks, or no text is, stands there escaped."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=1, allow_nan=False)
    sys.stdout.write(text + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """A table for people, on stdout."""
    out = Table(*columns, title=title or None, title_justify="left", header_style="bold")
    out.columns[0].no_wrap = True  # what people type
    for column in out.columns:
        column.overflow = "fold"  # in a narrow terminal no figure loses its end
    for row in rows:
        out.add_row(*[Text(str(cell)) for cell in row])
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPED_WIDTH)
    console.print(out)


def params(models: bool = False) -> Params:
    """params.yaml of this folder, wholly checked.

    Args:
        models: also check the models' configs, which takes an import of torch: seconds, where nothing is trained.
    """
    corpora = {key: entry.Switches for key, entry in CORPORA.items()}
    configs = model_configs() if models else None
    return load_params(corpora=corpora, encoders=encoder_configs(), models=configs, extractors=CONFIGS)


def known(name: str, names: Mapping[str, Any], what: str) -> str:
    """A name that must be among known ones.

    Raises:
        UsageError: it is not; with the nearest one that is.
    """
    if name not in names:
        here = names or PARAMS_FILE.is_file()
        raise UsageError(f"unknown {what} {name!r}", hint=suggestion(name, names) if here else NO_PARAMS)
    return name


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")


@contextmanager
def progress() -> Iterator[Tick]:
    """Bars with rate and time left on stderr; a line now and then when that is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        with lines(say) as told:
            yield told
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def tick(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield tick


def device_of(name: str) -> str:
    """The torch device of an option.

    Raises:
        UsageError: it is no device, or not on this machine.
    """
    if name == "cpu" or (name == "auto" and not _graphics_devices()):
        return "cpu"
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: no GPU on this machine", hint="use --device cpu")
    if not name.startswith("cuda"):
        raise UsageError(f"--device is auto, cpu or cuda, not {name!r}")
    return name


def _graphics_devices() -> list[Path]:
    """Device files of NVIDIA's drivers (on Linux, and under Windows' Linux): torch takes seconds to import."""
    return [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]

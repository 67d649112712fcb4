"""Helpers of all commands: tables and JSON on stdout, messages and progress on stderr, reading params.yaml."""

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

from app.progress_lines import EVERY, ProgressReporter, progress_lines
from ercache.errors import UsageError
from ercache.params.load import NO_PARAMS, PARAMS_FILE, load_params, suggestion
from ercache.params.schema import Params
from extract.corpora import CORPORA
from extract.encoders import configs as encoder_configs
from extract.pretrain.config import CONFIGS
from fusion.models import configs as model_configs

DATA = Path("data")
MANIFESTS = DATA / "manifests"
PIPED_WIDTH = 200  # columns of a table that goes to a file or pipe
CACHES = DATA / "caches"
MODELS = DATA / "models"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, or auto (GPU if any).")]
# Headings under which `ercache --help` lists the commands.
START, FEATURES, EXPERIMENTS, REPORTS = "Getting started", "Features", "Experiments", "Reports"


def say(message: str) -> None:
    """Print a message for the user on stderr, so that stdout holds only results."""
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


def answer(value: Any) -> None:
    """Print a value as JSON on stdout. Characters that the terminal's encoding cannot show are escaped."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=1, allow_nan=False)
    sys.stdout.write(text + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Print rows as a table with column titles on stdout."""
    out = Table(*columns, title=title or None, title_justify="left", header_style="bold")
    out.columns[0].no_wrap = True  # names and keys that people copy
    for column in out.columns:
        column.overflow = "fold"  # a narrow terminal must not cut the end of a number
    for row in rows:
        out.add_row(*[Text(str(cell)) for cell in row])
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPED_WIDTH)
    console.print(out)


def params(models: bool = False, contents: Mapping[Path, str] | None = None) -> Params:
    """Read and check params.yaml of the working directory.

    Args:
        models: whether to check the experiments and configs of models, too. This imports torch, which takes seconds.
        contents: path -> new text of params.yaml and params.local.yaml. These texts, which are not written yet, are
            checked instead of the files; None to check the files.

    Raises:
        ParamsError: an entry is wrong. The details list all wrong entries.
    """
    corpora = {key: entry.Switches for key, entry in CORPORA.items()}
    configs = model_configs() if models else None
    loaded = load_params(
        corpora=corpora,
        encoders=encoder_configs(),
        models=configs,
        extractors=CONFIGS,
        contents=contents,
    )
    if models:
        from fusion.experiment.resolve import check_experiments

        check_experiments(loaded)
    return loaded


def check_name(name: str, names: Mapping[str, Any], what: str) -> str:
    """Return a name unchanged if it is a key of `names`. If not, raise an error.

    Args:
        names: dictionary whose keys are the allowed names.
        what: what the name stands for, such as "corpus" or "experiment"; used in the message.

    Raises:
        UsageError: the name is unknown. The hint gives the most similar allowed name.
    """
    if name not in names:
        here = names or PARAMS_FILE.is_file()
        raise UsageError(f"unknown {what} {name!r}", hint=suggestion(name, names) if here else NO_PARAMS)
    return name


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")


@contextmanager
def progress(every: float = EVERY) -> Iterator[ProgressReporter]:
    """Context manager: show progress on stderr.

    In a terminal, each task has a bar with its rate and remaining time. Otherwise, lines are printed, by default every
    30 s.

    Args:
        every: seconds between two lines if stderr is not a terminal.

    Yields:
        A function that reports progress. It takes the name of a task, the number of finished items, and the number of
            all items.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        with progress_lines(say, every) as tick:
            yield tick
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
    """Return the torch device for a value of the option `--device`.

    Raises:
        UsageError: the value is unknown, or this machine does not have the device.
    """
    if name == "cpu" or (name == "auto" and not _graphics_devices()):
        return "cpu"
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: no GPU on this machine", hint="use --device cpu")
    if not name.startswith("cuda"):
        raise UsageError(f"unknown device {name!r}: give --device auto, cpu or cuda")
    return name


def _graphics_devices() -> list[Path]:
    """List the device files of NVIDIA's drivers on Linux and WSL. Empty if the machine has no NVIDIA GPU.

    Looking for these files is quicker than importing torch.
    """
    return [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]

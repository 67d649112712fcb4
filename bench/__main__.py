"""Runs benchmarks, and writes the measured figures to docs/benchmarks.json and docs/benchmarks.md."""

import json
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import psutil
import typer

from bench import caches, encoders, extract, faces, fusion, long, pretraining, scan, sequences, texts
from bench.sets import SetName
from ercache.cpus import cores
from ercache.errors import UsageError
from ercache.params.load import load_params, suggestion

OUT: Final = Path("docs")
LIGHT_CLIPS: Final = 480
SOUND_CLIPS: Final = 1_440  # number of speech clips in RAVDESS
PAPER_CLIPS: Final = 60  # full-size networks take seconds for each clip


def _extract(folder: Path, clips: int, encoder_set: SetName, scale: int) -> dict[str, Any]:
    return extract.measure(folder, clips, encoder_set, scale=scale, engine=load_params().engine)


LONG: Final = {f"long_{suffix}": partial(long.measure, container=suffix) for suffix in long.CONTAINERS}
BENCHES: Final[Mapping[str, Callable[[Path], Mapping[str, Any]]]] = {
    "cache": caches.measure,
    "text": lambda _: texts.measure(),
    "faces": faces.measure,
    "extract": partial(_extract, clips=LIGHT_CLIPS, encoder_set="light", scale=10),
    "extract_paper": partial(_extract, clips=PAPER_CLIPS, encoder_set="paper", scale=0),
    "extract_sound": partial(_extract, clips=SOUND_CLIPS, encoder_set="sound", scale=0),
    **LONG,
    "encoders": encoders.measure,
    "scan": scan.measure,
    "fusion": fusion.measure,
    "sequences": sequences.measure,
    "pretraining": lambda _: pretraining.measure(),
}


def machine() -> dict[str, Any]:
    """Return the facts of this machine that docs/benchmarks.md shows: processor, cores, memory, system and Python."""
    return {
        "processor": platform.machine(),
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Benchmarks to run; without any, all except `long_*`, which take about 25 minutes each."
        ),
    ] = None,
) -> None:
    """Run benchmarks and write their figures to docs/benchmarks.json and .md; figures of all other benchmarks stay."""
    wanted = names or [name for name in BENCHES if name not in LONG]
    for unknown in set(wanted) - set(BENCHES):
        raise UsageError(f"unknown benchmark {unknown!r}", hint=suggestion(unknown, BENCHES))
    path = OUT / "benchmarks.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = {"machine": machine(), **BENCHES[name](Path(folder))}
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (OUT / "benchmarks.md").write_text(page(figures), encoding="utf-8")
    print(f"figures: {OUT / 'benchmarks.md'}")


def page(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Make the text of docs/benchmarks.md from the measured figures, with one section for each benchmark."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`python -m bench NAME` runs one again). Each ratio is against a reference that was "
        "measured in the same run. The head of `bench/NAME.py` describes the reference.",
    ]
    for name in (n for n in BENCHES if n in figures):
        measured = dict(figures[name])
        on = measured.pop("machine", None)
        lines += ["", f"## {name}", *([_machine_sentence(on)] if on else []), *_tables(measured)]
    return "\n".join(lines) + "\n"


def _machine_sentence(on: Mapping[str, Any]) -> str:
    places = (
        f"{on['cores']} cores, {on['memory_gb']} GB, {on['system']} {on['processor']}, Python {on['python']}"
    )
    return f"\nMeasured on {places}."


def _tables(values: Mapping[str, Any]) -> list[str]:
    """Make the Markdown tables of one benchmark: a table of all single figures, then a table for each family.

    A family is a group of entries with the same kind of figures, such as the speeds of each encoder. Each entry is a
    row of its table.

    Args:
        values: name -> figure, or name -> nested mapping of figures.
    """
    plain, families = [], []
    for name, value in _flat(values):
        if isinstance(value, Mapping):
            columns = list(dict.fromkeys(column for row in value.values() for column in row))
            families += ["", f"`{name}`", "", *_grid(("", *columns), value)]
        else:
            plain.append(f"| {name} | {value} |")
    return [*(["", "| figure | value |", "|---|---|", *plain] if plain else []), *families]


def _grid(head: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, row in rows.items():
        cells = [name, *("" if row.get(c) is None else str(row[c]) for c in head[1:])]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each figure of nested mappings as a pair: dotted name (such as `naive.seconds`) and value.

    A family (several entries with the same kind of figures, such as one for each encoder) is yielded as a whole.
    """
    for key, value in values.items():
        if _is_family(value):
            yield f"{before}{key}", value
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif not isinstance(value, list | tuple):
            yield f"{before}{key}", value


def _is_family(value: Any) -> bool:
    rows = list(value.values()) if isinstance(value, Mapping) else []
    return len(rows) > 1 and all(
        isinstance(row, Mapping) and not any(isinstance(v, Mapping) for v in row.values()) for row in rows
    )


if __name__ == "__main__":
    typer.run(main)

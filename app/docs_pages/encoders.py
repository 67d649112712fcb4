"""The table that describes every encoder, for `ercache encoders` and docs/encoders.md."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from app.docs_pages.tables import line, write_table
from ercache import weights
from ercache.cache import ArraySpec
from extract.encoders import ENCODERS
from extract.encoders.base import WHOLE_DIALOGUE, EncoderKind, Input
from extract.media.types import PictureRequest

BEGIN: Final = "<!-- `ercache encoders --write docs/encoders.md` makes this table -->"
END: Final = "<!-- end of the table -->"
COLUMNS: Final = (
    "key", "what", "input", "arrays", "batch", "checkpoint", "parameters", "licence", "paper", "CPU", "GPU",
)  # fmt: skip
BYTES: Final = 4  # bytes of a parameter in float32


def encoder_rows(defaults_only: bool = False) -> list[dict[str, Any]]:
    """Describe every encoder with its default params, one dictionary each, as `ercache encoders --json` prints them.

    Args:
        defaults_only: whether to leave out the fields that depend on this machine (`available`, `why_not`).
    """
    present = {} if defaults_only else {row.key: row for row in weights.status(read=False)}
    return [_row(kind, present, defaults_only) for _, kind in sorted(ENCODERS.items())]


def _row(
    kind: EncoderKind, present: Mapping[str, weights.WeightStatus], defaults_only: bool
) -> dict[str, Any]:
    spec, defaults = kind.spec, kind.Params()
    asked, arrays = kind.input(defaults), kind.arrays(defaults)
    key = getattr(defaults, "weights", spec.weights)
    row = {
        "key": spec.key,
        "modality": spec.modality,
        "summary": spec.summary,
        "paper": spec.paper,
        "input": {name: value for name, value in asdict(asked).items() if value},
        "input_text": described(asked),
        "dims": {array.name: list(array.shape) for array in arrays},
        "arrays_text": "; ".join(map(_array, arrays)),
        "kind": "vector" if any(array.kind == "vector" for array in arrays) else "sequence",
        "batch": spec.batch,
        "tolerance": spec.tolerance,
        "weights": key,
        "parameters": _parameters(key),
        "licence": spec.licence,
    }
    if defaults_only:
        return row | {"unavailable": spec.unavailable}
    needed = [*([key] if key else []), *(["mtcnn"] if asked.faces else [])]
    lacking = [present[name] for name in needed if not present[name].ok]
    why_not = spec.unavailable or "; ".join(f"{entry.detail}: {entry.remedy}" for entry in lacking)
    return row | {"available": not why_not, "why_not": why_not}


def described(asked: Input) -> str:
    """Describe in words what an encoder reads, such as `16 kHz mono` or `text, 2 turns before`."""
    words = ["text"] if asked.text else []
    words += [f"{asked.rate / 1000:g} kHz mono"] if asked.rate else []
    words += [_pictures(asked.pictures)] if asked.pictures else []
    words += ["faces"] if asked.faces else []
    words += ["which video"] if asked.video else []
    words += ["speakers"] if asked.speaker else []
    for count, where in ((asked.past, "before"), (asked.future, "after")):
        if count:
            words.append(
                f"all turns {where}"
                if count == WHOLE_DIALOGUE
                else f"{count} turn{'s' * (count > 1)} {where}"
            )
    return ", ".join(words)


def _pictures(pictures: PictureRequest) -> str:
    count = f"{pictures.count} pictures" if pictures.count else "pictures"
    every = f"every {pictures.every:g} s" if pictures.every else ""
    rule = "" if pictures.rule == "spread" else f"({pictures.rule})"
    return " ".join(filter(None, (count, every, rule)))


def _array(array: ArraySpec) -> str:
    shape = ", ".join(map(str, array.shape))
    return f"`{array.name}` [{shape}]" if array.kind == "vector" else f"`{array.name}` [T, {shape}]"


def _parameters(key: str | None) -> str:
    """Return the approximate number of parameters as a text such as `355 M`, from the size of a checkpoint.

    Args:
        key: key of the checkpoint; None if the encoder has none. Then, or if the size is unknown, the text is "".
    """
    if not key:
        return ""
    millions = weights.checkpoint(key).megabytes / BYTES
    return f"{millions:,.0f} M" if millions >= 10 else f"{millions:.1f} M" if millions else ""


def table_text(measured: Mapping[str, Any]) -> str:
    """Make the text of the table of encoders in Markdown. It is the same on every machine.

    Args:
        measured: entry `encoders` of docs/benchmarks.json: for each encoder key, `cpu` and `gpu`, each with
            `utterances_per_second`. Encoders with a network also have `of_forward`: the share of the time that is
            spent inside the network.
    """
    lines = [line(COLUMNS), line(["---"] * len(COLUMNS))]
    for row in encoder_rows(defaults_only=True):
        speeds = [_speed(measured.get(row["key"], {}).get(device)) for device in ("cpu", "gpu")]
        what = row["summary"] + (f" (**not available**: {row['unavailable']})" if row["unavailable"] else "")
        checkpoint = f"`{row['weights']}`" if row["weights"] else "none"
        lines.append(
            line((
                f"`{row['key']}`", what, row["input_text"], row["arrays_text"], row["batch"], checkpoint,
                row["parameters"], row["licence"], row["paper"], *speeds,
            ))
        )  # fmt: skip
    return "\n".join(lines)


def _speed(measured: Mapping[str, float] | None) -> str:
    if not measured:
        return ""
    rate, share = f"{measured['utterances_per_second']:g}/s", measured.get("of_forward")
    return rate if share is None else f"{rate} ({100 * share:.0f} % of the bare forward)"


def write_page(path: Path, measured: Mapping[str, Any]) -> bool:
    """Replace the table of encoders in a Markdown file by the current one. Return whether the file changed."""
    return write_table(path, table_text(measured), BEGIN, END)

"""Section of the report: extractors trained by the user: their training data, chosen epoch, and quality."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from ercache.trained_extractors import RECORD

FIGURES: Final = {  # metric on validation -> heading
    "validation_knn_accuracy": "5-NN accuracy",
    "validation_probe_weighted_f1": "linear probe, weighted F1",
    "validation_probe_uar": "linear probe, UAR",
    "validation_silhouette": "silhouette",
    "validation_deviation": "deviation",
    "validation_dead": "dead dimensions",
    "validation_rank": "effective rank",
    "validation_similarity": "mean cosine",
}


class Extractor(BaseModel):
    """What the report reads from `extractor.json`: name, encoder, training data, chosen epoch and quality measures."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    name: str
    extractor: str
    config: dict[str, Any] = {}
    labels: str = "class"
    seen: dict[str, int]
    selected_on: str
    best_epoch: int = Field(ge=1)
    epochs: int = Field(ge=1)
    metrics: dict[str, float]


@dataclass(frozen=True)
class ExtractorRow:
    """One row of the table of extractors.

    Attributes:
        trained: loss, size and initial weights, in words.
        seen: corpora and numbers of utterances that the extractor was trained on or chosen by.
        chosen: which epoch was chosen, by which score.
        figures: quality measures in the order of `FIGURES`; None for a measure that was not computed.
    """

    name: str
    extractor: str
    trained: str
    seen: str
    chosen: str
    figures: tuple[float | None, ...]


def read_extractor(folder: Path) -> Extractor:
    """Read `extractor.json` from the folder of an extractor.

    Raises:
        ValidationError: the record is damaged.
    """
    return Extractor.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))


def extractor_rows(extractors: Sequence[Extractor]) -> list[ExtractorRow]:
    """Turn the records of extractors into one table row each, in the same order."""
    return [
        ExtractorRow(
            e.name,
            e.extractor,
            _trained(e),
            ", ".join(f"{corpus} ({count:,} utterances)" for corpus, count in e.seen.items()),
            f"epoch {e.best_epoch} of {e.epochs} by {e.selected_on.removeprefix('validation_').replace('_', ' ')}",
            tuple(e.metrics.get(key) for key in FIGURES),
        )
        for e in extractors
    ]


def _trained(extractor: Extractor) -> str:
    """Describe in words how an extractor was trained: loss (with its margin), size and initial weights."""
    config = extractor.config
    words = [str(config[key]) for key in ("size", "init") if key in config]
    if config.get("objective") == "triplet":
        words.insert(0, f"triplets, margin {config.get('loss', {}).get('margin')}")
    else:
        words.insert(0, "cross-entropy")
    return ", ".join([*words, *(["identities"] if extractor.labels == "identity" else [])])

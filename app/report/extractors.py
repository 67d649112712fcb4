"""Section of the report about extractors (encoders that the user trained): training data, chosen epoch, quality."""

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


class ExtractorRecord(BaseModel):
    """What the report reads from `extractor.json`, which `ercache pretrain` writes for a trained extractor.

    Attributes:
        extractor: key of the encoder.
        labels: what the training labels are: `class` (emotions) or `identity` (persons).
        seen: corpus or folder -> number of its utterances or files that trained the extractor or chose its epoch.
        selected_on: validation score that chose the epoch.
        metrics: quality measures on validation data.
    """

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
        name: name of the extractor.
        extractor: key of its encoder.
        trained: loss, size and initial weights, in words.
        seen: corpora with the numbers of their utterances that were used to train the extractor or choose its epoch.
        chosen: which epoch was chosen, and by which score.
        figures: scores on validation data, in the order of `FIGURES`; None for one that was not computed.
    """

    name: str
    extractor: str
    trained: str
    seen: str
    chosen: str
    figures: tuple[float | None, ...]


def read_extractor(folder: Path) -> ExtractorRecord:
    """Read `extractor.json` from the folder of an extractor.

    Raises:
        ValidationError: the record is damaged.
    """
    return ExtractorRecord.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))


def extractor_rows(extractors: Sequence[ExtractorRecord]) -> list[ExtractorRow]:
    """Make one row of the report's table for each extractor, in the same order."""
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


def _trained(extractor: ExtractorRecord) -> str:
    """Describe in words how an extractor was trained: loss (with its margin), size and initial weights."""
    config = extractor.config
    words = [str(config[key]) for key in ("size", "init") if key in config]
    if config.get("objective") == "triplet":
        words.insert(0, f"triplets, margin {config.get('loss', {}).get('margin')}")
    else:
        words.insert(0, "cross-entropy")
    return ", ".join([*words, *(["identities"] if extractor.labels == "identity" else [])])

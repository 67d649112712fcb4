"""Plan what `dvc repro` will do for a corpus: stages, checkpoints (present or absent), time and disk space."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from app.checkpoint_digests import checkpoints_of
from app.pipeline import PIPELINE_FILE
from app.stages import ExtractionStage, extractions_of, extractors_of, pretrain_stage, tables_of
from ercache import weights
from ercache.params.schema import SPLIT_MARK, Params

RATES: Final = Path("docs/benchmarks.json")  # measured by `python -m bench encoders`
MEGA: Final = 1_000_000
COPIES: Final = 2  # of each feature: one in the store and one in the cache


@dataclass(frozen=True)
class Need:
    """A checkpoint or a folder with training images that the stages of a corpus need.

    Attributes:
        key: key of the checkpoint, or path of the folder.
        present: whether this machine has it.
        command: what the user must do to get it; empty if it is present.
        bytes: size in bytes; 0 if unknown.
    """

    key: str
    present: bool
    command: str
    bytes: int


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of all extractions of a corpus, from rates that were measured for each encoder.

    Attributes:
        seconds: time of all extractions together.
        bytes: disk space of their features, in the store and in the caches; None if the size was not measured for some
            encoder.
        unmeasured: encoders without measured rates; the estimate leaves them out.
        measured_on: the machine on which the rates were measured.
    """

    seconds: float
    bytes: int | None
    unmeasured: list[str]
    measured_on: str


@dataclass(frozen=True)
class StagePlan:
    """What `dvc repro` will do for a corpus.

    Attributes:
        stages: names of the pipeline's stages for the corpus, in order.
        needs: checkpoints and folders that the stages need.
        estimate: estimated time and disk space of all extractions; None if docs/benchmarks.json is absent.
        free_bytes: free disk space in the project's folder.
        deviations: sentences that say where the project's experiments for papers differ from these papers.
    """

    stages: list[str]
    needs: list[Need]
    estimate: Estimate | None
    free_bytes: int
    deviations: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the plan as a dictionary that can be written as JSON, for the option `--json`."""
        return {
            "stages": self.stages,
            "weights": [asdict(need) for need in self.needs],
            "estimate_seconds": self.estimate.seconds if self.estimate else None,
            "estimate_bytes": self.estimate.bytes if self.estimate else None,
            "free_bytes": self.free_bytes,
            "unmeasured": self.estimate.unmeasured if self.estimate else [],
            "deviations": self.deviations,
        }

    @property
    def lacking(self) -> list[Need]:
        """The checkpoints, and folders with training pictures, that the stages need but this machine does not have."""
        return [need for need in self.needs if not need.present]


def plan_of(params: Params, corpus: str, utterances: int) -> StagePlan:
    """Collect what `dvc repro` will do for a corpus whose stages are in dvc.yaml.

    Args:
        params: contents of params.yaml.
        corpus: name of the corpus.
        utterances: number of utterances of the corpus, to estimate the time of extraction.
    """
    from app.planned_deviations import planned_deviations  # imports torch, which takes seconds

    extractions = [e for e in extractions_of(params) if e.corpus == corpus]
    differing = [
        line for t in tables_of(params) if t.corpus == corpus for line in planned_deviations(params, t)
    ]
    return StagePlan(
        _stages(params, corpus, extractions),
        _needs(params, corpus, extractions),
        _estimate(extractions, utterances),
        shutil.disk_usage(Path.cwd()).free,
        differing,
    )


def _stages(params: Params, corpus: str, extractions: Sequence[ExtractionStage]) -> list[str]:
    stages: dict[str, Any] = yaml.safe_load(PIPELINE_FILE.read_text(encoding="utf-8"))["stages"]
    trained = {pretrain_stage(name) for name in extractors_of(list(extractions))}
    runs = {f"train-{name}" for name, e in params.experiments.items() if e.corpus == corpus}
    tables = {f"reproduce-{t.name}" for t in tables_of(params) if t.corpus == corpus}
    extracted = {f"extract-{corpus}-{e.modality}" for e in extractions}
    mine = {f"manifest-{corpus}", *trained, *extracted, *runs, *tables}
    return [name for name in stages if name in mine]


def _needs(params: Params, corpus: str, extractions: Sequence[ExtractionStage]) -> list[Need]:
    keys = checkpoints_of(params, corpus)
    entries = [params.pretrain[name.partition(SPLIT_MARK)[0]] for name in extractors_of(list(extractions))]
    states = {row.key: row for row in weights.status(read=False)}
    found = [Need(k, states[k].ok, states[k].remedy, round(states[k].megabytes * MEGA)) for k in keys]
    for folder in dict.fromkeys(entry.folder for entry in entries if entry.folder is not None):
        here = Path(folder).is_dir()
        command = "" if here else f"ln -s FOLDER {folder} (one subfolder of images for each person or label)"
        found.append(Need(folder, here, command, 0))
    return found


def _estimate(extractions: Sequence[ExtractionStage], utterances: int) -> Estimate | None:
    if not RATES.is_file():
        return None
    measured = json.loads(RATES.read_text(encoding="utf-8"))["encoders"]
    seconds, kilobytes, unmeasured = 0.0, 0.0, []
    for key in [f.spec.key for e in extractions for f in e.features]:
        rates = measured.get(key, {}).get("cpu")
        if rates is None:
            unmeasured.append(key)
        else:
            seconds += utterances / rates["utterances_per_second"]
            kilobytes += utterances * rates.get("kilobytes_per_utterance", math.nan)
    machine = measured["machine"]
    where = f"{machine['cores']} cores ({machine['processor']}), no GPU"
    size = None if math.isnan(kilobytes) else round(COPIES * 1000 * kilobytes)
    return Estimate(seconds, size, unmeasured, where)

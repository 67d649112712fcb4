"""Digests of the checkpoints (pretrained weights) that the DVC pipeline reads.

When a digest changes, DVC repeats the stages that read this checkpoint.
"""

from typing import Final

import yaml

from app.stages import experiments_of, extractions_of, extractors_of, tables_of
from ercache import weights
from ercache.digests import digest_of
from ercache.errors import WeightsError
from ercache.params.schema import SPLIT_MARK, ExperimentParams, Params, PretrainParams
from extract.engine import Feature
from extract.pretrain.config import CONFIGS

CHECKPOINTS_FILE: Final = "extract/checkpoints.yaml"
ABSENT: Final = "absent"
HEAD: Final = "# Digests of the checkpoints that the pipeline reads, written by `ercache pipeline`.\n"


def checkpoints_of_feature(feature: Feature) -> list[str]:
    """Return the keys of the checkpoints that the encoder of a feature loads.

    Checkpoints that are part of an installed Python package are left out.
    """
    own = getattr(feature.params, "pretrained", None)
    key = None if own else getattr(feature.params, "weights", feature.spec.weights)
    keys = [*([key] if key else []), *getattr(feature.params, "beside", ())]
    return [k for k in keys if weights.checkpoint(k).kind != "wheel"]


def checkpoints_of_training(entry: PretrainParams) -> list[str]:
    """Return a list with the key of the checkpoint from which an extractor is trained; empty if there is none."""
    config = CONFIGS[entry.extractor][0](**entry.config)
    key: str | None = getattr(config, "checkpoint", None)
    return [key] if key else []


def checkpoints_of_experiment(entry: ExperimentParams) -> list[str]:
    """Return the keys of the checkpoints that the model of an experiment loads."""
    from fusion.models import MODELS

    model = MODELS[entry.model]
    return model.checkpoints(model.resolve(entry.preset, entry.config), list(entry.features))


def checkpoints_of(params: Params, corpus: str | None = None) -> list[str]:
    """Return the keys of the checkpoints that the stages of the pipeline read, each key once.

    Checkpoints that are part of an installed Python package are left out.

    Args:
        corpus: return only the checkpoints that the stages of this corpus read; None for all corpora.
    """
    extractions = [e for e in extractions_of(params) if corpus in (None, e.corpus)]
    staged = [*experiments_of(params).values(), *(e for t in tables_of(params) for e in t.complete)]
    trainings = [params.pretrain[name.partition(SPLIT_MARK)[0]] for name in extractors_of(extractions)]
    keys = [
        *(key for e in extractions for f in e.features for key in checkpoints_of_feature(f)),
        *(key for entry in trainings for key in checkpoints_of_training(entry)),
        *(k for e in staged if corpus in (None, e.corpus) for k in checkpoints_of_experiment(e)),
    ]
    return list(dict.fromkeys(keys))


def digests_text(params: Params) -> str:
    """Return the text of extract/checkpoints.yaml: the digest of each checkpoint that the pipeline reads.

    A checkpoint that was never added has the value `absent`, unless its digest is published.
    """
    return HEAD + yaml.safe_dump({key: _digest(key) for key in sorted(checkpoints_of(params))})


def _digest(key: str) -> str:
    try:
        return digest_of(weights.provenance(key))
    except WeightsError:
        return ABSENT

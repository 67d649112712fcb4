"""The sets of features that bench/extract.py extracts.

The weights of a network are random, unless they are part of an installed Python package.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from app.features import features_of
from ercache.params.schema import FacePolicy, FeatureParams, Params
from extract.engine.plan import Feature

SetName = Literal["light", "paper", "sound"]
SEED: Final = 0

SETS: Final[Mapping[SetName, Mapping[str, Mapping[str, Any]]]] = {
    # Encoders that need no download. Decoding and faces are most of the work. `face_crops` was added after the first
    # result, because features that share faces gain most; without it the naive way takes 4.1 times as long as ours.
    "light": {
        "face_hog": {"encoder": "visual/face-hog"},
        "face_crops": {"encoder": "visual/face-crops"},
        "mfcc": {"encoder": "audio/mfcc"},
        "minilm": {"encoder": "text/minilm"},
        "prosody": {"encoder": "audio/prosody"},
    },
    # Networks of the papers; two of them see faces and scenes, as in M2FNet.
    "paper": {
        "roberta_large": {"encoder": "text/roberta-large"},
        "wav2vec2_large": {"encoder": "audio/wav2vec2-large"},
        "passt": {"encoder": "audio/passt"},
        "mel_resnet18": {"encoder": "audio/mel-resnet18"},
        "resnet18_faces": {"encoder": "visual/resnet18", "region": "face"},
        "resnet18_scenes": {"encoder": "visual/resnet18"},
    },
    # Sound files only. Features can share almost nothing, so this measures the overhead of the engine.
    "sound": {
        "prosody": {"encoder": "audio/prosody"},
        "mfcc": {"encoder": "audio/mfcc"},
    },
}


def features(name: SetName, policy: FacePolicy) -> list[Feature]:
    """Return the features (encoder, params and weights) that one of the benchmark's sets in `SETS` extracts.

    Args:
        name: name of the set, such as `sound`.
        policy: settings of face detection.
    """
    entries = {key: FeatureParams.model_validate(entry) for key, entry in SETS[name].items()}
    return features_of(Params(features=entries, faces=policy), list(entries), SEED)

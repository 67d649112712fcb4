"""The encoders, by key. A new one is a file in this folder, a line here and one in extract/versions.yaml.

Importing this imports no torch, transformers, librosa or scikit-image: encoders do so when built or run.
"""

from pydantic import BaseModel

from extract.encoders.back_frames import BackResNet50
from extract.encoders.base import EncoderKind
from extract.encoders.dan import Dan
from extract.encoders.efficientface import EfficientFaceEncoder
from extract.encoders.egemaps import Egemaps
from extract.encoders.emotion2vec import Emotion2vec
from extract.encoders.face_crops import FaceCrops
from extract.encoders.face_hog import FaceHog
from extract.encoders.facenet import Facenet
from extract.encoders.imagenet import IMAGENETS
from extract.encoders.jaa_net import JaaNetEncoder
from extract.encoders.kwrt import KWRT
from extract.encoders.m2fnet_dual import M2fnetDual
from extract.encoders.mel_resnet18 import MelResnet18
from extract.encoders.mel_vit import MelVit
from extract.encoders.mfcc import Mfcc
from extract.encoders.minilm import MiniLM
from extract.encoders.mpnet import MPNETS
from extract.encoders.openface import OpenfaceAu
from extract.encoders.passt import Passt
from extract.encoders.pitch_mel import PitchMel
from extract.encoders.prosody import Prosody
from extract.encoders.pyfeat import PYFEAT_AU
from extract.encoders.roberta import ROBERTAS
from extract.encoders.samples import Samples
from extract.encoders.speech import SPEECH
from extract.encoders.vision_transformers import CLIP_B32, VIT_B16
from extract.encoders.whisper import WhisperSmall

_ALL: tuple[EncoderKind, ...] = (
    BackResNet50,
    CLIP_B32,
    Dan,
    EfficientFaceEncoder,
    Egemaps,
    Emotion2vec,
    FaceCrops,
    FaceHog,
    Facenet,
    *IMAGENETS,
    JaaNetEncoder,
    KWRT,
    M2fnetDual,
    MelResnet18,
    MelVit,
    Mfcc,
    MiniLM,
    *MPNETS,
    OpenfaceAu,
    Passt,
    PitchMel,
    Prosody,
    PYFEAT_AU,
    *ROBERTAS,
    Samples,
    *SPEECH,
    VIT_B16,
    WhisperSmall,
)
ENCODERS: dict[str, EncoderKind] = {kind.spec.key: kind for kind in _ALL}


def configs() -> dict[str, type[BaseModel]]:
    """Encoder key -> class of its params, for the check of params.yaml."""
    return {key: kind.Params for key, kind in ENCODERS.items()}

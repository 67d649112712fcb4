"""The encoders, by key. A new one is a file in this folder, a line here and one in extract/versions.yaml.

Importing this imports no torch, transformers, librosa or scikit-image: encoders do so when built or run.
"""

from pydantic import BaseModel

from extract.encoders.audio.egemaps import Egemaps
from extract.encoders.audio.emotion2vec import Emotion2vec
from extract.encoders.audio.mel_resnet18 import MelResnet18
from extract.encoders.audio.mel_vit import MelVit
from extract.encoders.audio.mfcc import Mfcc
from extract.encoders.audio.passt import Passt
from extract.encoders.audio.pitch_mel import PitchMel
from extract.encoders.audio.prosody import Prosody
from extract.encoders.audio.samples import Samples
from extract.encoders.audio.speech import SPEECH
from extract.encoders.audio.whisper import WhisperSmall
from extract.encoders.base import EncoderKind
from extract.encoders.text.kwrt import KWRT
from extract.encoders.text.minilm import MiniLM
from extract.encoders.text.mpnet import MPNETS
from extract.encoders.text.roberta import ROBERTAS
from extract.encoders.visual.back_frames import BackResNet50
from extract.encoders.visual.dan import Dan
from extract.encoders.visual.efficientface import EfficientFaceEncoder
from extract.encoders.visual.face_crops import FaceCrops
from extract.encoders.visual.face_hog import FaceHog
from extract.encoders.visual.facenet import Facenet
from extract.encoders.visual.imagenet import IMAGENETS
from extract.encoders.visual.jaa_net import JaaNetEncoder
from extract.encoders.visual.m2fnet_dual import M2fnetDual
from extract.encoders.visual.openface import OpenfaceAu
from extract.encoders.visual.pyfeat import PYFEAT_AU
from extract.encoders.visual.vision_transformers import CLIP_B32, VIT_B16

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

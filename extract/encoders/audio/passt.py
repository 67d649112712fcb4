"""PaSST (Koutini et al. 2022): a transformer on spectrograms that was trained to recognise sounds of AudioSet.

Spectrogram and network come from the Python package hear21passt 0.0.26. This file cuts sounds into windows in the same
way as the package (docs/encoders.md#passt; docs/papers/amuse.md, section 3.3).
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.audio.common import mirrored_windows, pad_to_length, why_unusable
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.run_singly import encode_usable
from extract.media.types import FloatArray

if TYPE_CHECKING:
    from torch import nn

RATE: Final = 32_000
MIN_SAMPLES, MAX_SAMPLES = (
    4_801,
    321_600,
)  # samples of an input: one patch of 16 spectra, 99 patches; measured
SCENE_WINDOW, SCENE_HOP = 320_000, 80_000  # windows of the package's scene embedding: 10 s every 2.5 s
WIDTHS: Final = {"embed_only": 768, "logits": 527, "all": 527 + 768}
DEPTH = 12
MAX_SAMPLES_AT_ONCE = 16 * RATE  # samples in one batch: memory of attention grows with the square of a window


class PasstParams(Strict):
    """Parameters of `audio/passt`.

    Attributes:
        mode: which output is kept: the embedding (`embed_only`; mean of class token and distillation token), the logits
            of the 527 AudioSet classes (`logits`), or both (`all`).
        window_seconds: length of the windows into which a clip is cut. None does not cut clips of up to 10 s, and cuts
            longer ones into windows of 10 s every 2.5 s.
        hop_seconds: step from one window to the next, if `window_seconds` is given.
        frames: also keep the output for each window, not only the mean; this needs `window_seconds`.
        max_seconds: a longer clip is cut after this time.
        pad_seconds: a shorter clip gets silence at its end up to this length (AMuSE: 1 s); 0 appends none. The silence
            changes the output strongly.
    """

    mode: Literal["embed_only", "logits", "all"] = "embed_only"
    window_seconds: float | None = Field(None, ge=0.151, le=10)
    hop_seconds: float = Field(0.5, ge=0.01, le=10)
    frames: bool = True
    max_seconds: float = Field(30, ge=0.5, le=120)
    pad_seconds: float = Field(0, ge=0, le=30)

    @property
    def window(self) -> int | None:
        """Length of a window in samples; None if the parameter `window_seconds` is None."""
        return None if self.window_seconds is None else round(self.window_seconds * RATE)

    @property
    def min_samples(self) -> int:
        """Smallest number of sound samples of a clip that is long enough; 1 if padding makes every clip long enough."""
        # A clip must be longer than the part of it that is reflected at its ends.
        needed = MIN_SAMPLES if self.window is None else self.window // 2 + 1
        return 1 if round(self.pad_seconds * RATE) >= needed else needed


class Passt:
    """Computes embeddings of sound with PaSST: one per window (piece) of a clip, and their mean.

    The mean is the array `pooled`. The embeddings of the windows are kept in the array `frames` only if the params
    `frames` and `window_seconds` are both given.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/passt",
        modality="audio",
        summary="PaSST-S trained on AudioSet",
        batch="equal",
        version=1,
        licence="Apache-2.0",
        weights="passt",
        paper="Koutini et al. 2022, arXiv 2110.05069",
        libraries=("hear21passt",),
    )
    Params: ClassVar[type[BaseModel]] = PasstParams

    def __init__(self, params: PasstParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params, self.device = params, device
        self._network = (weights or Weights("passt")).network(build).to(device)
        self._mel = spectrogram().to(device)

    @staticmethod
    def input(params: PasstParams) -> Input:
        """Declare which input the encoder needs: the sound of the utterance, mono at 32 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: PasstParams) -> tuple[ArraySpec, ...]:
        """Declare the arrays of a clip: `pooled` [1, width] and, with the params for it, `frames` [T, width].

        `frames` has one row for each of T windows (pieces of the clip); `pooled` is the mean over the windows. The
        width is 768, 527 or 1295 for `mode` `embed_only`, `logits` or `all`. `frames` needs the params `frames` and
        `window_seconds`.
        """
        shape = (WIDTHS[params.mode],)
        pooled = ArraySpec("pooled", "vector", ("utterance", params.mode), shape)
        frames = ArraySpec("frames", "sequence", ("window", params.mode), shape)
        return (pooled, frames) if params.window and params.frames else (pooled,)

    def length(self, sample: Sample) -> int:
        """Return how many sound samples each window of this clip has; clips with equally long windows share a batch."""
        return 0 if sample.sound is None else self._windows(sample.sound).shape[1]

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Cut sounds into windows and run them through PaSST. The windows of all sounds must be equally long.

        Returns:
            For each sound, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return encode_usable(
            samples, lambda sample: why_unusable(sample.sound, self.params.min_samples), self._encode_together
        )

    def _windows(self, sound: FloatArray) -> FloatArray:
        """Cut a sound into W windows of equal length for the network, [W, samples]; a short sound is one window."""
        used_part = sound[: round(self.params.max_seconds * RATE)]
        used_part = pad_to_length(used_part, round(self.params.pad_seconds * RATE))
        if self.params.window is not None and len(used_part) > self.params.window // 2:
            return mirrored_windows(used_part, self.params.window, round(self.params.hop_seconds * RATE))
        return (
            used_part[None]
            if len(used_part) <= SCENE_WINDOW
            else mirrored_windows(used_part, SCENE_WINDOW, SCENE_HOP)
        )

    def _encode_together(self, samples: list[Sample]) -> Iterator[Encoded]:
        windows = [self._windows(sample.sound) for sample in samples if sample.sound is not None]
        values = self._forward(np.concatenate(windows))
        ends = np.cumsum([len(own) for own in windows])
        for rows in np.split(values, ends[:-1]):
            pooled = {"pooled": rows.mean(0, keepdims=True)}
            frames = {"frames": rows} if self.params.window and self.params.frames else {}
            yield Encoded(pooled | frames, len(rows))

    def _forward(self, windows: FloatArray) -> FloatArray:
        """Run W windows of sound, [W, samples], through PaSST; return its output for each, [W, width].

        A few windows at a time are processed, to limit the memory.
        """
        import torch

        parts = []
        step = max(1, MAX_SAMPLES_AT_ONCE // windows.shape[1])
        with torch.inference_mode(), without_warnings():
            for start in range(0, len(windows), step):
                part = torch.from_numpy(np.ascontiguousarray(windows[start : start + step])).to(self.device)
                logits, embedding = self._network(self._mel(part)[:, None])
                chosen = {"logits": (logits,), "embed_only": (embedding,), "all": (logits, embedding)}
                parts.append(torch.cat(chosen[self.params.mode], 1).float().cpu().numpy())
        return np.concatenate(parts)


def build() -> "nn.Module":
    """Build PaSST in the version that its authors call `passt_s_swa_p16_128_ap476` (86,153,758 parameters).

    Its input is a spectrogram of 128 mel bands over up to 10 s, cut into patches of 16 x 16.
    """
    from hear21passt.models import passt

    passt.first_RUN = False  # otherwise it prints shapes to stdout, which is reserved for answers
    network: nn.Module = passt.PaSST(
        img_size=(128, 998),
        patch_size=16,
        stride=(10, 10),
        in_chans=1,
        num_classes=527,
        embed_dim=768,
        depth=DEPTH,
        num_heads=12,
        distilled=True,
    )
    return network


def spectrogram() -> "nn.Module":
    """Return the module that computes PaSST's mel spectrogram of a batch of sounds at 32 kHz.

    It maps B sounds of n samples, [B, n], to 128 mel bands at T time steps, [B, 128, T]. The settings are those of
    PaSST's training, without augmentation.
    """
    from hear21passt.models.preprocess import AugmentMelSTFT

    bands: nn.Module = AugmentMelSTFT(
        n_mels=128,
        sr=RATE,
        win_length=800,
        hopsize=320,
        n_fft=1024,
        freqm=48,
        timem=192,
        htk=False,
        fmin=0.0,
        fmax=15_000,
        norm=1,
        fmin_aug_range=10,
        fmax_aug_range=2000,
    )
    return bands.eval()


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Return a context in which hear21passt prints no warnings about unusual input sizes.

    At the end of the context, torch's random state is what it was before.
    """
    import torch

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield


ENTRY: Final[EncoderKind] = Passt

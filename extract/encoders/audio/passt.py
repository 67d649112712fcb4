"""PaSST, the patchout spectrogram transformer trained on AudioSet (Koutini et al. 2022), by hear21passt 0.0.26.

Spectrogram and network come from that package. The cutting into windows is done here, and tested against the package
(docs/encoders.md#passt, docs/papers/amuse.md, section 3.3).
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
        mode: which output is kept: `embed_only` (mean of class token and distillation token), `logits` (of the 527
            AudioSet classes), or `all` (both).
        window_seconds: length of a window; None encodes a clip of up to 10 s at once, and a longer clip in windows of
            10 s every 2.5 s.
        hop_seconds: step between windows.
        frames: also keep the output for each window, not only the mean; needs `window_seconds`.
        max_seconds: a longer clip is cut after this time.
        pad_seconds: append silence to a clip that is shorter (AMuSE: 1 s); 0 appends nothing. Silence changes the
            output strongly.
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
        """Length in samples below which a clip is too short; 1 if padding makes every clip long enough."""
        # A clip must be longer than the part of it that is reflected at its ends.
        needed = MIN_SAMPLES if self.window is None else self.window // 2 + 1
        return 1 if round(self.pad_seconds * RATE) >= needed else needed


class Passt:
    """Computes audio embeddings with PaSST: one per clip (`pooled`) or also one per window (`frames`).

    `pooled` is the mean over the clip's windows. `frames` needs `window_seconds`.
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
        """Return the input that the encoder needs: the sound of the utterance, mono at 32 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: PasstParams) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, width], the mean over the windows; with the param `frames` also `frames` [T, width].

        `frames` has one row for each of T windows. The width is 768, 527 or 1295, depending on the param `mode`.
        """
        shape = (WIDTHS[params.mode],)
        pooled = ArraySpec("pooled", "vector", ("utterance", params.mode), shape)
        frames = ArraySpec("frames", "sequence", ("window", params.mode), shape)
        return (pooled, frames) if params.window and params.frames else (pooled,)

    def length(self, sample: Sample) -> int:
        """Return the length of the windows into which this clip is cut, in samples.

        Clips whose windows are equally long share a batch.
        """
        return 0 if sample.sound is None else self._windows(sample.sound).shape[1]

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode sounds whose windows are equally long; return the arrays of each sound, or why there are none."""
        return encode_usable(
            samples, lambda sample: why_unusable(sample.sound, self.params.min_samples), self._encode_together
        )

    def _windows(self, sound: FloatArray) -> FloatArray:
        """Cut a sound into the W windows that the network gets, [W, samples]. A short sound gives a single window."""
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
        """Return the network's output [W, width] for W windows [W, samples], processed a few at a time."""
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
    """Build the network `passt_s_swa_p16_128_ap476` (86,153,758 parameters).

    Its input is 10 s of 128 mel bands, cut into patches of 16 x 16.
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
    """Return a context manager that hides hear21passt's warnings about unusual input sizes.

    At its end it restores torch's random state.
    """
    import torch

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield


ENTRY: Final[EncoderKind] = Passt

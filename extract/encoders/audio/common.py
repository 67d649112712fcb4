"""Functions that several sound encoders use: checks, padding, normalisation, windows, and array declarations."""

import importlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ercache.cache import ArraySpec
from ercache.reasons import Missing, Reason
from extract.encoders.base import Encoded, Sample
from extract.media.types import FloatArray

SILENCE = 2.0**-16  # amplitude of half a step of 16-bit sound
MAX_AMPLITUDE = 1e4  # far outside [-1, 1]: a damaged float file, whose squares would overflow


def load_librosa() -> None:
    """Import some modules of librosa and scipy now, because importing them at the first sound would take seconds.

    It is called when an encoder is built, while other code reads the first media files.
    """
    for name in ("librosa.core.pitch", "librosa.feature.spectral", "scipy.ndimage", "scipy.signal"):
        importlib.import_module(name)


def why_unusable(sound: FloatArray | None, min_samples: int) -> Missing | None:
    """Return why a sound cannot be encoded, or None if it can.

    Args:
        sound: n mono samples, [n].
        min_samples: length below which a sound is too short, samples.
    """
    if sound is None or len(sound) == 0:
        return Missing(Reason.NO_AUDIO)
    if len(sound) < min_samples:
        return Missing(Reason.TOO_SHORT, f"{len(sound)} samples, at least {min_samples} are needed")
    if not np.isfinite(sound).all():
        return Missing(Reason.UNREADABLE, "some samples are not finite")
    peak = float(np.abs(sound).max())
    if peak > MAX_AMPLITUDE:
        return Missing(Reason.UNREADABLE, f"samples up to {peak:.3g}; sound must lie in [-1, 1]")
    return Missing(Reason.SILENT) if peak < SILENCE else None


def encode_singly(
    samples: Sequence[Sample],
    min_samples: int,
    describe: Callable[[FloatArray], Encoded | Missing],
    max_samples: int | None = None,
) -> list[Encoded | Missing]:
    """Encode each sound alone. Return for each utterance its arrays, or the reason why it cannot be encoded.

    Args:
        samples: one `Sample` (input of an encoder) per utterance.
        min_samples: a sound with fewer values (of the waveform) is too short.
        describe: function that computes the arrays of one sound.
        max_samples: a sound with more values (of the waveform) is cut after this many; None for no limit.
    """
    results: list[Encoded | Missing] = []
    for sample in samples:
        sound = None if sample.sound is None else sample.sound[:max_samples]
        fault = why_unusable(sound, min_samples)
        if fault is None and sound is not None:
            results.append(describe(sound))
        else:
            results.append(fault or Missing(Reason.NO_AUDIO))
    return results


def pooled_and_frames(width: int, frames: bool) -> tuple[ArraySpec, ...]:
    """Return the declaration of an encoder's arrays: `pooled` [1, width], the mean over time, and on request `frames`.

    `frames` [T, width] is declared only if the argument `frames` is true. It has T rows, one per 20 ms of sound.
    """
    pooled = ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))
    sequence = ArraySpec("frames", "sequence", ("20ms", "dimension"), (width,))
    return (pooled, sequence) if frames else (pooled,)


def pad_to_length(sound: FloatArray, samples: int) -> FloatArray:
    """Append silence to a sound that has fewer than `samples` samples. Use it only where a paper asks for it."""
    return np.pad(sound, (0, max(0, samples - len(sound))))


def normalise_clip(sound: FloatArray, epsilon: float = 1e-7) -> FloatArray:
    """Normalise a clip to zero mean and unit variance; a constant sound becomes silence.

    Call it before padding. Padding would change the mean and the variance, and its length depends on the batch.

    Args:
        sound: n mono samples, [n].
        epsilon: small constant added to the variance; the default is that of transformers' `Wav2Vec2FeatureExtractor`.
    """
    return np.asarray((sound - sound.mean()) / np.sqrt(sound.var() + epsilon), np.float32)


def middle_of(sound: FloatArray, samples: int) -> FloatArray:
    """Return a sound of `samples` samples: the middle of a longer sound, or a shorter sound with silence at its end.

    Source: docs/papers/avtca.md, section 3.1.
    """
    start = max(0, len(sound) - samples) // 2
    return pad_to_length(sound[start : start + samples], samples)


def mirrored_windows(sound: FloatArray, window: int, hop: int) -> FloatArray:
    """Cut a sound into overlapping windows, one every `hop` samples. The first window is centred on sample 0.

    Where a window extends beyond the beginning or end of the sound, it contains the mirror image of the sound.

    Args:
        sound: n samples, more than `window // 2`, [n].
        window: length of a window, samples.
        hop: step between windows, samples.

    Returns:
        One window per row, [(n + 2 * (window // 2) - window) // hop + 1, window]. For an even `window` the number of
        rows is n // hop + 1.

    Source: timestamp embeddings of hear21passt; docs/papers/amuse.md, section 3.3.
    """
    padded = np.pad(sound, window // 2, mode="reflect")
    rows: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    return rows


def frame_count(samples: int) -> int:
    """Return how many frames wav2vec 2.0, HuBERT and WavLM give for a sound of `samples` samples; 0 below 400 samples.

    Source: kernels 10, 3, 3, 3, 3, 2, 2 and strides 5, 2, 2, 2, 2, 2, 2 (docs/encoders.md#speech-networks).
    """
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        if samples < kernel:
            return 0
        samples = (samples - kernel) // stride + 1
    return samples

"""Functions that several sound encoders share: check, pad, normalise and cut sounds, and declare arrays."""

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
    """Import the slow modules of librosa and scipy, so that the first sound need not wait seconds for them.

    Encoders call this when they are built, while the first media files are still being read.
    """
    for name in ("librosa.core.pitch", "librosa.feature.spectral", "scipy.ndimage", "scipy.signal"):
        importlib.import_module(name)


def why_unusable(sound: FloatArray | None, min_samples: int) -> Missing | None:
    """Return why a sound cannot be encoded (absent, too short, damaged or silent); None if it can.

    Args:
        sound: n mono samples, [n]; None if the utterance has no sound.
        min_samples: smallest number of samples of a sound that is long enough.
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
    """Encode the sounds of several utterances one by one; return for each its arrays, or why there are none.

    Args:
        samples: inputs of the encoder, one per utterance.
        min_samples: a sound with fewer sound samples is too short.
        describe: function that computes the arrays of one sound.
        max_samples: a longer sound is cut after this many sound samples; None for no limit.
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
    """Declare the arrays of a speech encoder whose network gives a state of `width` values every 20 ms.

    `pooled` [1, width] is the mean of the states. `frames` [T, width] holds all T states; it is declared only if the
    argument `frames` is true.
    """
    pooled = ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))
    sequence = ArraySpec("frames", "sequence", ("20ms", "dimension"), (width,))
    return (pooled, sequence) if frames else (pooled,)


def pad_to_length(sound: FloatArray, samples: int) -> FloatArray:
    """Append silence to a shorter sound until it has `samples` samples; use this only where a paper does so."""
    return np.pad(sound, (0, max(0, samples - len(sound))))


def normalise_clip(sound: FloatArray, epsilon: float = 1e-7) -> FloatArray:
    """Normalise the sound of a clip to mean 0 and variance 1; a constant sound becomes silence.

    Normalise before padding: padding changes the mean and the variance, and its length differs from batch to batch.

    Args:
        sound: n mono samples, [n].
        epsilon: constant added to the variance against division by 0; transformers' wav2vec 2.0 uses the default value.
    """
    return np.asarray((sound - sound.mean()) / np.sqrt(sound.var() + epsilon), np.float32)


def middle_of(sound: FloatArray, samples: int) -> FloatArray:
    """Bring a sound to exactly `samples` samples: a longer one keeps its middle, a shorter one gets silence at its end.

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
        One window per row, [rows, window]. There are n // hop + 1 rows if `window` is even, else (n - 1) // hop + 1.

    Source: timestamp embeddings of hear21passt; docs/papers/amuse.md, section 3.3.
    """
    padded = np.pad(sound, window // 2, mode="reflect")
    rows: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    return rows


def frame_count(samples: int) -> int:
    """Return how many frames wav2vec 2.0, HuBERT and WavLM give for a sound of `samples` samples; 0 below 400 samples.

    It follows from the networks' convolutions, which make one frame of 400 samples every 320 samples
    (docs/encoders.md#speech-networks).
    """
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        if samples < kernel:
            return 0
        samples = (samples - kernel) // stride + 1
    return samples

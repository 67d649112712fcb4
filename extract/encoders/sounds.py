"""What networks of sound share: sounds lengthened, normalised, cut into windows, and the arrays that come out."""

import numpy as np
from numpy.typing import NDArray

from ercache.cache import ArraySpec
from extract.encoders.base import FloatArray


def pooled_and_frames(width: int, frames: bool) -> tuple[ArraySpec, ...]:
    """`pooled` [1, width], the mean of `frames` [T, width], one each 20 ms; without `frames` it stands alone."""
    pooled = ArraySpec("pooled", "vector", ("utterance", "dimension"), (width,))
    sequence = ArraySpec("frames", "sequence", ("20ms", "dimension"), (width,))
    return (pooled, sequence) if frames else (pooled,)


def lengthened(sound: FloatArray, samples: int) -> FloatArray:
    """A sound with silence at its end where it is shorter than `samples`; only where a system's page asks for it."""
    return np.pad(sound, (0, max(0, samples - len(sound))))


def normalised(sound: FloatArray, epsilon: float = 1e-7) -> FloatArray:
    """Zero mean and unit variance over the clip; a constant sound becomes silence.

    The clip alone, before any padding: over a padded row the numbers would depend on the batch.

    Args:
        epsilon: added to the variance; that of `Wav2Vec2FeatureExtractor` by default.
    """
    return np.asarray((sound - sound.mean()) / np.sqrt(sound.var() + epsilon), np.float32)


def centre(sound: FloatArray, samples: int) -> FloatArray:
    """The middle `samples` of a sound, or all of it with silence at the end (AVT-CA, specs/avtca.md 3.1)."""
    start = max(0, len(sound) - samples) // 2
    return lengthened(sound[start : start + samples], samples)


def mirrored_windows(sound: FloatArray, window: int, hop: int) -> FloatArray:
    """Windows every `hop` samples, the first around sample 0; both ends are continued by their mirror image.

    Args:
        sound: more than `window // 2` samples, [n].

    Returns:
        [(n + 2 * (window // 2) - window) // hop + 1, window]; for an even window that is n // hop + 1 rows.

    Source: timestamp embeddings of hear21passt; specs/amuse.md 3.3.
    """
    padded = np.pad(sound, window // 2, mode="reflect")
    rows: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    return rows


def frame_count(samples: int) -> int:
    """Frames that the convolutions of wav2vec 2.0, HuBERT and WavLM make of so many samples; 0 below 400.

    Source: kernels 10, 3, 3, 3, 3, 2, 2 and strides 5, 2, 2, 2, 2, 2, 2 (specs/encoders.md 4.1).
    """
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        if samples < kernel:
            return 0
        samples = (samples - kernel) // stride + 1
    return samples

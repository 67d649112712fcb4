"""What networks of sound share: sounds lengthened, normalised, cut into windows, and the arrays that come out."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ercache.cache import ArraySpec
from ercache.reasons import Missing, Reason
from extract.encoders.base import Encoded, Sample
from extract.media.types import FloatArray

SILENCE = 2.0**-16  # half a step of 16-bit sound
LOUDEST = 1e4  # far outside [-1, 1]: a damaged float file, whose squares overflow


def unusable(sound: FloatArray | None, least: int) -> Missing | None:
    """Why a sound cannot be described, if so.

    Args:
        least: smallest number of samples.
    """
    if sound is None or len(sound) == 0:
        return Missing(Reason.NO_AUDIO)
    if len(sound) < least:
        return Missing(Reason.TOO_SHORT, f"{len(sound)} samples, at least {least} are needed")
    if not np.isfinite(sound).all():
        return Missing(Reason.UNREADABLE, "samples that are not finite")
    peak = float(np.abs(sound).max())
    if peak > LOUDEST:
        return Missing(Reason.UNREADABLE, f"samples up to {peak:.3g}, sound lies in [-1, 1]")
    return Missing(Reason.SILENT) if peak < SILENCE else None


def each_alone(
    samples: Sequence[Sample],
    least: int,
    describe: Callable[[FloatArray], Encoded | Missing],
    most: int | None = None,
) -> list[Encoded | Missing]:
    """What is made of each sound by itself, or why it cannot be described.

    Args:
        least: smallest number of samples.
        most: number of samples after which a longer sound is not heard.
    """
    results: list[Encoded | Missing] = []
    for sample in samples:
        sound = None if sample.sound is None else sample.sound[:most]
        fault = unusable(sound, least)
        if fault is None and sound is not None:
            results.append(describe(sound))
        else:
            results.append(fault or Missing(Reason.NO_AUDIO))
    return results


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
    """The middle `samples` of a sound, or all of it with silence at the end.

    Source: docs/papers/avtca.md, section 3.1.
    """
    start = max(0, len(sound) - samples) // 2
    return lengthened(sound[start : start + samples], samples)


def mirrored_windows(sound: FloatArray, window: int, hop: int) -> FloatArray:
    """Windows every `hop` samples, the first around sample 0; both ends are continued by their mirror image.

    Args:
        sound: more than `window // 2` samples, [n].

    Returns:
        [(n + 2 * (window // 2) - window) // hop + 1, window]; for an even window that is n // hop + 1 rows.

    Source: timestamp embeddings of hear21passt; docs/papers/amuse.md, section 3.3.
    """
    padded = np.pad(sound, window // 2, mode="reflect")
    rows: NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    return rows


def frame_count(samples: int) -> int:
    """Frames that the convolutions of wav2vec 2.0, HuBERT and WavLM make of so many samples; 0 below 400.

    Source: kernels 10, 3, 3, 3, 3, 2, 2 and strides 5, 2, 2, 2, 2, 2, 2 (docs/encoders.md#speech-networks).
    """
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        if samples < kernel:
            return 0
        samples = (samples - kernel) // stride + 1
    return samples

"""Sets the samples that cannot be encoded apart from those that go through the forward."""

from collections.abc import Callable, Iterable, Sequence

from ercache.reasons import Missing
from extract.encoders.base import Encoded, Sample


def encode_good(
    samples: Sequence[Sample],
    fault: Callable[[Sample], Missing | None],
    forward: Callable[[list[Sample]], Iterable[Encoded]],
) -> list[Encoded | Missing]:
    """Results in the order of the samples: the fault of a bad one, what the forward of all good ones gives for it.

    Args:
        fault: why a sample cannot be encoded, if so.
        forward: one `Encoded` for each good sample; not called without one.
    """
    faults = [fault(sample) for sample in samples]
    good = [sample for sample, bad in zip(samples, faults, strict=True) if bad is None]
    results = iter(forward(good) if good else ())
    return [next(results) if bad is None else bad for bad in faults]

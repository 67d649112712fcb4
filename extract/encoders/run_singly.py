"""Sort out samples that cannot be encoded, and encode all other samples together."""

from collections.abc import Callable, Iterable, Sequence

from ercache.reasons import Missing
from extract.encoders.base import Encoded, Sample


def encode_usable(
    samples: Sequence[Sample],
    fault: Callable[[Sample], Missing | None],
    forward: Callable[[list[Sample]], Iterable[Encoded]],
) -> list[Encoded | Missing]:
    """Encode the usable samples together. Return one result per sample, in order: what `forward` gives, or the fault.

    Args:
        samples: one sample per utterance.
        fault: returns why a sample cannot be encoded, or None if it can.
        forward: encodes a list of usable samples and returns one `Encoded` for each; it is not called with an empty
            list.
    """
    faults = [fault(sample) for sample in samples]
    good = [sample for sample, bad in zip(samples, faults, strict=True) if bad is None]
    results = iter(forward(good) if good else ())
    return [next(results) if bad is None else bad for bad in faults]

"""Set aside utterances whose input cannot be encoded, and encode all other utterances together."""

from collections.abc import Callable, Iterable, Sequence

from ercache.reasons import Missing
from extract.encoders.base import Encoded, Sample


def encode_usable(
    samples: Sequence[Sample],
    fault: Callable[[Sample], Missing | None],
    forward: Callable[[list[Sample]], Iterable[Encoded]],
) -> list[Encoded | Missing]:
    """Encode all usable utterances together; return for each utterance, in order, its arrays or why there are none.

    Args:
        samples: inputs of the encoder, one per utterance.
        fault: function that returns why an input cannot be encoded, or None if it can.
        forward: function that encodes a list of usable inputs and returns one `Encoded` for each. It is not called if
            no input is usable.
    """
    faults = [fault(sample) for sample in samples]
    good = [sample for sample, bad in zip(samples, faults, strict=True) if bad is None]
    results = iter(forward(good) if good else ())
    return [next(results) if bad is None else bad for bad in faults]

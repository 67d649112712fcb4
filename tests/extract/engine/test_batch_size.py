"""The batch that `ercache bench batch` prints: the smallest that is about as fast as any."""

from ercache.params.schema import EngineParams
from extract.encoders import ENCODERS
from extract.engine import Feature
from extract.engine.batch_size import Throughput, good_batch_size, throughputs, typical_sample


def test_the_smallest_forward_near_the_best_rate_is_good() -> None:
    assert (
        good_batch_size(
            [Throughput(1, 10), Throughput(2, 19), Throughput(4, 29), Throughput(8, 30), Throughput(16, 28)]
        )
        == 4
    )


def test_an_encoder_that_works_alone_is_measured_alone() -> None:
    kind = ENCODERS["audio/mfcc"]
    feature = Feature("mfcc", kind, kind.Params(), None, None)
    assert [rate.batch for rate in throughputs(feature, EngineParams(), "cpu")] == [1]


def test_a_typical_utterance_has_what_the_encoder_asks_for() -> None:
    kind = ENCODERS["visual/face-hog"]
    feature = Feature("hog", kind, kind.Params(frames=3), None, None)
    sample = typical_sample(feature)
    assert len(sample.frames) == 3 and all(f.faces is not None for f in sample.frames)
    (result,) = kind(kind.Params(frames=3)).encode([sample])
    assert result.frames == 3

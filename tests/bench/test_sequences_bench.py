"""The reference of bench/sequences.py is the same model, and its utterances are as long as MELD's."""

from pathlib import Path

import pytest

from bench import sequences
from fusion.layers import length_buckets


def test_the_words_have_the_lengths_of_meld() -> None:
    lengths = sequences.of_words().sequences["text"].lengths
    assert len(lengths) == 9989 == sum(sequences.STEPS)
    assert int(lengths.max()) == 50 and float(lengths.float().mean()) == pytest.approx(11.8, abs=0.3)


def test_the_reference_reads_all_utterances_at_once() -> None:
    lengths = sequences.of_words(0.1).sequences["text"].lengths
    with sequences.all_at_once():
        assert len(length_buckets.buckets_of(lengths)) == 1
    assert len(length_buckets.buckets_of(lengths)) > 3


def test_an_epoch_is_measured_against_the_same_model_on_padding(tmp_path: Path) -> None:
    before = length_buckets.MIN_BUCKET
    (figures,) = sequences.measure(tmp_path, ("cues",), scale=0.05).values()
    assert before == length_buckets.MIN_BUCKET
    assert figures["largest_difference"] < 1e-5 and figures["seconds_per_epoch"] > 0

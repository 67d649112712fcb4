"""Forwards: each input in one of them, padding under its bound, and the rules kept."""

from hypothesis import given
from hypothesis import strategies as st

from extract.engine.batching import PADDING, make_batches

LENGTHS = st.lists(st.integers(0, 400), max_size=60)


def test_similar_lengths_share_a_padded_forward() -> None:
    assert make_batches([100, 20, 99, 20, 97], "mask", 16) == [[1, 3], [4, 2, 0]]


def test_equal_lengths_share_a_forward_up_to_the_batch() -> None:
    assert make_batches([7, 3, 7, 7, 3], "equal", 2) == [[1, 4], [0, 2], [3]]


def test_alone_means_alone() -> None:
    assert make_batches([5, 5], "one", 16) == [[0], [1]]


@given(LENGTHS, st.integers(1, 20))
def test_padding_stays_under_its_bound_and_no_input_is_lost(lengths: list[int], most: int) -> None:
    batches = make_batches(lengths, "mask", most)
    assert sorted(n for batch in batches for n in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[n] for n in batch)
        assert len(batch) <= most
        assert longest * len(batch) - sum(lengths[n] for n in batch) <= PADDING * longest * len(batch)


@given(LENGTHS, st.integers(1, 20))
def test_equal_forwards_hold_one_length(lengths: list[int], most: int) -> None:
    batches = make_batches(lengths, "equal", most)
    assert sorted(n for batch in batches for n in batch) == list(range(len(lengths)))
    assert all(len({lengths[n] for n in batch}) == 1 and len(batch) <= most for batch in batches)

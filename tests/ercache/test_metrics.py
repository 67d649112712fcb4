"""Scores agree with scikit-learn, with literal examples and with the published floors."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from ercache import metrics

MELD = Path(__file__).resolve().parents[2].parent / "shared" / "meld"
TRUTH, GUESS = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])


def test_the_literal_example_of_m2fnet_item_20() -> None:
    found = metrics.scores(TRUTH, GUESS, 3)
    assert found["accuracy"] == pytest.approx(0.666667, abs=1e-6)
    assert found["weighted_f1"] == pytest.approx(0.6, abs=1e-6)
    assert found["macro_f1"] == pytest.approx(0.488889, abs=1e-6)
    f1 = [row["f1"] for row in metrics.per_class(TRUTH, GUESS, "abc").values()]
    assert f1 == pytest.approx([0.666667, 0.8, 0], abs=1e-6)
    assert metrics.confusion(TRUTH, GUESS, 3).tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_the_literal_example_of_avafn_item_11() -> None:
    truth, guess = np.array([0, 0, 0, 0, 0, 4, 4, 4, 2, 2]), np.array([0, 0, 0, 0, 4, 4, 4, 0, 0, 4])
    rows = metrics.per_class(truth, guess, "abcdefg")
    assert [rows[c]["f1"] for c in "aec"] == pytest.approx([0.727273, 0.571429, 0], abs=1e-6)
    shares = {c: row["support"] / len(truth) for c, row in rows.items()}
    weighted = [sum(shares[c] * rows[c][m] for c in rows) for m in ("precision", "recall", "f1")]
    assert weighted == pytest.approx([0.483333, 0.6, 0.535065], abs=1e-6)
    found = metrics.scores(truth, guess, 7)
    assert found["weighted_f1"] == pytest.approx(0.535065, abs=1e-6)
    assert sum(rows[c]["f1"] for c in "aec") / 3 == pytest.approx(0.432900, abs=1e-6)
    assert sum(row["f1"] for row in rows.values()) / 7 == pytest.approx(0.185529, abs=1e-6)


def test_the_literal_examples_of_avtca_item_22() -> None:
    def pairs(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        cells = [(t, g) for t, row in enumerate(table) for g, n in enumerate(row) for _ in range(n)]
        truth, guess = np.array(cells).T
        return truth, guess

    two = pairs([[8, 2], [1, 3]])
    found = metrics.scores(*two, 2)
    assert found["accuracy"] == pytest.approx(0.785714, abs=1e-6)
    f1 = [row["f1"] for row in metrics.per_class(*two, "ab").values()]
    assert f1 == pytest.approx([0.842105, 0.666667], abs=1e-6)
    assert found["macro_f1"] == pytest.approx(0.754386, abs=1e-6)
    assert found["weighted_f1"] == pytest.approx(0.791980, abs=1e-6)
    found = metrics.scores(*pairs([[8, 1, 1], [2, 6, 2], [0, 1, 9]]), 3)
    assert found["accuracy"] == pytest.approx(0.766667, abs=1e-6)
    assert found["macro_f1"] == pytest.approx(0.761616, abs=1e-6)
    assert found["weighted_f1"] == pytest.approx(0.761616, abs=1e-6)


def test_the_literal_example_of_cues_item_16() -> None:
    truth, guess = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 3]), np.array([0, 0, 1, 2, 1, 1, 2, 0, 2, 0])
    found = metrics.scores(truth, guess, 4)
    wanted = {"accuracy": 0.6, "uar": 0.541667, "macro_f1": 0.491667, "weighted_f1": 0.56}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)
    rows = metrics.per_class(truth, guess, "abcd").values()
    assert [row["recall"] for row in rows] == pytest.approx([0.5, 1, 0.666667, 0], abs=1e-6)
    assert [row["f1"] for row in rows] == pytest.approx([0.5, 0.8, 0.666667, 0], abs=1e-6)


def test_the_literal_example_of_amuse_item_20() -> None:
    truth, guess = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    found = metrics.scores(truth, guess, 3)
    assert found["weighted_f1"] == pytest.approx(0.677778, abs=1e-6)
    assert found["accuracy"] == pytest.approx(0.666667, abs=1e-6)
    f1 = [row["f1"] for row in metrics.per_class(truth, guess, "abc").values()]
    assert f1 == pytest.approx([0.8, 0.5, 0.666667], abs=1e-6)


def majority_scores(counts: dict[int, int]) -> tuple[float, float]:
    """Accuracy and weighted F1 in percent of always answering class 0."""
    truth = np.repeat(list(counts), list(counts.values()))
    found = metrics.scores(truth, np.zeros_like(truth), len(counts))
    return round(100 * found["accuracy"], 2), round(100 * found["weighted_f1"], 2)


@pytest.mark.skipif(not MELD.is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")
def test_binary_f1_is_the_f1_of_the_second_class_and_exists_for_two_classes_alone() -> None:
    truth, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    assert metrics.scores(truth, predicted, 2)["binary_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert "binary_f1" not in metrics.scores(truth, predicted, 3)
    assert [m.key for m in metrics.in_order(2)] == ["weighted_f1", "accuracy", "binary_f1", "macro_f1", "uar"]
    # the two values of an emotion in a multi-label task are presence and absence, not classes
    several = np.stack([metrics.confusion(truth, predicted, 2)] * 3)
    assert "binary_f1" not in metrics.mean_scores(several, leading=0)
    assert "binary_f1" in metrics.mean_scores(several, leading=1)


def test_the_majority_floor_of_meld() -> None:
    with (MELD / "test_sent_emo.csv").open(encoding="utf-8", newline="") as stream:
        labels = [row["Emotion"] for row in csv.DictReader(stream)]
    order = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
    counts = {c: labels.count(name) for c, name in enumerate(order)}
    assert sum(counts.values()) == 2610
    assert majority_scores(counts) == (48.12, 31.27)
    with (MELD / "dev_sent_emo.csv").open(encoding="utf-8", newline="") as stream:
        labels = [row["Emotion"] for row in csv.DictReader(stream)]
    assert majority_scores({c: labels.count(name) for c, name in enumerate(order)})[1] == 25.23


def test_the_majority_floor_of_iemocap() -> None:
    # neutral, the most frequent class of train, has 384 of 1622 in test
    assert majority_scores({0: 384, 1: 143, 2: 245, 3: 170, 4: 299, 5: 381}) == (23.67, 9.06)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_scores_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, guess = np.array(pairs).T
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, guess, labels=np.arange(4), zero_division=0
    )
    assert metrics.scores(truth, guess, 4) == {
        "weighted_f1": np.average(f1, weights=support),
        "macro_f1": np.mean(f1),
        "accuracy": accuracy_score(truth, guess),
        "uar": np.mean(recall[support > 0]),
    }
    rows = metrics.per_class(truth, guess, "abcd").values()
    assert [row["precision"] for row in rows] == precision.tolist()
    assert [row["support"] for row in rows] == support.tolist()


def test_confusions_of_dialogues_sum_to_the_confusion() -> None:
    counts = metrics.dialogue_confusions(TRUTH, GUESS, np.array([0, 0, 1, 1, 1, 2]), 3)
    assert counts.shape == (3, 3, 3)
    assert counts[1].tolist() == [[0, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert (counts.sum(0) == metrics.confusion(TRUTH, GUESS, 3)).all()


def test_intervals_cover_both_dialogues_and_seeds() -> None:
    right, wrong = np.array([[4, 0], [0, 4]]), np.array([[0, 4], [4, 0]])
    certain = np.stack([[right] * 10] * 3)
    assert metrics.intervals(certain)["accuracy"] == (1.0, 1.0)
    seeds_differ = np.stack([[right] * 10, [wrong] * 10])
    assert metrics.intervals(seeds_differ)["accuracy"] == (0.0, 1.0)
    dialogues_differ = np.stack([[right] * 5 + [wrong] * 5] * 3)
    low, high = metrics.intervals(dialogues_differ)["accuracy"]
    assert 0.1 <= low <= 0.3 and 0.7 <= high <= 0.9  # binomial with n = 10


def test_intervals_agree_with_a_bootstrap_written_out() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 3, size=(2, 12, 3, 3))
    values = []
    for _ in range(1500):
        seeds, dialogues = rng.integers(2, size=2), rng.integers(12, size=12)
        drawn = [metrics.scores_of_confusions(counts[s][dialogues].sum(0))["weighted_f1"] for s in seeds]
        values.append(np.mean(drawn))
    assert metrics.intervals(counts)["weighted_f1"] == pytest.approx(
        np.quantile(values, [0.025, 0.975]), abs=0.02
    )


def test_summary_of_one_seed_has_no_deviation() -> None:
    found = metrics.summary(np.array([[[[1, 1], [0, 2]]]]))
    assert found["accuracy"] == {"mean": 0.75, "std": 0.0, "ci95": [0.75, 0.75]}

"""The page of the extractors: a section for each size whose trainings are there, and no row of one in another."""

from typing import Any

from bench.extractors_page import METRIC, page

MEASURED = ("silhouette", "deviation", "dead", "rank", "similarity")


def row(method: str, size: str | None, fold: str, seed: int, score: float) -> dict[str, Any]:
    told = {
        "kind": "outer",
        "method": method,
        "fold": fold,
        "seed": seed,
        "probe_uar": score,
        "knn_accuracy": score,
    }
    return told | dict.fromkeys(MEASURED, 0.5) | ({"size": size, "epochs": 8} if size else {})


def rows_of(size: str, score: float, seeds: int = 2) -> list[dict[str, Any]]:
    methods = (*METRIC, "cross_entropy")
    return [row(m, size, fold, seed, score) for m in methods for fold in "123" for seed in range(seeds)]


BASELINE = [row("mfcc", None, fold, 0, 0.7) for fold in "123"]


def section(text: str, size: str) -> str:
    return text.split(f"### Size `{size}`", 1)[1].split("### ", 1)[0]


def test_sizes_have_sections_of_their_own_beside_one_baseline() -> None:
    names = ["extractors-small-fixed.png", "extractors-tiny-fixed.png"]
    text = page([*rows_of("tiny", 0.6), *BASELINE, *rows_of("small", 0.8)], pictures=names)
    assert text.index("### Size `small`") < text.index("### Size `tiny`")
    for size, score, goal in (("small", "0.800", "**met**"), ("tiny", "0.600", "**not met**")):
        told = section(text, size)
        assert told.count(f"| {score} | {score} to {score} |") == 4 and "| 0.700 | 0.700 to 0.700 |" in told
        assert goal in told and f"![fixed](extractors-{size}-fixed.png)" in told


def test_a_size_without_a_complete_seed_has_no_section() -> None:
    text = page([*rows_of("tiny", 0.6), *BASELINE, *rows_of("small", 0.8)[:-1]])
    assert "8 validations. Seeds with all folds and methods: 0.\n" in section(text, "small")
    assert "8 validations. Seeds with all folds and methods: 0, 1.\n" in section(text, "tiny")
    assert "### Size `small`" not in page([*rows_of("tiny", 0.6), *BASELINE, *rows_of("small", 0.8)[:5]])
    assert "### Size" not in page([])

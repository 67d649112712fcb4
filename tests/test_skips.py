"""The rule on skips holds."""

import pytest

from tests.conftest import unlisted


def report(reason: str) -> pytest.TestReport:
    return pytest.TestReport(
        "tests/x.py::test_x", ("x", 1, "test_x"), {}, "skipped", ("x.py", 1, f"Skipped: {reason}"), "call"
    )


def test_a_reason_that_is_not_listed_is_told() -> None:
    assert unlisted([report("needs ../shared/media/cremad (6 real clips)")]) == []
    assert unlisted([report("too lazy")]) == ["tests/x.py::test_x: too lazy"]

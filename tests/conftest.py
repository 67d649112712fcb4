"""A skip is an account, not an escape: its reason must stand in tests/skips.txt, or the run fails."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

# Two workers on two cores: threads of one library that wait for each other in both of them only burn time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("ercache", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ercache")

ALLOWED = Path(__file__).with_name("skips.txt")


def allowed_reasons() -> set[str]:
    """Reasons of skips.txt; lines that begin with # are comments."""
    lines = [line.strip() for line in ALLOWED.read_text(encoding="utf-8").splitlines()]
    return {line for line in lines if line and not line.startswith("#")}


def unlisted(reports: list[pytest.TestReport]) -> list[str]:
    """`test: reason` of every skip whose reason is not allowed."""
    found = []
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ").strip()
        if reason not in allowed_reasons():
            found.append(f"{report.nodeid}: {reason}")
    return found


@pytest.fixture(autouse=True, scope="session")
def _no_store_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests never read or write what the user's own runs have stored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERCACHE_STORE", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture(scope="session")
def demo_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny demo corpus, made by the real command, once for all workers of a run; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo"
    command = [str(Path(sys.executable).with_name("ercache")), "demo", str(place), "--size", "tiny"]
    with FileLock(f"{place}.lock"):
        if not place.is_dir():
            subprocess.run(command, check=True, capture_output=True, timeout=600)
    return place


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run whose skips are not accounted for (in the process that collects the reports)."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    bad = unlisted(reporter.stats.get("skipped", []))
    if bad:
        reporter.write_line("\nskips whose reason is not in tests/skips.txt:", red=True)
        for line in bad:
            reporter.write_line(f"  {line}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

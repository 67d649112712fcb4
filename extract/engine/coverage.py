"""What the caches of a folder hold, as a metric that DVC shows and compares: counts by status and reason."""

import json
from pathlib import Path

from ercache.cache import CacheFile, Status
from ercache.files import replaced

NAME = "coverage.json"


def write_coverage(folder: Path) -> None:
    """Write `coverage.json` beside the caches of a corpus and modality: feature -> part -> reason (or ok) -> count."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for path in sorted(folder.glob("*.h5")):
        with CacheFile(path) as cache:
            told = cache.provenance
            names = [e.reason or Status.OK.value for e in cache.entries]
        of_part = counts.setdefault(told["feature"], {}).setdefault(told["part"], {Status.OK.value: 0})
        for name in names:
            of_part[name] = of_part.get(name, 0) + 1
    with replaced(folder / NAME) as temporary:
        temporary.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n", encoding="utf-8")

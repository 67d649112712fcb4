"""Write `coverage.json`: for each cache file, how many utterances have the feature, and how many lack it and why.

A feature may have been computed from less than requested, for example from fewer frames. These utterances are counted
as well. DVC shows all counts as a metric.
"""

import json
from pathlib import Path

from ercache.cache import CacheFile, Status
from ercache.files import atomic_file
from ercache.notes import KEY, notes_of

NAME = "coverage.json"


def write_coverage(folder: Path) -> None:
    """Write `coverage.json` into a folder of cache files (one corpus, one modality).

    The file maps feature -> split part (train, dev, test) -> status -> number of utterances. The status is `ok`, or the
    reason why the feature is missing. The status `notes`, if present, counts those `ok` utterances whose feature was
    computed from less than requested, for example from fewer frames.
    """
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for path in sorted(folder.glob("*.h5")):
        with CacheFile(path) as cache:
            told = cache.provenance
            names = [e.reason or Status.OK.value for e in cache.entries]
        of_part = counts.setdefault(told["feature"], {}).setdefault(told["part"], {Status.OK.value: 0})
        for name in names:
            of_part[name] = of_part.get(name, 0) + 1
        if notes := notes_of(told):
            of_part[KEY] = len(notes)
    with atomic_file(folder / NAME) as temporary:
        temporary.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n", encoding="utf-8")

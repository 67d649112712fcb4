"""A user's own corpora in params.yaml: their names stand under `corpora`, with `scan` saying how each one is read.

corpora:
  talks: {scan: folder} # a folder of clips or recordings; other entries are switches of the corpus `folder`
  theirs: {scan: features} # made from a features file by `ercache init --from`; there is nothing to scan
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from ercache.errors import UsageError

SCAN: Final = "scan"
FOLDER: Final = "folder"
FEATURES: Final = "features"
SCANS: Final = (FOLDER, FEATURES)
CORPUS_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")  # corpora are named in paths and arguments


def own_corpora(corpora: Mapping[str, Any]) -> dict[str, str]:
    """Find the user's own corpora.

    Args:
        corpora: the entry `corpora` of params.yaml; it may be invalid.

    Returns:
        A dictionary from the name of each corpus that has `scan` to the value of `scan`.
    """
    entries = {str(name): entry for name, entry in corpora.items() if isinstance(entry, Mapping)}
    return {name: str(entry[SCAN]) for name, entry in entries.items() if SCAN in entry}


def switches_for(corpus: str, corpora: Mapping[str, Any]) -> dict[str, Any]:
    """Look up the switches for scanning a corpus.

    Args:
        corpus: name of the corpus.
        corpora: the entry `corpora` of params.yaml.
    """
    return {key: value for key, value in corpora.get(corpus, {}).items() if key != SCAN}


def corpus_name(folder_name: str) -> str:
    """Make the name of a corpus from the name of a folder or file: every other character becomes `_`.

    Raises:
        UsageError: no letter or digit remains.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", folder_name).strip("_-")
    if not name:
        raise UsageError(
            f"{folder_name!r} cannot be the name of a corpus, which is made of a-z, A-Z, 0-9, _ and -",
            hint="give a name with --name",
        )
    return name


def check_corpus_name(name: str) -> str:
    """Return a name that the user gave to a corpus unchanged.

    Raises:
        UsageError: the name has other characters than letters, digits, `_` and `-`, or begins with `-`.
    """
    if not CORPUS_NAME.fullmatch(name):
        raise UsageError(
            f"--name {name!r} cannot be the name of a corpus",
            hint="use a-z, A-Z, 0-9, _ and - only, and no - at the beginning",
        )
    return name

"""Corpora that the user adds in params.yaml, under `corpora`. Their entry `scan` says where their data come from.

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
    """Find the corpora in params.yaml that the user added. Their entries contain `scan`.

    Args:
        corpora: the entry `corpora` of params.yaml; it may be invalid.

    Returns:
        A dictionary from the name of each of these corpora to the value of `scan`, such as `folder`.
    """
    entries = {str(name): entry for name, entry in corpora.items() if isinstance(entry, Mapping)}
    return {name: str(entry[SCAN]) for name, entry in entries.items() if SCAN in entry}


def switches_for(corpus: str, corpora: Mapping[str, Any]) -> dict[str, Any]:
    """Look up the switches (options) with which a corpus is scanned.

    Args:
        corpus: name of the corpus.
        corpora: the entry `corpora` of params.yaml.

    Returns:
        A dictionary from switch to value; empty if params.yaml sets none.
    """
    return {key: value for key, value in corpora.get(corpus, {}).items() if key != SCAN}


def corpus_name(folder_name: str) -> str:
    """Turn the name of a folder or file into a valid name of a corpus.

    Characters other than letters, digits, `_` and `-` become `_`.

    Raises:
        UsageError: no letter or digit remains.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", folder_name).strip("_-")
    if not name:
        raise UsageError(
            f"no name for the corpus can be made from {folder_name!r}, because it has no letter a-z and no digit",
            hint="give a name with --name",
        )
    return name


def check_corpus_name(name: str) -> str:
    """Check a name that the user chose for a corpus, and return it unchanged.

    Raises:
        UsageError: the name has other characters than letters, digits, `_` and `-`, or begins with `-`.
    """
    if not CORPUS_NAME.fullmatch(name):
        raise UsageError(
            f"--name {name!r} cannot be the name of a corpus",
            hint="use a-z, A-Z, 0-9, _ and - only, and no - at the beginning",
        )
    return name

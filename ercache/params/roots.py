"""Find the root folder of a corpus, which depends on the machine."""

import os
import re
from pathlib import Path
from typing import Any

from ercache.errors import UsageError
from ercache.params.load import LOCAL_FILE, read_yaml
from ercache.params.schema import Params


def local_roots() -> dict[str, Any]:
    """Read the root folders of corpora from params.local.yaml: corpus -> folder; empty if there is no such file."""
    return read_yaml(LOCAL_FILE).get("roots") or {} if LOCAL_FILE.is_file() else {}


def corpus_root(corpus: str, params: Params, given: Path | None = None) -> Path:
    """Find the root folder of a corpus.

    The user may set it in four places. If several do, the earlier one in this list counts: `given`, the environment
    variable ERCACHE_ROOT_<CORPUS>, params.local.yaml, params.yaml.

    Args:
        given: value of the option `--root`, if the user gave it.

    Raises:
        UsageError: the root folder is set nowhere, or it is not a folder.
    """
    variable = "ERCACHE_ROOT_" + re.sub("[^A-Z0-9]", "_", corpus.upper())
    root = given or os.environ.get(variable) or local_roots().get(corpus) or params.roots.get(corpus)
    if not root:
        raise UsageError(
            f"the root folder of corpus {corpus!r} is not set",
            hint=f"give --root DIR, set {variable}, or write `roots: {{{corpus}: DIR}}` to {LOCAL_FILE}",
        )
    folder = Path(os.path.expanduser(str(root)))
    if not folder.is_dir():
        raise UsageError(
            f"the root of corpus {corpus!r} is not a folder: {folder}",
            hint=f"check that it is mounted, or change it with --root or in {LOCAL_FILE}",
        )
    return folder

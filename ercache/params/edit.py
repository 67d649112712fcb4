"""Change entries of params.yaml and params.local.yaml. Comments, order and all other entries stay as they are."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from ercache.errors import ParamsError


def edited_text(path: Path, change: Callable[[CommentedMap], None]) -> str:
    """Return the text of a YAML file after a change. Nothing is written.

    Args:
        path: the file; an absent file counts as an empty one.
        change: function that changes the content of the file, which it gets as a mapping.

    Returns:
        The new text, or the text of the file if nothing changed.

    Raises:
        ParamsError: the file is not valid YAML, or its top level is not a mapping.
    """
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    yaml = _round_trip()
    try:
        content = yaml.load(before) or CommentedMap()
    except YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML, correct it: {error}") from error
    if not isinstance(content, CommentedMap):
        raise ParamsError(f"{path}: the top level is not a mapping; write lines `key: value`")
    unchanged = _text(yaml, content)
    change(content)
    after = _text(yaml, content)
    return before if after == unchanged else after


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # lines stay as long as they were written
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _text(yaml: YAML, content: Any) -> str:
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()

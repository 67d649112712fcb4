"""Change entries of params.yaml and params.local.yaml. Comments, order and all other entries stay as they are."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from ercache.errors import ParamsError
from ercache.files import atomic_file


@contextmanager
def edited(path: Path) -> Iterator[CommentedMap]:
    """Context manager: yield the content of a YAML file as a mapping, and write its changes when the block ends.

    An absent file counts as an empty one. Nothing is written if the block raises an exception or changes nothing.

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
    yield content
    after = _text(yaml, content)
    if after != unchanged:
        with atomic_file(path) as part:
            part.write_text(after, encoding="utf-8")


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

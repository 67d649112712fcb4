"""Change entries of params.yaml and params.local.yaml. Sections without a change keep their text and comments."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml as pyyaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from ercache.errors import ParamsError
from ercache.params.additions import last_line


def edited_text(path: Path, change: Callable[[CommentedMap], None]) -> str:
    """Compute the text that a YAML file has after a change. Nothing is written.

    Args:
        path: the file; an absent file counts as an empty one.
        change: function that gets the parsed content of the file, a dictionary, and changes it in place.

    Returns:
        The new text of the whole file; the old text if `change` changed nothing.

    Raises:
        ParamsError: the file is not valid YAML, or its top level is not a mapping.
    """
    before = path.read_bytes().decode("utf-8") if path.is_file() else ""
    yaml = _round_trip()
    try:
        content = yaml.load(before.replace("\r\n", "\n")) or CommentedMap()
    except YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML, correct it: {error}") from error
    if not isinstance(content, CommentedMap):
        raise ParamsError(f"{path}: the top level is not a mapping; write lines `key: value`")
    unchanged = _text(yaml, content)
    change(content)
    after = _text(yaml, content)
    return before if after == unchanged else _spliced(before, unchanged, after)


def section_of(content: CommentedMap, name: str) -> CommentedMap:
    """Return a section of a file's content, for changes in place. An absent or empty section is added."""
    if content.get(name) is None:
        content[name] = CommentedMap()
    section: CommentedMap = content[name]
    return section


def _spliced(before: str, unchanged: str, after: str) -> str:
    """Replace only the changed sections in the text of a file.

    The other sections keep their layout, which writing the whole content anew (a dump) would lose.

    Args:
        before: text of the file.
        unchanged: dump of the content before the change.
        after: dump of the content after the change.

    Returns:
        The new text of the file.
    """
    end = "\r\n" if "\r\n" in before else "\n"
    old, new = _sections(unchanged), _sections(after)
    lines = before.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    there = _spans(before)
    for name in sorted(there, key=lambda key: there[key], reverse=True):
        if name in new and new[name] != old.get(name):
            first, last = there[name]
            lines[first : last + 1] = [line + end for line in new[name]]
    lines += [line + end for name in new if name not in there for line in new[name]]
    text = "".join(lines)
    return text if _same(text, after) else after


def _same(text: str, after: str) -> bool:
    try:
        return bool(pyyaml.safe_load(text) == pyyaml.safe_load(after))
    except pyyaml.YAMLError:
        return False


def _sections(text: str) -> dict[str, list[str]]:
    lines = text.splitlines()
    return {name: lines[first : last + 1] for name, (first, last) in _spans(text).items()}


def _spans(text: str) -> dict[str, tuple[int, int]]:
    """Find the lines of each section of a YAML text: its name -> numbers of its first and last line, from 0."""
    top = pyyaml.compose(text, Loader=pyyaml.SafeLoader)
    pairs = top.value if isinstance(top, pyyaml.MappingNode) else []
    return {
        key.value: (key.start_mark.line, max(key.end_mark.line, last_line(value))) for key, value in pairs
    }


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

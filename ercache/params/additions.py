"""Add entries to params.yaml and params.local.yaml. The text that is already in the files stays unchanged.

New entries become lines of text behind the last entry of their section, or inside its braces if it is written as
`section: {...}`. The new text is parsed and compared with the wanted content. If they differ, as may happen with an
unusual layout, an error is raised and the file stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from ercache.errors import ParamsError

Additions = Mapping[str, Mapping[str, Any]]  # section -> name of the entry -> entry
_STEP: Final = 2  # blanks before the entries of a new section
_WIDTH: Final = 1000  # an entry in braces stays on its line


@dataclass
class EditedFile:
    """A YAML file with added entries, held in memory until it is written.

    Attributes:
        path: the file.
        text: its new content.
        added: `section.name` of each new entry.
        kept: `section.name` of each entry that the file already had with another value; the old value is kept.
    """

    path: Path
    text: str
    added: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def with_entries(path: Path, additions: Additions) -> EditedFile:
    """Add entries to sections of a YAML file. An entry that is there already stays as it is. Nothing is written.

    Args:
        path: the file; an absent file counts as an empty one.
        additions: dictionary from section to the new entries: name of the entry -> value.

    Raises:
        ParamsError: the file is not valid YAML, or its layout does not allow additions. The details list the lines to
            add by hand.
    """
    text = _content(path)
    edited = EditedFile(path, text)
    before = _parsed(text, path)
    for section, entries in additions.items():
        there = before.get(section)
        new = dict(entries)
        if isinstance(there, dict):
            new = {name: entry for name, entry in entries.items() if name not in there}
            edited.kept += [f"{section}.{n}" for n, e in entries.items() if n in there and there[n] != e]
        if new:
            edited.text = _with_section(edited.text, section, new)
            edited.added += [f"{section}.{name}" for name in new]
    _check(edited, before, additions)
    return edited


def _content(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        return path.read_bytes().decode("utf-8")  # keeps the line ends of Windows
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: not a text file in UTF-8 ({error}); save it as UTF-8") from error


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML, correct it: {error}") from error
    if found is not None and not isinstance(found, dict):
        raise ParamsError(f"{path}: the top level is not a mapping; write lines `key: value`")
    return found or {}


def _with_section(text: str, section: str, new: Mapping[str, Any]) -> str:
    key, value = _nodes(text, section)
    if key is None or value is None:
        end = "" if not text or text.endswith("\n") else "\n"
        gap = "\n" if text.strip() else ""
        return f"{text}{end}{gap}{_flow(section)}:\n{_lines(new, _STEP)}"
    if isinstance(value, yaml.MappingNode) and value.flow_style:
        return _in_braces(text, value, new)
    if isinstance(value, yaml.MappingNode):
        return _behind(text, last_line(value), _lines(new, value.value[0][0].start_mark.column))
    return _behind(text, key.end_mark.line, _lines(new, _STEP))  # an empty section


def _nodes(text: str, section: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    top = yaml.compose(text, Loader=yaml.SafeLoader) if text.strip() else None
    pairs = top.value if isinstance(top, yaml.MappingNode) else []
    return next(((k, v) for k, v in pairs if k.value == section), (None, None))


def last_line(node: yaml.Node) -> int:
    """Number, from 0, of the last line of a YAML node. PyYAML's own end also covers comments after the node."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        inner = (
            node.value if isinstance(node, yaml.SequenceNode) else [n for pair in node.value for n in pair]
        )
        return max((last_line(n) for n in inner), default=node.start_mark.line)
    end = node.end_mark
    return end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line


def _behind(text: str, line: int, added: str) -> str:
    lines = text.splitlines(keepends=True)
    head = "".join(lines[: line + 1])
    return f"{head}{'' if head.endswith(chr(10)) else chr(10)}{added}{''.join(lines[line + 1 :])}"


def _in_braces(text: str, node: yaml.MappingNode, new: Mapping[str, Any]) -> str:
    close = node.end_mark.index - 1  # the closing brace
    head = text[:close].rstrip()
    inner = ", ".join(f"{_flow(name)}: {_flow(entry)}" for name, entry in new.items())
    comma = "" if head.endswith(("{", ",")) else ", "
    return f"{head}{comma}{inner}{text[close:]}"


def _lines(new: Mapping[str, Any], indent: int) -> str:
    """Write entries as YAML text in the style of params.yaml: one line for each entry.

    A dictionary whose line would exceed 100 characters gets one line for each of its keys.
    """
    lines = []
    for name, entry in new.items():
        short = f"{_flow(name)}: {_flow(entry)}"
        if isinstance(entry, Mapping) and len(short) > 100:
            lines.append(f"{_flow(name)}:")
            lines += [f"{' ' * _STEP}{_flow(key)}: {_flow(value)}" for key, value in entry.items()]
        else:
            lines.append(short)
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=_WIDTH, allow_unicode=True
    )
    return text.strip().removesuffix("\n...")


def _check(edited: EditedFile, before: Mapping[str, Any], additions: Additions) -> None:
    wanted = dict(before)
    for section, entries in additions.items():
        there = before.get(section)
        wanted[section] = {**entries, **(there if isinstance(there, dict) else {})}
    try:
        fits = yaml.safe_load(edited.text) == wanted or not edited.added
    except yaml.YAMLError:
        fits = False
    if not fits:
        lines = [
            f"{section}: {{{name}: {_flow(entry)}}}"
            for section, entries in additions.items()
            for name, entry in entries.items()
            if f"{section}.{name}" in edited.added
        ]
        raise ParamsError(
            f"{edited.path}: the layout of this file does not allow ercache to add entries",
            details=lines,
            hint="add these entries by hand and run again",
        )

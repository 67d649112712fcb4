"""New texts of the files that `ercache init` writes. They are checked together, and written only if all are valid."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.console import params
from app.pipeline import pipeline_files, stale_files, write_files
from ercache.errors import UsageError
from ercache.params.additions import EditedFile, with_entries
from ercache.params.load import LOCAL_FILE, NO_PARAMS, PARAMS_FILE
from ercache.params.schema import Params


@dataclass
class ProjectFiles:
    """New texts of a project's files (params.yaml, params.local.yaml, dvc.yaml, ...), checked but not written yet.

    Attributes:
        loaded: contents of params.yaml as it will be.
        texts: path of each file that changes -> its new text.
        added: the new entries, each as `file: section.name`.
        kept: entries that the user had already written with other values, each as `file: section.name`. They stay.
    """

    loaded: Params
    texts: dict[Path, str]
    added: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def write(self) -> list[Path]:
        """Write all files that change. If writing fails or is interrupted, no file is left half written.

        Returns:
            The paths of the written files.
        """
        write_files(self.texts)
        return list(self.texts)


def project_files(
    entries: Mapping[str, Mapping[str, Any]],
    roots: Mapping[str, Path] | None = None,
    pipeline: bool = False,
) -> ProjectFiles:
    """Add entries to params.yaml and params.local.yaml in memory, and check the result. Nothing is written yet.

    Args:
        entries: new entries for params.yaml: section -> name -> entry.
        roots: media folders for params.local.yaml: corpus -> folder.
        pipeline: whether to make the files of the DVC pipeline, too.

    Raises:
        UsageError: there is no params.yaml here, or an entry does not fit the entries that it has; the details list
            everything that is wrong.
    """
    if not PARAMS_FILE.is_file():
        raise UsageError("no project in this folder", hint=NO_PARAMS)
    edits = [with_entries(PARAMS_FILE, entries)]
    if roots:
        edits.append(with_entries(LOCAL_FILE, {"roots": {name: str(path) for name, path in roots.items()}}))
    files = checked_files({edit.path: edit.text for edit in edits}, pipeline)
    return replace(files, added=_named(edits, "added"), kept=_named(edits, "kept"))


def checked_files(contents: Mapping[Path, str], pipeline: bool) -> ProjectFiles:
    """Check new texts of params.yaml and params.local.yaml. Nothing is written yet.

    Args:
        contents: path of the file -> its new text.
        pipeline: whether to make the files of the DVC pipeline, too.

    Raises:
        ParamsError: an entry is wrong or contradicts another one; the details list everything that is wrong.
    """
    loaded = params(contents=contents)
    texts = {path: contents[path] for path in stale_files(contents)}
    if pipeline:
        stages = pipeline_files(loaded, contents[PARAMS_FILE])
        texts |= {path: stages[path] for path in stale_files(stages)}
    return ProjectFiles(loaded, texts)


def _named(edits: list[EditedFile], what: str) -> list[str]:
    return [f"{edit.path}: {entry}" for edit in edits for entry in getattr(edit, what)]

"""Files of a project that `ercache init` writes: checked together, and written only if all of them are right."""

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
    """New contents of the files of a project.

    Attributes:
        loaded: params.yaml as it will be.
        texts: content of each file that changes.
        added: new entries, each as `file: section.name`.
        kept: entries that were there before with other values, and were not changed.
    """

    loaded: Params
    texts: dict[Path, str]
    added: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def write(self) -> list[Path]:
        """Write all files. Each one appears complete or not at all.

        Returns:
            The files that were written.
        """
        write_files(self.texts)
        return list(self.texts)


def project_files(
    entries: Mapping[str, Mapping[str, Any]],
    roots: Mapping[str, Path] | None = None,
    pipeline: bool = False,
) -> ProjectFiles:
    """Add entries to the params of the project, and check the result. Nothing is written yet.

    Args:
        entries: entries for params.yaml, by section.
        roots: folders for params.local.yaml, by corpus.
        pipeline: whether to write the files of the pipeline, too.

    Raises:
        UsageError: there is no params.yaml here, or an entry does not fit what stands there; the details list all
            findings.
    """
    if not PARAMS_FILE.is_file():
        raise UsageError("no project here", hint=NO_PARAMS)
    edits = [with_entries(PARAMS_FILE, entries)]
    if roots:
        edits.append(with_entries(LOCAL_FILE, {"roots": {name: str(path) for name, path in roots.items()}}))
    files = checked_files({edit.path: edit.text for edit in edits}, pipeline)
    return replace(files, added=_named(edits, "added"), kept=_named(edits, "kept"))


def checked_files(contents: Mapping[Path, str], pipeline: bool) -> ProjectFiles:
    """Check new contents of params.yaml and params.local.yaml. Nothing is written yet.

    Args:
        contents: the new content of each file.
        pipeline: whether to write the files of the pipeline, too.

    Raises:
        ParamsError: the contents do not fit together; the details list all findings.
    """
    loaded = params(contents=contents)
    texts = {path: contents[path] for path in stale_files(contents)}
    if pipeline:
        stages = pipeline_files(loaded, contents[PARAMS_FILE])
        texts |= {path: stages[path] for path in stale_files(stages)}
    return ProjectFiles(loaded, texts)


def _named(edits: list[EditedFile], what: str) -> list[str]:
    return [f"{edit.path}: {entry}" for edit in edits for entry in getattr(edit, what)]

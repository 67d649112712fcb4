"""Scan the demo corpus that `ercache demo` generates: MELD's folder layout, drawn people, synthetic speech."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ercache.errors import CorpusError
from ercache.manifest import Manifest, Problem
from ercache.params.schema import Strict
from extract.corpora.common.entry import CorpusEntry, ScanProgress
from extract.corpora.common.listing import list_folder
from extract.corpora.meld.scan import LABEL_SETS, manifest_of, read_parts

NOTE: Final = "demo.json"


class Switches(Strict):
    """The user's choices for the demo corpus in params.yaml: there are none."""


def scan(root: Path, switches: Switches, progress: ScanProgress | None = None) -> Manifest:
    """Read a demo corpus, which has MELD's tables and clips, and return its manifest.

    Each clip that was broken deliberately gets a note.

    Raises:
        CorpusError: the corpus is absent, unfinished or damaged.
    """
    folder = list_folder(root)
    parts = read_parts(folder, "demo")
    note = _note(root)
    manifest = manifest_of("demo", root, parts, False, progress)
    ids = {u.id for u in manifest.utterances}
    broken = [b for b in note.get("broken", []) if isinstance(b, dict) and b.get("id") in ids]
    return replace(
        manifest,
        version=f"seed {note.get('seed')}, size {note.get('size')}, generator {note.get('version')}",
        problems=(
            *folder.notes(),
            *manifest.problems,
            *(Problem(b["id"], "note", "broken_on_purpose", str(b.get("how", ""))) for b in broken),
        ),
    )


def _note(root: Path) -> dict[str, Any]:
    again = "run `ercache demo` with this folder again; it makes the missing files"
    try:
        note: Any = json.loads((root / NOTE).read_bytes())
    except (OSError, ValueError) as error:
        raise CorpusError(f"demo: {root} has no readable {NOTE}", hint=again) from error
    if not isinstance(note, dict) or note.get("complete") is not True:
        raise CorpusError(f"demo: the corpus in {root} is unfinished: `ercache demo` did not end", hint=again)
    return note


ENTRY: Final = CorpusEntry(
    key="demo",
    name="Demo: generated conversations in MELD's layout",
    modalities=("text", "audio", "visual"),
    parts=("train", "dev", "test"),
    label_sets=LABEL_SETS,
    licence="made by ercache, free of rights",
    how_to_get="`ercache demo data/raw/demo`",
    Switches=Switches,
    scan=scan,
)

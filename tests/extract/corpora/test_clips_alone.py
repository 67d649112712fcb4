"""A folder of clips without any table or transcript is a corpus of clips; a table without dev gets one."""

from pathlib import Path
from typing import Any

import pytest

from ercache.errors import CorpusError
from ercache.manifest import Manifest
from extract.corpora import CORPORA
from extract.corpora.common.splits import with_drawn_dev
from tests.app.test_manifests import clips
from tests.support.corpus_folder import filmed, put

pytestmark = pytest.mark.usefixtures("scanned_here")

ENTRY = CORPORA["folder"]


def scan(root: Path, **switches: Any) -> Manifest:
    return ENTRY.scan(root, ENTRY.Switches(**switches))


def told(manifest: Manifest, reason: str) -> list[str]:
    return [p.detail for p in manifest.problems if p.reason == reason]


def test_clips_without_a_transcript_are_one_utterance_each(tmp_path: Path) -> None:
    found = scan(clips(tmp_path, "b.wav", "sub/a.wav", "c.wav"))
    rows = [(u.id, u.dialogue, u.index, u.speaker, u.text, u.part) for u in found.utterances]
    assert rows == [(name, name, 0, "unknown", None, "all") for name in ("b", "c", "sub__a")]
    assert all(u.audio and u.audio.sha256 and u.audio.start is None for u in found.utterances)
    assert told(found, "no_transcript") == [
        "3 clips without a table or transcript: each is one utterance, speaker and text unknown"
    ]
    assert not told(found, "no_speaker"), "it was told already"
    assert set(found.splits["dialogues"]) == {"train", "dev", "test"}


def test_pictures_and_sound_of_one_name_are_one_clip(tmp_path: Path) -> None:
    filmed(clips(tmp_path, "a.wav", "b.wav") / "a.mp4", 1)
    a, b = scan(tmp_path).utterances
    assert a.video and a.audio and (a.video.path, a.audio.path) == ("a.mp4", "a.wav")
    assert b.video is None and b.audio and b.audio.path == "b.wav"


def test_with_a_transcript_only_its_recording_is_used(tmp_path: Path) -> None:
    root = put(clips(tmp_path, "a.wav", "b.wav"), "a.srt", "1\n00:00:00,000 --> 00:00:01,000\nHi\n")
    found = scan(root)
    assert [u.id for u in found.utterances] == ["a_0"] and not told(found, "no_transcript")
    assert told(found, "media_without_transcript") == ["1 file: b.wav"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"notes.txt": "x"}, "nor clips"),
        ({"x.zip": "x"}, "unpack x.zip"),
        ({"x.xlsx": "x", "a.wav": "x"}, "CSV UTF-8"),
    ],
)
def test_a_folder_that_holds_no_clips_says_what_to_put_there(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    for name, content in files.items():
        put(tmp_path, name, content)
    with pytest.raises(CorpusError, match=said):
        scan(tmp_path)


def test_a_table_without_dev_gets_one_from_the_dialogues_of_train(tmp_path: Path) -> None:
    rows = "".join(f"d{n},t,{'test' if n > 7 else 'train'}\n" for n in range(10) for _ in range(2))
    found = scan(put(tmp_path, "utterances.csv", "dialogue,text,split\n" + rows))
    sizes = {name: len(ids) for name, ids in found.splits["official"].items()}
    assert sizes == {"train": 14, "dev": 2, "test": 4} and len(told(found, "dev_drawn")) == 1
    dialogues = {u.id: u.dialogue for u in found.utterances}
    assert len({dialogues[i] for i in found.splits["official"]["dev"]}) == 1


def test_a_dev_is_drawn_only_where_there_is_none() -> None:
    groups = {"a": "1", "b": "2", "c": "3"}
    given = {"train": ("a",), "dev": ("b",), "test": ("c",)}
    assert with_drawn_dev(given, groups) is given
    alone = {"train": ("a",), "test": ("c",)}
    assert with_drawn_dev(alone, groups) is alone, "a single group cannot be divided"

"""The manifest: what is written is read; what would escape or repeat is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ercache.errors import CorpusError
from ercache.manifest import (
    Manifest,
    MediaRef,
    Problem,
    Utterance,
    read_manifest,
    splits_path,
    write_manifest,
)

REF = MediaRef("clips/a.mp4", 0.5, 2.0, (0.0, 0.0, 0.5, 1.0), "ab")
FIRST = Utterance("u0", "d0", 0, "Ann", "Hello.", REF, None, {"emotion7": "joy", "other": None}, "train")


def manifest(*utterances: Utterance) -> Manifest:
    ids = tuple(u.id for u in utterances)
    return Manifest(
        "toy",
        "1",
        {"a.csv": "cd"},
        {"emotion7": ("neutral", "joy")},
        utterances,
        (Problem("u0", "missing", "absent"),),
        {"official": {"train": ids, "test": ()}},
    )


def test_line_separators_in_a_text_do_not_end_the_line(tmp_path: Path) -> None:
    written = manifest(replace(FIRST, text="a\u2028b\x85c\x1cd\r\ne"))
    write_manifest(written, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == written


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(),
    name=st.text(min_size=1).filter(str.isprintable),
    start=st.floats(0, 1e5) | st.none(),
)
def test_everything_that_is_written_can_be_read(
    tmp_path: Path, text: str, name: str, start: float | None
) -> None:
    written = manifest(replace(FIRST, id=name, text=text, video=replace(REF, start=start)))
    write_manifest(written, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == written


@pytest.mark.parametrize("path", ["../x.mp4", "/etc/passwd", "a/../../b", "", "a\0b"])
def test_media_never_leave_the_root(tmp_path: Path, path: str) -> None:
    with pytest.raises(CorpusError, match="invalid"):
        write_manifest(manifest(replace(FIRST, video=MediaRef(path))), tmp_path / "m.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "a\nb", "a\0"])
def test_ids_are_printable(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError):
        write_manifest(manifest(replace(FIRST, id=name)), tmp_path / "m.jsonl")


def test_all_repeated_ids_and_unknown_ids_of_splits_are_reported(tmp_path: Path) -> None:
    bad = replace(manifest(FIRST, FIRST), splits={"official": {"train": ("nobody",)}})
    with pytest.raises(CorpusError) as caught:
        write_manifest(bad, tmp_path / "m.jsonl")
    assert "occurs 2 times" in str(caught.value)
    assert "unknown id 'nobody'" in str(caught.value)


def test_a_damaged_or_absent_manifest_gives_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with pytest.raises(CorpusError, match="ercache scan"):
        read_manifest(path)
    write_manifest(manifest(FIRST), path)
    whole = path.read_text()
    for text in ("", "{}", "[]\n", whole[:-20], whole.replace('"format_version":1', '"format_version":9')):
        path.write_text(text)
        with pytest.raises(CorpusError):
            read_manifest(path)
    path.write_text(whole)
    splits_path(path).unlink()
    with pytest.raises(CorpusError, match="splits"):
        read_manifest(path)


def test_a_repaired_label_changes_the_labels_digest_only() -> None:
    one, other = manifest(FIRST), manifest(replace(FIRST, labels={"emotion7": "neutral"}))
    assert one.labels_digest("emotion7", "official") != other.labels_digest("emotion7", "official")
    same = manifest(replace(FIRST, text="Repaired."))
    assert one.labels_digest("emotion7", "official") == same.labels_digest("emotion7", "official")


@pytest.mark.parametrize("label", ["", "joy\0", "a\nb"])
def test_labels_are_printable(tmp_path: Path, label: str) -> None:
    for bad in (
        manifest(replace(FIRST, labels={"emotion7": label})),
        replace(manifest(FIRST), label_sets={"x": (label,)}),
    ):
        with pytest.raises(CorpusError, match="control characters"):
            write_manifest(bad, tmp_path / "m.jsonl")


@pytest.mark.parametrize("name", ["../x", "loso/..", "/x", "loso/.", "loso//a", ""])
def test_a_split_cannot_name_a_path_elsewhere(tmp_path: Path, name: str) -> None:
    bad = replace(manifest(FIRST), splits={name: {"train": (FIRST.id,)}})
    with pytest.raises(CorpusError, match="invalid entries") as told:
        write_manifest(bad, tmp_path / "m.jsonl")
    assert "is not a valid name" in told.value.details[0]


def test_folds_and_multi_label_sets_are_found_by_their_names() -> None:
    splits = {name: {"train": (FIRST.id,)} for name in ("loso/a", "loso/b", "loso", "session5", "x/loso/c")}
    pair = ("absent", "present")
    sets = {"e": ("a", "b"), "m_joy": pair, "m_fear": pair, "m_more": ("low", "high")}
    one = replace(manifest(FIRST), splits=splits, label_sets=sets)
    assert one.folds_of("loso") == ("loso/a", "loso/b") and one.folds_of("session5") == ()
    assert one.sets_of("e") == ("e",) and one.sets_of("m") == ("m_fear", "m_joy") and one.sets_of("n") == ()
    moved = replace(one, splits={**splits, "loso/b": {"train": ()}})
    assert one.labels_digest("m", "loso/a") == moved.labels_digest("m", "loso/a")
    del splits["loso"]
    assert one.labels_digest("m", "loso") != replace(
        moved, splits={**splits, "loso/b": {"train": ()}}
    ).labels_digest("m", "loso")


def test_promises_of_splits_are_stored_and_older_files_have_none(tmp_path: Path) -> None:
    path = tmp_path / "toy.jsonl"
    splits = {"a": {"train": ("u0",)}, "b": {"train": ("u0",)}}
    written = replace(manifest(FIRST), splits=splits, promises={"a": ("speaker",)})
    write_manifest(written, path)
    assert read_manifest(path) == written
    splits_path(path).write_text('{"a": {"train": ["u0"]}}', encoding="utf-8")
    found = read_manifest(path)
    assert found.promises == {} and found.splits == {"a": {"train": ("u0",)}}

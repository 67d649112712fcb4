"""IEMOCAP: the annotation decides, every quirk of the release is told, nothing is mended or lost in silence."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ercache.manifest import Manifest, read_manifest, write_manifest
from extract.corpora.iemocap.facts import VALIDATION
from extract.corpora.iemocap.turns import CODES, read_evaluation, read_transcript
from tests.support.iemocap_tree import (
    DIALOGUES,
    ENTRY,
    IMPRO,
    PAIR,
    SCRIPT,
    Line,
    evaluation,
    make_media,
    official,
    one,
    scan,
    told,
    transcript,
    video_of,
    write_annotation,
    write_release,
)

pytestmark = pytest.mark.usefixtures("scanned_here")


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


def of_lines(root: Path, *lines: Line, name: str = IMPRO, **switches: Any) -> Manifest:
    """A scan of one dialogue without media."""
    return scan(write_annotation(root, {name: lines}), **switches)


# What an utterance is


def test_the_last_letter_is_the_speaker_and_the_first_the_left_half(tmp_path: Path, media: Path) -> None:
    found = scan(write_release(tmp_path / "r", media, PAIR))
    seats = {(u.dialogue, u.speaker): u.video.crop for u in found.utterances if u.video}
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    assert seats == {
        (IMPRO, "Ses01F"): left,
        (IMPRO, "Ses01M"): right,
        (SCRIPT, "Ses01M"): left,
        (SCRIPT, "Ses01F"): right,
    }
    swapped = scan(tmp_path / "r", markers="right")
    assert one(swapped, f"{IMPRO}_F000").video == replace(video_of(found, f"{IMPRO}_F000"), crop=right)


def test_sound_is_the_turns_own_wav_and_pictures_a_stretch_of_the_dialogue(
    tmp_path: Path, media: Path
) -> None:
    found = scan(write_release(tmp_path / "r", media, PAIR))
    first, second = one(found, f"{IMPRO}_F001"), one(found, f"{IMPRO}_M001")
    assert first.audio and first.audio.path == f"Session1/sentences/wav/{IMPRO}/{IMPRO}_F001.wav"
    assert first.audio.start is None and first.audio.sha256 and second.audio
    assert first.audio.sha256 != second.audio.sha256
    assert first.video and first.video.path == f"Session1/dialog/avi/DivX/{IMPRO}.avi"
    assert (first.video.start, first.video.end) == (2.5, 3.5) and first.video.sha256
    assert [p for p in found.problems if p.utterance] == []


def test_pictures_may_be_shifted_by_frames_but_not_below_zero(tmp_path: Path, media: Path) -> None:
    found = scan(write_release(tmp_path / "r", media, PAIR), video_offset_frames=-30)
    assert (video_of(found, f"{IMPRO}_F000").start, video_of(found, f"{IMPRO}_F000").end) == (0.0, 0.499)
    assert video_of(found, f"{IMPRO}_M000").start == 0.499


def test_turns_are_in_order_of_time_or_of_the_transcript(tmp_path: Path) -> None:
    lines = (Line("F000", 3, 4, "neu"), Line("M000", 1, 1.5, "neu"), Line("F001", 1, 2, "neu"))
    by_time = of_lines(tmp_path, *lines)
    assert [(u.id[-4:], u.index) for u in by_time.utterances] == [("M000", 0), ("F001", 1), ("F000", 2)]
    by_file = scan(tmp_path, order="file")
    assert [(u.id[-4:], u.index) for u in by_file.utterances] == [("F000", 0), ("M000", 1), ("F001", 2)]
    assert by_time.version != by_file.version


def test_dialogues_are_in_order_and_a_session_is_a_part(tmp_path: Path) -> None:
    found = scan(write_annotation(tmp_path, dict(list(DIALOGUES.items())[::-1])))
    assert list(dict.fromkeys(u.dialogue for u in found.utterances)) == sorted(DIALOGUES)
    assert found.parts == ENTRY.parts == ("Ses01", "Ses02", "Ses03", "Ses04", "Ses05")


# Labels


@pytest.mark.parametrize(
    ("label", "four", "four_without_exc", "six", "nine"),
    [
        ("ang", "ang", "ang", "ang", "ang"),
        ("hap", "hap", "hap", "hap", "hap"),
        ("exc", "hap", None, "exc", "exc"),
        ("fru", None, None, "fru", "fru"),
        ("dis", None, None, None, "dis"),
        ("oth", None, None, None, None),
        ("xxx", None, None, None, None),
    ],
)
def test_a_label_stands_in_every_set_that_has_its_class(
    tmp_path: Path,
    label: str,
    four: str | None,
    four_without_exc: str | None,
    six: str | None,
    nine: str | None,
) -> None:
    found = of_lines(tmp_path, Line("F000", 0, 1, label), Line("M000", 1, 2, "neu"))
    expected = {"four": four, "four_without_exc": four_without_exc, "six": six, "six_majority": six}
    assert found.utterances[0].labels == {**expected, "nine": nine}
    assert found.utterances[0].index == 0, "a turn outside a set stays in its dialogue"


@pytest.mark.parametrize(
    ("label", "votes", "own", "six"),
    [
        ("xxx", ("Neutral", "Excited; Happiness"), ("Happiness",), "hap"),
        ("xxx", ("Neutral", "Happiness"), ("Happiness", "Excited"), None),
        ("xxx", ("Neutral", "Excited"), ("Happiness",), None),
        ("xxx", ("Happiness",), ("Neutral",), None),
        ("neu", ("Happiness",), ("Happiness",), "neu"),
    ],
)
def test_the_turns_that_published_features_call_happy_are_rebuilt(
    tmp_path: Path, label: str, votes: tuple[str, ...], own: tuple[str, ...], six: str | None
) -> None:
    found = of_lines(tmp_path, Line("F000", 0, 1, label, "Ha.", votes, own), Line("M000", 1, 2, "neu"))
    labels = found.utterances[0].labels
    assert labels["six"] == six
    assert labels["six_majority"] == (None if label == "xxx" else label) and labels["four"] != "hap"


def test_the_votes_of_one_turn_do_not_reach_the_next() -> None:
    lines = [
        Line("F000", 0, 1, "xxx", "a", ("Happiness",), ("Happiness",)),
        Line("F001", 1, 2, "xxx"),
    ]
    first, second = read_evaluation(evaluation(IMPRO, lines).encode(), IMPRO, "x.txt").turns.values()
    assert first.votes == first.own == frozenset({"happiness"})
    assert second.votes == second.own == frozenset({"neutral"})


# Texts


def test_fragments_and_asides_are_counted_and_are_no_utterances(tmp_path: Path) -> None:
    found = scan(write_annotation(tmp_path, PAIR))
    assert len(found.utterances) == sum(map(len, PAIR.values()))
    assert told(found, "fragments") == ["2 lines with an XX id are no turns"]
    fragment = f"[1.0 - 2.0]\t{IMPRO}_FXX0\tneu\t[2, 2, 2]\nC-E1:\tAnger;\t()\n"
    content = evaluation(IMPRO, PAIR[IMPRO]) + fragment
    annotated = read_evaluation(content.encode(), IMPRO, "x.txt")
    assert annotated.fragments == 1 and annotated.findings == []
    assert annotated.turns == read_evaluation(evaluation(IMPRO, PAIR[IMPRO]).encode(), IMPRO, "x").turns
    assert told(found, "asides") == ["2 lines of the transcripts name no turn"]


def test_tags_stay_in_the_text_and_a_turn_without_words_is_missing(tmp_path: Path) -> None:
    lines = (
        Line("F000", 0, 1, "neu", "Well [LAUGHTER] I: no."),
        Line("M000", 1, 2, "neu", " "),
        Line("M001", 2, 3, "neu", None),
    )
    found = of_lines(tmp_path, *lines)
    assert [u.text for u in found.utterances] == ["Well [LAUGHTER] I: no.", None, None]
    assert told(found, "no_text") == [f"{IMPRO}_M000", f"{IMPRO}_M001"]


def test_overlaps_are_counted(tmp_path: Path) -> None:
    lines = (Line("F000", 1, 3, "neu"), Line("M000", 2, 4, "neu"), Line("F001", 0, 1, "neu"))
    (line,) = told(of_lines(tmp_path, *lines), "turns_overlap")
    assert line == "of 2 neighbours in the transcripts 2 overlap, 1 start before the other"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path, newline: str, mark: str) -> None:
    plain = scan(write_annotation(tmp_path / "a", PAIR))
    write_annotation(tmp_path / "b", PAIR)
    for path in (tmp_path / "b").rglob("*.txt"):
        path.write_bytes((mark + path.read_text()).replace("\n", newline).encode())
    assert scan(tmp_path / "b").utterances == plain.utterances


def test_a_transcript_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    write_annotation(tmp_path, {IMPRO: [Line("F000", 0, 1, "neu", "It@s fine.")]})
    path = tmp_path / "Session1" / "dialog" / "transcriptions" / f"{IMPRO}.txt"
    path.write_bytes(path.read_bytes().replace(b"@", b"\x92"))
    found = scan(tmp_path)
    assert found.utterances[0].text == "It’s fine." and len(told(found, "not_utf8")) == 1


def test_remarks_of_raters_in_any_encoding_do_no_harm() -> None:
    content = evaluation(IMPRO, PAIR[IMPRO]).encode().replace(b"\t()", b"\t(na\xefve \x85[1 - 2])")
    found = read_evaluation(content, IMPRO, "x.txt")
    assert len(found.turns) == len(PAIR[IMPRO]) and found.findings == []


# Times


def test_impossible_and_differing_times_are_told(tmp_path: Path, media: Path) -> None:
    lines = [
        Line("F000", -0.4, 1, "neu"),
        Line("F001", 3, 2, "neu"),
        Line("F002", 8.5, 12, "neu"),
        Line("F003", 30, 31, "neu"),
        Line("F004", 4, 5, "neu"),
    ]
    root = write_release(tmp_path / "r", media, {IMPRO: lines})
    path = root / "Session1" / "dialog" / "transcriptions" / f"{IMPRO}.txt"
    path.write_text(path.read_text().replace("004.0000-", "004.5000-"))
    found = scan(root)
    names = {u.id[-4:]: u.id for u in found.utterances}
    assert told(found, "negative_start") == [names["F000"]] and video_of(found, names["F000"]).start == 0
    assert told(found, "ends_before_start") == [names["F001"]]
    assert told(found, "times_differ") == [names["F004"]] and video_of(found, names["F004"]).start == 4
    assert told(found, "no_video") == [names["F003"]]
    assert told(found, "beyond_the_file") == [names["F002"]]
    assert video_of(found, names["F002"]).end == pytest.approx(9, abs=0.05)
    assert video_of(scan(root, beyond_file="keep"), names["F002"]).end == 12


# The whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_annotation(tmp_path_factory.mktemp("whole"), dict(official()))


def test_the_counts_of_the_release_raise_no_difference(whole: Path, tmp_path: Path) -> None:
    found = scan(whole)
    assert told(found, "count_differs") == [] and told(found, "split_not_made") == []
    assert len(found.utterances) == 10_039 and len({u.dialogue for u in found.utterances}) == 151
    totals = {name: Counter(u.labels[name] for u in found.utterances) for name in found.label_sets}
    sizes = {name: count.total() - count[None] for name, count in totals.items()}
    assert sizes == {"six": 7433, "six_majority": 7380, "four": 5531, "four_without_exc": 4490, "nine": 7529}
    assert [totals["six"][value] for value in found.label_sets["six"]] == [648, 1084, 1708, 1103, 1041, 1849]
    assert [totals["four"][v] for v in ("ang", "hap", "sad", "neu")] == [1103, 1636, 1084, 1708]
    write_manifest(found, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == found


def test_session_5_is_held_out_with_three_choices_of_validation(whole: Path) -> None:
    found = scan(whole, validation_seed=3)
    dialogue_of = {u.id: u.dialogue for u in found.utterances}

    def dialogues(split: str, subset: str) -> list[str]:
        return sorted({dialogue_of[i] for i in found.splits[split][subset]})

    names = ["session5", "session5_fixed", "session5_seed3"]
    sizes = [[len(dialogues(n, s)) for s in ("train", "dev", "test")] for n in names]
    assert sizes == [[100, 20, 31], [108, 12, 31], [108, 12, 31]]
    assert all(len(found.splits[name]["test"]) == 2170 for name in names)
    assert dialogues("session5", "train")[-1] == "Ses04F_script01_2"
    assert dialogues("session5", "dev")[0] == "Ses04F_script01_3"
    assert dialogues("session5_fixed", "dev") == sorted(VALIDATION)
    four = {u.id: u.labels["four"] is not None for u in found.utterances}
    tested = [sum(four[i] for i in split["test"]) for n, split in found.splits.items() if "/" in n]
    assert tested == [1085, 1023, 1151, 1031, 1241, 528, 557, 481, 542, 522, 629, 528, 503, 590, 651]


def test_a_count_that_differs_is_told_with_the_number_of_the_release(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "r")
    path = tmp_path / "r" / "Session4" / "dialog" / "EmoEvaluation" / "Ses04F_impro01.txt"
    path.write_text(path.read_text().replace("\tang\t", "\tdis\t", 1))
    assert told(scan(tmp_path / "r"), "count_differs") == [
        "Ses04, in brackets the release: 326 ang (327), 1 dis (0)"
    ]
    path.write_text(path.read_text().replace("\tdis\t", "\tang\t", 1))
    assert told(scan(tmp_path / "r"), "count_differs") == []


# Parsers

LINES = st.lists(
    st.builds(
        Line,
        name=st.from_regex(r"[FM][0-9]{3}", fullmatch=True),
        start=st.integers(-(10**7), 10**7).map(lambda n: n / 10_000),
        end=st.integers(-(10**7), 10**7).map(lambda n: n / 10_000),
        label=st.sampled_from(CODES),
        text=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])).map(str.strip),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda line: line.name,
)


@given(LINES)
def test_every_turn_and_every_line_is_read_back(lines: list[Line]) -> None:
    found = read_evaluation(evaluation(IMPRO, lines).encode(), IMPRO, "x.txt")
    assert found.findings == []
    assert [(t.id, t.start, t.end, t.label) for t in found.turns.values()] == [
        (f"{IMPRO}_{x.name}", x.start, x.end, x.label) for x in lines
    ]
    spoken = read_transcript(transcript(IMPRO, lines).encode()).texts
    assert {name: (s.text, s.start, s.end) for name, s in spoken.items()} == {
        f"{IMPRO}_{x.name}": (x.text, x.start, x.end) for x in lines
    }


@given(st.binary() | st.text(alphabet=f"[]-: .\t\n09FMx{IMPRO}").map(str.encode))
def test_no_bytes_break_the_parsers(content: bytes) -> None:
    found = read_evaluation(content, IMPRO, "x.txt")
    assert found.turns or found.findings
    read_transcript(content)


ROOT = os.environ.get("ERCACHE_ROOT_IEMOCAP", "")


@pytest.mark.full
@pytest.mark.skipif(not Path(ROOT).is_dir() or not ROOT, reason="needs IEMOCAP (ERCACHE_ROOT_IEMOCAP)")
def test_the_real_release_gives_the_official_counts() -> None:
    found = scan(Path(ROOT))
    assert told(found, "count_differs") == [] and len(found.utterances) == 10_039
    subsets = found.splits["session5"].values()
    labels = {u.id: u.labels["six_majority"] for u in found.utterances}
    assert [sum(labels[i] is not None for i in ids) for ids in subsets] == [4778, 980, 1622]
    four = {u.id: u.labels["four"] for u in found.utterances}
    first = [u.id for u in found.utterances if u.index == 0]
    told_first = sum(four[i] is not None for i in first)
    assert (len(first), told_first) == (151, 95)  # cues item 2: nothing is heard before these
    assert sum(label is not None for label in four.values()) - told_first == 5436

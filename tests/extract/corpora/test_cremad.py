"""CREMA-D: a clip is what its name says, raters have label sets of their own, every quirk of the release is told."""

import csv
import io
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ercache.errors import CorpusError
from ercache.manifest import Manifest, Utterance, write_manifest
from ercache.params.load import schema_errors
from extract.corpora import CORPORA
from extract.corpora.common.inspect_media import MediaFacts
from extract.corpora.cremad import scan as cremad
from extract.corpora.cremad.facts import ACTORS, EMOTIONS, SENTENCES, is_clip
from extract.corpora.cremad.ratings import COUNTS, LETTERS, TIE, read_ratings

pytestmark = pytest.mark.usefixtures("scanned_here")

ENTRY = CORPORA["cremad"]
REAL = Path(__file__).resolve().parents[3].parent / "shared" / "media" / "cremad"
SUMMARY = (
    "",
    "FileName",
    "VoiceVote",
    "VoiceLevel",
    "FaceVote",
    "FaceLevel",
    "MultiModalVote",
    "MultiModalLevel",
)
ANSWERS = (
    *(
        "",
        "localid",
        "pos",
        "ans",
        "ttr",
        "queryType",
        "numTries",
        "clipNum",
        "questNum",
        "subType",
        "clipName",
    ),
    *("sessionNums", "respEmo", "respLevel", "dispEmo", "dispVal", "dispLevel"),
)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
ONE = "1001_IEO_ANG_HI"


def made(path: Path, *options: str) -> Path:
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *options, f"file:{path}"], check=True
    )
    return path


PICTURE = ("-f", "lavfi", "-i", "testsrc=s=32x32:r=10:d=0.5")
SOUND = ("-f", "lavfi", "-i", "sine=r=44100:d=0.5")


def with_data_stream(flv: bytes) -> bytes:
    """An flv with a script tag behind its first tag, as the release's files have: decoders show it as stream 0."""
    name, key, text = b"onXMPData", b"liveXML", b"<x:xmpmeta/>" * 20
    body = b"\x02" + len(name).to_bytes(2, "big") + name + b"\x08\x00\x00\x00\x01"
    body += (
        len(key).to_bytes(2, "big") + key + b"\x02" + len(text).to_bytes(2, "big") + text + b"\x00\x00\x09"
    )
    tag = b"\x12" + len(body).to_bytes(3, "big") + bytes(7) + body
    first = 13 + 11 + int.from_bytes(flv[14:17], "big") + 4
    return flv[:first] + tag + len(tag).to_bytes(4, "big") + flv[first:]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`.flv` with a data stream, `.wav`, and `mute.flv` without sound."""
    folder = tmp_path_factory.mktemp("media")
    flv = made(folder / "clip.flv", *PICTURE, *SOUND, "-c:v", "flv1", "-c:a", "libmp3lame")
    flv.write_bytes(with_data_stream(flv.read_bytes()))
    wav = made(folder / "clip.wav", *SOUND, "-ar", "16000")
    return {".flv": flv, ".wav": wav, "mute": made(folder / "mute.flv", *PICTURE, "-c:v", "flv1")}


def tree(
    root: Path, media: dict[str, Path], *stems: str, flv: str = "VideoFlash", wav: str = "AudioWAV"
) -> Path:
    for folder, suffix in ((flv, ".flv"), (wav, ".wav")):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for stem in stems:
            shutil.copy(media[suffix], root / folder / (stem + suffix))
    return root


def table(header: Sequence[str], rows: Iterable[Sequence[object]], end: str = "\n") -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=end).writerows([header, *rows])
    return text.getvalue()


def votes(*rows: tuple[str, str, str, str]) -> list[tuple[object, ...]]:
    """Rows of the summary: clip, voice, face, both."""
    return [(n, clip, v, "50", f, "60.5", b, "70:20") for n, (clip, v, f, b) in enumerate(rows, 1)]


def put(root: Path, path: str, content: str | bytes) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def scan(root: Path, **switches: str) -> Manifest:
    return ENTRY.scan(root, ENTRY.Switches(**switches))


def told(manifest: Manifest, reason: str) -> list[str]:
    return [p.detail for p in manifest.problems if p.reason == reason]


def refused(root: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        scan(root)
    return str(caught.value)


def only(manifest: Manifest) -> Utterance:
    (utterance,) = manifest.utterances
    return utterance


def names() -> Iterator[str]:
    """All names of the release, by the rule that its counts follow."""
    lacks = {1008: "ITH", 1009: "MTI", 1019: "WSI"}  # a sentence each; which is whose is not known
    for actor in ACTORS:
        for sentence in SENTENCES:
            for emotion in EMOTIONS:
                levels = ("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",)
                if lacks.get(actor) == sentence or (actor, sentence, emotion) in (
                    (1002, "TIE", "NEU"),
                    (1076, "ITS", "NEU"),
                ):
                    continue
                yield from (f"{actor}_{sentence}_{emotion}_{level}" for level in levels)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")
def test_the_real_clips_have_the_actor_sentence_emotion_and_level_of_their_names() -> None:
    found = scan(REAL)
    expected = ["anger", "disgust", "fear", "happy", "neutral", "sad"]
    assert [u.labels["emotion6"] for u in found.utterances] == expected
    for u in found.utterances:
        assert (u.speaker, u.text, u.dialogue, u.index) == ("1001", "Don't forget a jacket", u.id, 0)
        assert u.labels["intensity"] is None  # XX: unspecified
        assert u.video is not None and u.video == u.audio and u.video.sha256
    assert [p for p in found.problems if p.status != "note"] == []


def test_a_clip_is_what_its_name_says(tmp_path: Path, media: dict[str, Path]) -> None:
    found = scan(tree(tmp_path / "r", media, "1091_IEO_DIS_LO", "1001_ITH_NEU_XX", "1001_IEO_SAD_MD"))
    said = [(u.id, u.speaker, u.text, u.labels["emotion6"], u.labels["intensity"]) for u in found.utterances]
    assert said == [
        ("1001_IEO_SAD_MD", "1001", "It's eleven o'clock", "sad", "medium"),
        ("1001_ITH_NEU_XX", "1001", "I think I have a doctor's appointment", "neutral", None),
        ("1091_IEO_DIS_LO", "1091", "It's eleven o'clock", "disgust", "low"),
    ]
    assert [p for p in found.problems if p.status != "note"] == []


def test_the_counts_of_the_release_raise_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cremad, "inspect_media", lambda root, paths, progress: dict.fromkeys(paths, GOOD))
    stems = list(names())
    assert len(stems) == 91 * 82 - 20 == 7442 and all(map(is_clip, stems))
    for folder, suffix in (("VideoFlash", ".flv"), ("AudioWAV", ".wav")):
        (tmp_path / folder).mkdir()
        for stem in stems:
            (tmp_path / folder / (stem + suffix)).touch()
    columns = [
        [letter for vote, n in COUNTS[name].items() for letter in [_letter(vote)] * n]
        for name in ("perceived6_voice", "perceived6_face", "perceived6")
    ]
    rows = votes(*zip(stems, *columns, strict=True))
    put(tmp_path, "processedResults/summaryTable.csv", table(SUMMARY, rows))
    found = scan(tmp_path)
    assert told(found, "count_differs") == [] and told(found, "no_ratings") == []
    counts = found.summary()["all"]["labels"]
    assert counts["perceived6"] == {k: COUNTS["perceived6"][k] for k in counts["perceived6"]}
    assert list(counts["intensity"].values()) == [455, 455, 455]
    sizes = {name: [len(split[s]) for s in ("train", "dev", "test")] for name, split in found.splits.items()}
    assert sizes["avtca"] == [4410, 1475, 1557] and sum(sizes["actors"]) == 7442
    assert set(sizes) == {"actors", "avtca", *(f"actors/{k}" for k in range(1, 6))}
    actor = {u.id: u.speaker for u in found.utterances}
    for split in found.splits.values():
        of = [{actor[i] for i in ids} for ids in split.values()]
        assert sum(map(len, of)) == len(set().union(*of)) == 91
    write_manifest(found, tmp_path / "m.jsonl")
    (tmp_path / "VideoFlash" / f"{stems[0]}.flv").unlink()
    (tmp_path / "AudioWAV" / f"{stems[0]}.wav").unlink()
    assert told(scan(tmp_path), "count_differs") == [
        "1270 clips of anger, the release has 1271",
        "454 clips of low, the release has 455",
    ]


GOOD = MediaFacts("0" * 64, 1.0, 1.0, True, True)


def _letter(vote: str) -> str:
    return next(letter for letter, name in LETTERS.items() if name == vote) if vote != TIE else "A:D"


def test_raters_have_label_sets_of_their_own_and_a_tie_is_no_label(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    other = "1001_IEO_NEU_XX"
    root = tree(tmp_path / "r", media, ONE, other, "1040_ITH_SAD_X", "1001_IOM_NEU_XX")
    rows = votes((ONE, "D", "A", "A"), (other, "A:D", "F:N", "A:D:N"), ("1040_ITH_SAD_XX", "S", "N", "H"))
    put(root, "CREMA-D/processedResults/summaryTable.csv", table(SUMMARY, rows))
    found = scan(root)
    labels = {u.id: [u.labels[s] for s in ("emotion6", *COUNTS)] for u in found.utterances}
    assert labels[ONE] == ["anger", "anger", "disgust", "anger"]
    assert labels[other] == ["neutral", None, None, None]
    assert labels["1040_ITH_SAD_X"] == ["sad", "happy", "sad", "neutral"]
    assert found.label_sets["perceived6"] == found.label_sets["emotion6"]
    assert any("1 clip without a row" in d and "1001_IOM_NEU_XX" in d for d in told(found, "no_ratings"))
    assert list(found.sources) == ["CREMA-D/processedResults/summaryTable.csv"]
    assert any("perceived6: 0 neutral (1972)" in d for d in told(found, "count_differs"))


def test_without_the_summary_votes_are_counted_from_the_answers(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    root = tree(tmp_path / "r", media, ONE)

    def answer(query: int, emotion: str) -> tuple[object, ...]:
        start = (1, 7, 12, f"{emotion}_60", 1500, query, 0, 10, 3, 4, ONE)
        return (*start, 22, emotion, "60", "A", "HI", "80")

    answers = [(3, "A"), (3, "A"), (3, "D"), (1, "S"), (1, "N"), (2, "H"), (9, "A"), (2, "?")]
    put(root, "finishedResponses.csv", table(ANSWERS, (answer(*a) for a in answers)))
    found = scan(root)
    labels = only(found).labels
    assert [labels[s] for s in COUNTS] == ["anger", None, "happy"]
    assert told(found, "votes_counted") == ["finishedResponses.csv: 6 answers; there is no summaryTable.csv"]
    (left,) = told(found, "left_out")
    assert left.startswith("2 answers name no query type or emotion") and "line 8" in left


def test_without_a_table_there_are_no_labels_by_raters_and_that_is_told(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    found = scan(tree(tmp_path / "r", media, ONE))
    assert only(found).labels["perceived6"] is None and found.sources == {}
    assert len(told(found, "no_ratings")) == 1


def test_all_faults_of_the_raters_table_are_told_at_once(tmp_path: Path, media: dict[str, Path]) -> None:
    root = tree(tmp_path / "r", media, ONE)
    rows = [*votes((ONE, "A", "Q", "A"), (ONE, "A", "A", "A"), ("1002_IEO_ANG_HI", "", "A", "A")), (4, ONE)]
    put(root, "summaryTable.csv", table(SUMMARY, rows))
    text = refused(root)
    for part in (
        "line 2: unknown FaceVote 'Q'",
        "appears in two rows",
        "line 4: unknown VoiceVote ''",
        "line 5: 2 fi",
    ):
        assert part in text
    put(root, "summaryTable.csv", table(SUMMARY, []).replace("VoiceVote", "Voice"))
    assert "has no column VoiceVote (found: filename, voice" in refused(root)
    put(root, "summaryTable.csv", table(SUMMARY, []))
    assert "holds no row" in refused(root)
    put(root, "summaryTable.csv", table(SUMMARY, votes(("ü", "A", "A", "A"))).encode("latin-1"))
    assert "not UTF-8" in refused(root)


@pytest.mark.parametrize(("end", "mark"), [("\r\n", b""), ("\n", b"\xef\xbb\xbf")])
def test_line_ends_and_a_byte_order_mark_change_nothing(end: str, mark: bytes) -> None:
    content = mark + table(SUMMARY, votes((ONE, "D", "A", "H")), end).encode()
    assert read_ratings(content, "summaryTable.csv").labels(ONE) == {
        "perceived6": "happy",
        "perceived6_voice": "disgust",
        "perceived6_face": "anger",
    }


def test_a_hundred_thousand_answers_are_counted() -> None:
    rows = [["0"] * len(ANSWERS) for _ in range(100_000)]
    for n, row in enumerate(rows):
        row[5], row[10], row[12] = "123"[n % 3], f"{1001 + n % 91}_DFA_ANG_XX", "AAD"[n // 3 % 3]
    ratings = read_ratings(table(ANSWERS, rows).encode(), "finishedResponses.csv")
    assert ratings.findings == [] and set(ratings.votes["perceived6"].values()) == {"anger"}
    assert len(ratings.votes["perceived6_voice"]) == 91


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", *(f"{','.join(h)}\n".encode() for h in (SUMMARY, ANSWERS))]),
)
def test_any_bytes_give_votes_or_findings(content: bytes, header: bytes) -> None:
    for name in ("summaryTable.csv", "finishedResponses.csv"):
        found = read_ratings(header + content, name)
        assert found.findings or found.notes


def test_a_raters_table_that_may_not_be_opened_costs_its_labels_only(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    outside = (
        put(tmp_path, "summaryTable.csv", table(SUMMARY, votes((ONE, "A", "A", "A")))) / "summaryTable.csv"
    )
    root = tree(tmp_path / "r", media, ONE)
    (root / "summaryTable.csv").symlink_to(outside)
    found = scan(root)
    assert only(found).labels["perceived6"] is None and len(told(found, "outside_root")) == 1
    (root / "summaryTable.csv").unlink()
    assert told(scan(put(root, "summaryTable.csv", POINTER)), "git_lfs_pointer") != []


def test_the_data_stream_of_the_flv_is_neither_picture_nor_sound(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    with av.open(str(media[".flv"])) as container:
        assert [stream.type for stream in container.streams] == ["data", "audio", "video"]
    root = tree(tmp_path / "r", media, ONE)
    shutil.rmtree(root / "AudioWAV")
    found = scan(root)
    assert [p for p in found.problems if p.status != "note"] == [] and only(found).audio == only(found).video


def test_an_flv_without_sound_or_without_a_duration_is_no_loss_beside_its_wav(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    mute, endless = "1002_DFA_ANG_XX", "1064_TIE_SAD_XX"
    root = tree(tmp_path / "r", media, mute, endless)
    shutil.copy(media["mute"], root / "VideoFlash" / f"{mute}.flv")
    options = ("-c:v", "flv1", "-c:a", "libmp3lame", "-flvflags", "no_duration_filesize+no_metadata")
    made(root / "VideoFlash" / f"{endless}.flv", *PICTURE, *SOUND, *options)
    found = scan(root)
    assert [p for p in found.problems if p.status != "note"] == []
    (root / "AudioWAV" / f"{mute}.wav").unlink()
    assert {p.reason for p in scan(root).problems if p.utterance == mute} == {"sound_from_flv", "no_audio"}


DEFECTS = ("1064_IEO_DIS_MD", "1076_MTI_NEU_XX", "1076_MTI_SAD_XX")


@pytest.mark.parametrize("policy", ["missing", "keep", "drop"])
def test_clips_that_do_not_show_what_they_say_follow_the_policy(
    tmp_path: Path, media: dict[str, Path], policy: str
) -> None:
    root = tree(tmp_path / "r", media, *DEFECTS, ONE)
    found = scan(root, known_defects=policy)
    has = {u.id: (u.video is not None, u.audio is not None) for u in found.utterances}
    wanted = {
        "missing": {DEFECTS[0]: (False, True), DEFECTS[1]: (False, True), DEFECTS[2]: (False, False)},
        "keep": dict.fromkeys(DEFECTS, (True, True)),
        "drop": {},
    }[policy]
    assert has == {**wanted, ONE: (True, True)}
    assert len(told(found, "known_defect")) == (4 if policy == "missing" else 0)
    left = told(found, "left_out")
    assert [line.partition(":")[0] for line in left] == (list(DEFECTS) if policy == "drop" else [])
    assert scan(root) == scan(root, known_defects="missing")


@pytest.mark.parametrize("policy", ["keep", "drop"])
def test_utterances_without_any_readable_medium_follow_the_policy(
    tmp_path: Path, media: dict[str, Path], policy: str
) -> None:
    broken, half, deaf = "1001_DFA_ANG_XX", "1001_DFA_DIS_XX", "1001_DFA_SAD_XX"
    root = tree(tmp_path / "r", media, ONE, broken, half, deaf)
    for path in (f"VideoFlash/{broken}.flv", f"AudioWAV/{broken}.wav", f"VideoFlash/{half}.flv"):
        put(root, path, b"")
    put(root, f"VideoFlash/{deaf}.flv", b"no film")
    (root / "AudioWAV" / f"{deaf}.wav").unlink()
    found = scan(root, bad_clips=policy)
    kept = [broken, half, deaf, ONE] if policy == "keep" else [half, ONE]
    assert [u.id for u in found.utterances] == sorted(kept)
    left = [line.partition(":")[0] for line in told(found, "left_out")]
    assert left == ([] if policy == "keep" else [broken, deaf])
    assert scan(root) == scan(root, bad_clips="keep")


def test_an_unknown_policy_is_refused_with_those_there_are() -> None:
    (text,) = schema_errors(ENTRY.Switches, {"known_defects": "trim"})
    assert "'missing', 'keep' or 'drop'" in text


@pytest.mark.parametrize(
    ("flv", "wav"),
    [
        ("CREMA-D/VideoFlash", "CREMA-D/AudioWAV"),
        ("crema-d-master/data/VideoFlash", "crema-d-master/data/AudioWAV"),
        ("videoflash", "AUDIOWAV"),
        (".", "."),
        ("clips/1001", "sound/all"),
    ],
)
def test_clips_are_found_wherever_they_lie(
    tmp_path: Path, media: dict[str, Path], flv: str, wav: str
) -> None:
    u = only(scan(tree(tmp_path / "r", media, ONE, flv=flv, wav=wav)))
    assert u.video and u.audio and u.video.path == (Path(flv) / f"{ONE}.flv").as_posix()
    assert u.video.sha256 and u.audio.path == (Path(wav) / f"{ONE}.wav").as_posix()


def test_copies_elsewhere_do_not_replace_the_files_of_the_release(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    root = tree(tmp_path / "r", media, ONE, flv="a/b/VideoFlash", wav="a/b/AudioWAV")
    tree(root, media, ONE, flv="16k", wav="16k")
    found = scan(root)
    audio = only(found).audio
    assert audio and audio.path == f"a/b/AudioWAV/{ONE}.wav"
    (again,) = told(found, "repeated_file")
    assert again == (
        f"2 files are there again and left out: 2 with the same bytes (16k/{ONE}.flv, 16k/{ONE}.wav)"
    )


def test_names_in_another_case_are_the_same_names(tmp_path: Path, media: dict[str, Path]) -> None:
    root = tree(tmp_path / "r", media, ONE.lower())
    (root / "VideoFlash" / f"{ONE.lower()}.flv").rename(root / "VideoFlash" / f"{ONE}.FLV")
    u = only(scan(root))
    assert u.id == ONE and u.video and u.video.path.endswith(".FLV") and u.audio


def test_litter_strangers_and_mp3_are_no_clips(tmp_path: Path, media: dict[str, Path]) -> None:
    root = tree(
        tmp_path / "r", media, ONE, f"._{ONE}", "1092_IEO_ANG_HI", "1001_XYZ_ANG_HI", "1001_IEO_ANG_UP"
    )
    put(root, f"AudioMP3/{ONE}.mp3", b"ID3")
    put(root, f"__MACOSX/VideoFlash/{DEFECTS[0]}.flv", b"x")
    found = scan(root)
    assert only(found).id == ONE
    (line,) = told(found, "not_a_clip_name")
    assert line.startswith("6 files") and "1092_IEO_ANG_HI" in line and "._" not in line


@pytest.mark.parametrize(("left", "lacks"), [("AudioWAV", "video"), ("VideoFlash", "audio")])
def test_half_a_corpus_scans_and_says_what_it_lacks(
    tmp_path: Path, media: dict[str, Path], left: str, lacks: str
) -> None:
    root = tree(tmp_path / "r", media, ONE)
    shutil.rmtree(root / ("VideoFlash" if lacks == "video" else "AudioWAV"))
    put(root, "CREMA-D.zip", b"PK")
    found = scan(root)
    u = only(found)
    assert (u.video is None) == (lacks == "video") and u.audio is not None
    reasons = {p.reason for p in found.problems}
    assert reasons >= ({"not_in_corpus", "archives"} if lacks == "video" else {"sound_from_flv", "archives"})
    assert told(found, "archives") == ["is everything in them unpacked? CREMA-D.zip"]


def test_a_tree_without_clips_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    root = put(tmp_path / "r", "AudioWAV.zip", b"PK")
    text = refused(root)
    assert "unpack AudioWAV.zip there first" in text and "found: AudioWAV.zip" in text and "Git LFS" in text
    (tmp_path / "empty").mkdir()
    assert "1001_DFA_ANG_XX.flv" in refused(tmp_path / "empty")
    assert "not a folder" in refused(tmp_path / "nowhere")


def test_pointers_of_git_lfs_are_named_one_by_one_or_refused_as_a_whole(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    root = tree(tmp_path / "r", media, ONE)
    put(root, f"VideoFlash/{ONE}.flv", POINTER)
    found = scan(root)
    assert told(found, "git_lfs_pointer") == [f"VideoFlash/{ONE}.flv"] and only(found).audio
    put(root, f"AudioWAV/{ONE}.wav", POINTER)
    assert "git lfs pull" in refused(root)


def test_links_out_of_the_root_are_not_followed(tmp_path: Path, media: dict[str, Path]) -> None:
    root = tree(tmp_path / "r", media, ONE)
    (root / "VideoFlash" / f"{ONE}.flv").unlink()
    (root / "VideoFlash" / f"{ONE}.flv").symlink_to(media[".flv"])
    (root / "more").symlink_to(media[".flv"].parent)
    found = scan(root)
    assert {p.utterance for p in found.problems if p.reason == "outside_root"} == {ONE}
    video: Any = only(found).video
    assert video.sha256 is None


def test_wavs_with_the_bytes_of_another_label_are_doubted(tmp_path: Path, media: dict[str, Path]) -> None:
    found = scan(tree(tmp_path / "r", media, "1017_IWW_ANG_XX", "1017_IWW_FEA_XX", ONE))
    assert told(found, "doubtful_label") == [
        "its wav has the same bytes as 1017_IWW_FEA_XX",
        "its wav has the same bytes as 1017_IWW_ANG_XX",
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10])
def test_few_actors_have_the_splits_that_they_allow(
    tmp_path: Path, media: dict[str, Path], count: int
) -> None:
    found = scan(tree(tmp_path / "r", media, *(f"{1001 + n}_DFA_ANG_XX" for n in range(count))))
    named = {"actors", "avtca"} if count >= 3 else set()
    folds = {f"actors/{k}" for k in range(1, 6)} if count >= 5 else set()
    assert set(found.splits) == named | folds
    for split in found.splits.values():
        assert all(split.values()) and len({i for ids in split.values() for i in ids}) == count


@given(st.text(max_size=16))
def test_any_name_is_judged(name: str) -> None:
    assert not is_clip(name) or len(name) in (14, 15)

"""RAVDESS: a performance is one utterance whatever media it has, and every deviation of a name is told."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ercache.errors import CorpusError
from ercache.manifest import Manifest, write_manifest
from extract.corpora import CORPORA
from extract.corpora.common import inspect_media as inspect_module
from extract.corpora.ravdess.names import faults_of

pytestmark = pytest.mark.usefixtures("scanned_here")

ENTRY = CORPORA["ravdess"]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each medium: 01 picture and sound, 02 picture, 03 sound."""
    folder = tmp_path_factory.mktemp("media")
    picture = ("-f", "lavfi", "-i", "testsrc=s=32x32:r=10:d=0.5")
    sound = ("-f", "lavfi", "-i", "sine=r=48000:d=0.5")
    made = {"01": (*picture, *sound), "02": picture, "03": sound}
    files = {m: folder / (m + (".wav" if m == "03" else ".mp4")) for m in made}
    for medium, sources in made.items():
        subprocess.run(
            [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *sources, str(files[medium])], check=True
        )
    return files


def names(actors: Iterable[int], media: Iterable[str] = ("01",)) -> Iterator[str]:
    """All names of the release for some actors and media."""
    for actor in actors:
        for channel, emotions in (("01", range(1, 9)), ("02", range(1, 7))):
            if channel == "02" and actor == 18:
                continue
            for emotion in emotions:
                for intensity in (1,) if emotion == 1 else (1, 2):
                    for rest in ("01-01", "01-02", "02-01", "02-02"):
                        for medium in media:
                            yield f"{medium}-{channel}-{emotion:02d}-{intensity:02d}-{rest}-{actor:02d}"


def corpus(root: Path, media: dict[str, Path], stems: Iterable[str], folder: str = "Actor_{actor}") -> Path:
    for stem in stems:
        place = root / folder.format(actor=stem[-2:])
        place.mkdir(parents=True, exist_ok=True)
        source = media[stem[:2]]
        shutil.copy(source, place / (stem + source.suffix))
    return root


def scan(root: Path, **switches: str) -> Manifest:
    return ENTRY.scan(root, ENTRY.Switches(**switches))


def told(manifest: Manifest, reason: str) -> list[str]:
    return [p.detail for p in manifest.problems if p.reason == reason]


def test_the_names_of_the_release_are_all_good_and_give_its_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = list(names(range(1, 25), ("01", "02", "03")))
    assert len(listed) == 7356
    assert all(faults_of(n + (".wav" if n[:2] == "03" else ".mp4")) == [] for n in listed)
    for name in listed:
        place = tmp_path / "r" / f"Actor_{name[-2:]}"
        place.mkdir(parents=True, exist_ok=True)
        (place / (name + (".wav" if name[:2] == "03" else ".mp4"))).touch()
    monkeypatch.setattr(
        "extract.corpora.ravdess.scan.inspect_media",
        lambda root, paths, progress: {
            p: inspect_module.MediaFacts("ab", 1.0, 1.0, p[-1] == "4", True) for p in paths
        },
    )
    found = scan(tmp_path / "r")
    assert len(found.utterances) == 2452 and found.problems == ()
    count = Counter((u.labels["channel"], u.labels["emotion8"]) for u in found.utterances)
    assert count["speech", "neutral"] == 96 and count["song", "neutral"] == 92
    assert {count["speech", e] for e in ("calm", "happy", "disgust", "surprised")} == {192}
    assert {count["song", e] for e in ("calm", "sad", "fearful")} == {184} and len(count) == 14
    assert found.summary()["all"]["labels"]["emotion7"]["neutral"] == 96 + 192 + 92 + 184
    assert found.summary()["all"]["labels"]["emotion6"] == {
        "anger": 376, "disgust": 192, "fear": 376, "happy": 376, "neutral": 188, "sad": 376,
    }  # fmt: skip
    speech = scan(tmp_path / "r", channel="speech")
    assert len(speech.utterances) == 1440 and told(speech, "left_out") == ["1012 performances are not speech"]
    sizes = {name: [len(ids) for ids in split.values()] for name, split in speech.splits.items()}
    assert sizes["avtca"] == [960, 240, 240] and sizes["actors"] == [1200, 120, 120]
    assert "avtca_speech" in sizes  # the name of a paper's split does not depend on what else was unpacked
    assert all(size == sizes[name.removesuffix("_speech")] for name, size in sizes.items())
    assert {n for n in found.splits if "_speech" in n} >= {"avtca_speech", "actors_speech/5"}
    assert [len(i) for i in found.splits["avtca_speech"].values()] == [960, 240, 240]
    for split in found.splits.values():
        actors = [{i[-2:] for i in ids} for ids in split.values()]
        assert sum(map(len, actors)) == len(set.union(*actors)) == 24
    write_manifest(found, tmp_path / "m.jsonl")


def test_picture_and_sound_are_those_of_the_twins(tmp_path: Path, media: dict[str, Path]) -> None:
    take = "01-03-02-01-02-05"
    stems = [f"{m}-{take}" for m in media] + [f"02-{take[:-1]}6", f"03-{take[:-1]}6", f"01-{take[:-1]}7"]
    full, silent, alone = scan(corpus(tmp_path / "r", media, stems)).utterances
    assert full.id == full.dialogue == take and full.speaker == "05" and full.index == 0
    assert full.text == "Kids are talking by the door."
    paths = [(u.video and u.video.path, u.audio and u.audio.path) for u in (full, silent, alone)]
    assert paths == [
        (f"Actor_05/01-{take}.mp4", f"Actor_05/03-{take}.wav"),
        (f"Actor_06/02-{take[:-1]}6.mp4", f"Actor_06/03-{take[:-1]}6.wav"),
        (f"Actor_07/01-{take[:-1]}7.mp4", f"Actor_07/01-{take[:-1]}7.mp4"),
    ]
    found = scan(tmp_path / "r")
    assert [p.utterance for p in found.problems if p.reason == "picture_from_02"] == [silent.id]
    assert [p.utterance for p in found.problems if p.reason == "sound_from_01"] == [alone.id]
    assert dict(full.labels) == {
        "emotion8": "happy", "emotion7": "happy", "emotion6": "happy", "intensity": "strong", "channel": "speech",
    }  # fmt: skip
    assert [p for p in found.problems if p.utterance == full.id] == []


def test_calm_and_surprise_have_no_label_where_the_set_has_none(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    found = scan(corpus(tmp_path, media, ["01-02-02-01-02-01-01", "01-01-08-01-02-01-01"]))
    labels = {u.labels["emotion8"]: (u.labels["emotion7"], u.labels["emotion6"]) for u in found.utterances}
    assert labels == {"calm": ("neutral", None), "surprised": ("surprised", None)}


def test_what_lacks_a_medium_that_others_have_is_told(tmp_path: Path, media: dict[str, Path]) -> None:
    found = scan(corpus(tmp_path, media, ["03-01-01-01-01-01-01", "01-01-01-01-01-02-01"]))
    sound, _ = found.utterances
    assert (
        sound.video and sound.video.path == "Actor_01/01-01-01-01-01-01-01.mp4" and sound.video.sha256 is None
    )
    assert [(p.utterance, p.reason) for p in found.problems if p.status == "missing" and p.utterance] == [
        (sound.id, "absent")
    ]
    only = scan(corpus(tmp_path / "only", media, ["02-01-01-01-01-01-01"]))
    assert only.utterances[0].audio is None and only.utterances[0].video
    assert told(only, "not_in_corpus") == ["there is no song"]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("01-01-09-01-01-01-01.mp4", "emotion 09 is not 01 to 08"),
        ("04-03-09-01-01-01-25.mp4", "medium 04 is not 01 to 03"),
        ("01-01-01-01-01-01-00.mp4", "actor 00 is not 01 to 24"),
        ("01-01-01-01-03-01-01.mp4", "statement 03 is not 01 to 02"),
        ("01-01-03-01-01-03-01.mp4", "repetition 03 is not 01 to 02"),
        ("01-01-01-02-01-01-01.mp4", "neutral is never strong"),
        ("01-02-07-01-01-01-01.mp4", "disgust is never sung"),
        ("01-02-03-01-01-01-18.mp4", "actor 18 does not sing"),
        ("03-01-03-01-01-01-01.mp4", "medium 03 is a .wav file"),
        ("01-01-03-01-01-01-01.wav", "medium 01 is a .mp4 file"),
        ("01-01-03-01-01-01.mp4", "is not seven fields"),
        ("01-01-03-01-01-01-01 (1).mp4", "is not seven fields"),
        ("٠١-01-03-01-01-01-01.mp4", "is not seven fields"),
        ("holiday.mp4", "is not seven fields"),
    ],
)
def test_every_deviation_of_a_name_is_told(
    tmp_path: Path, media: dict[str, Path], name: str, fault: str
) -> None:
    assert any(fault in told for told in faults_of(name))
    root = corpus(tmp_path, media, ["01-01-03-01-01-01-01"])
    (root / "Actor_01" / "x").mkdir()
    (root / "Actor_01" / "x" / name).touch()
    found = scan(root)
    assert any(fault in detail and name in detail for detail in told(found, "not_a_clip_name"))
    assert len(found.utterances) == 1


def test_all_deviations_of_a_name_are_told_together() -> None:
    assert len(faults_of("04-03-09-03-03-03-25.mp4")) == 7


@given(st.text(max_size=30))
def test_any_name_is_judged(name: str) -> None:
    assert faults_of(name) != []


@pytest.mark.parametrize("folder", ["", "RAVDESS/Video_Speech_Actor_{actor}/Actor_{actor}", "ACTOR{actor}"])
def test_files_are_known_by_their_names_wherever_they_lie(
    tmp_path: Path, media: dict[str, Path], folder: str
) -> None:
    root = corpus(tmp_path / "r", media, ["01-01-03-01-01-01-01", "03-01-03-01-01-01-01"], folder)
    (u,) = scan(root).utterances
    assert u.video and u.audio and u.video.sha256 and u.audio.path.endswith("03-01-03-01-01-01-01.wav")


def test_mirrors_that_hold_everything_twice_give_each_performance_once(
    tmp_path: Path, media: dict[str, Path]
) -> None:
    root = corpus(tmp_path, media, ["01-01-03-01-01-01-01"])
    shutil.copytree(root / "Actor_01", root / "all" / "Actor_01")
    shutil.copytree(root / "Actor_01", root / "all" / "Actor_02")
    for litter in ("._01-01-03-01-01-01-01.mp4", ".DS_Store"):
        (root / "Actor_01" / litter).touch()
    (root / "Video_Song_Actor_01.zip").touch()
    found = scan(root)
    (u,) = found.utterances
    assert u.video and u.video.path == "Actor_01/01-01-03-01-01-01-01.mp4"
    (again,) = told(found, "repeated_file")
    assert again.startswith("2 files are there again and left out: 2 with the same bytes")
    assert told(found, "other_folder")[0].startswith("1 file in the folder of another actor: all/Actor_02/")
    assert told(found, "archives") == ["1 archive perhaps not unpacked yet: Video_Song_Actor_01.zip"]


def test_upper_case_suffixes_are_read(tmp_path: Path, media: dict[str, Path]) -> None:
    shutil.copy(media["01"], tmp_path / "01-01-03-01-01-01-01.MP4")
    assert scan(tmp_path).utterances[0].video


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "Zenodo"),
        ({"Video_Speech_Actor_01.zip": ""}, "unpack Video_Speech_Actor_01.zip there first"),
        ({"holiday.jpg": ""}, "found: holiday.jpg"),
        ({"01-01-03-01-01-01-01.mp4": "version https://git-lfs.github.com/spec/v1\n"}, "Git LFS pointers"),
    ],
)
def test_a_folder_without_the_corpus_says_what_to_do(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    root = tmp_path / "r"
    root.mkdir()
    for name, content in files.items():
        (root / name).write_text(content)
    with pytest.raises(CorpusError, match="ravdess") as caught:
        scan(root)
    assert said in str(caught.value)


def test_bad_files_keep_their_performances(tmp_path: Path, media: dict[str, Path]) -> None:
    root = corpus(tmp_path / "r", media, ["01-01-03-01-01-01-01", "01-01-03-01-01-02-01"])
    (root / "Actor_01" / "01-01-03-01-01-01-01.mp4").write_bytes(b"no film")
    link = root / "Actor_01" / "01-01-03-01-02-02-01.mp4"
    link.symlink_to(media["01"])
    found = scan(root)
    assert len(found.utterances) == 3
    assert sorted(p.reason for p in found.problems if p.status == "missing" and p.utterance) == [
        "outside_root",
        "unreadable",
    ]

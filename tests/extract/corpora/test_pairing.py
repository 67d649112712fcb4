"""Transcripts and their recordings: names that people and programs give are paired, and what is in doubt is told."""

import pytest

from extract.corpora.folder.pairing import Pairing


@pytest.mark.parametrize(
    "name",
    [
        *(
            "talk.srt",
            "talk.mp4.srt",
            "talk.mp3.srt",
            "talk.wav.vtt",
            "talk.en.srt",
            "talk.pt-BR.vtt",
            "talk.zh_TW.srt",
        ),
        *(
            "talk.transcript.vtt",
            "talk.en.forced.srt",
            "talk.en-zh-Hans.vtt",
            "talk.en-orig.vtt",
            "talk.en-nP7-2PuUl7o.vtt",
        ),
        *(
            "talk.en.sdh.srt",
            "talk.EN.CC.srt",
            "talk.mp4.en.vtt",
            "talk.english.srt",
            "talk.csv",
            "Talk.srt",
            "TALK.en.SRT",
        ),
    ],
)
def test_a_transcript_is_paired_by_its_name(name: str) -> None:
    pair = Pairing(["talk.mp4"]).find(name)
    assert pair is not None and (pair.stem, pair.video, pair.audio) == ("talk", "talk.mp4", "talk.mp4")


@pytest.mark.parametrize(
    "name", ["talk2.srt", "talk.part2.srt", "a/talk.srt", "tal.srt", ".en.srt", "en.srt", "talk.2.srt", "srt"]
)
def test_a_transcript_of_another_name_is_not_paired(name: str) -> None:
    assert Pairing(["talk.mp4"]).find(name) is None


def test_the_longest_name_of_a_recording_counts() -> None:
    pairing = Pairing(["talk.mp4", "talk.en.mp4", "talk.mp3.wav"])
    stems = {
        name: pair.stem
        for name in ("talk.en.srt", "talk.de.srt", "talk.mp3.srt")
        if (pair := pairing.find(name))
    }
    assert stems == {"talk.en.srt": "talk.en", "talk.de.srt": "talk", "talk.mp3.srt": "talk.mp3"}


def test_a_recording_in_another_case_or_form_is_found_and_told() -> None:
    pair = Pairing(["Talk.MP4", "Zoe\u0308.wav"]).find("talk.srt")
    assert pair is not None and pair.video == "Talk.MP4"
    assert pair.notes == (("other_case", "talk.srt: its recording was found as Talk.MP4"),)
    to_nfc = Pairing(["Talk.MP4", "Zoe\u0308.wav"]).find("Zo\xeb.en.srt")
    assert to_nfc is not None and (to_nfc.video, to_nfc.audio) == (None, "Zoe\u0308.wav")


def test_the_exact_case_counts_and_others_alone_are_in_doubt() -> None:
    pairing = Pairing(["Talk.mp4", "talk.mp4", "TALK.mkv"])
    exact = pairing.find("talk.srt")
    assert exact is not None and exact.video == "talk.mp4" and exact.notes == ()
    with pytest.raises(ValueError, match=r"tALK.srt: fits Talk or talk or TALK; name it exactly"):
        pairing.find("tALK.srt")
    assert pairing.has_recording("tALK.srt") and not pairing.has_recording("x.srt")


def test_pictures_and_sound_of_one_name_are_one_recording() -> None:
    pair = Pairing(["talk.mp4", "talk.wav"]).find("talk.srt")
    assert pair is not None and (pair.video, pair.audio, pair.notes) == ("talk.mp4", "talk.wav", ())


def test_a_file_that_is_named_with_its_suffix_comes_first_and_which_one_is_told() -> None:
    pairing = Pairing(["talk.mkv", "talk.mp3", "talk.mp4", "talk.wav"])
    by_stem, by_sound, by_film = (pairing.find(f"talk{end}.srt") for end in ("", ".wav", ".mp4"))
    assert by_stem and (by_stem.video, by_stem.audio) == ("talk.mkv", "talk.mp3")
    assert by_stem.notes == (
        ("recording_chosen", "talk.srt: read with talk.mkv and talk.mp3, not with talk.mp4, talk.wav"),
    )
    assert by_sound and (by_sound.video, by_sound.audio) == ("talk.mkv", "talk.wav")
    assert by_film and (by_film.video, by_film.audio) == ("talk.mp4", "talk.mp4")
    assert by_film.notes[0][1] == "talk.mp4.srt: read with talk.mp4, not with talk.mkv, talk.mp3, talk.wav"


def test_of_several_transcripts_the_nearest_name_is_chosen_and_the_others_told() -> None:
    pairs, faults = Pairing(["talk.mp4"]).choose(["talk.en.srt", "talk.srt", "talk.de.srt", "gone.srt"])
    assert [(pair.transcript, pair.stem) for pair in pairs] == [("talk.srt", "talk"), ("gone.srt", "gone")]
    assert pairs[0].notes == (
        ("transcript_not_used", "talk.srt is nearer in name: talk.en.srt, talk.de.srt"),
    )
    assert faults == []


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["talk.srt", "talk.vtt"], "talk.srt, talk.vtt: several transcripts of one recording; keep one"),
        (
            ["talk.de.srt", "talk.en.srt"],
            "several transcripts of one recording; keep one, or name it talk with its",
        ),
        (["gone.srt", "gone.csv"], "gone.srt, gone.csv: several transcripts"),
    ],
)
def test_of_equally_near_transcripts_none_is_chosen(names: list[str], told: str) -> None:
    pairs, faults = Pairing(["talk.mp4"]).choose(names)
    assert pairs == [] and len(faults) == 1 and told in faults[0]

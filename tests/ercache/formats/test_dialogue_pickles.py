"""The pickles of conversations (DialogueRNN, MMGCN, MM-DFN, COSMIC) become caches of the right utterances."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from ercache.errors import UsageError
from ercache.manifest import Utterance
from extract.corpora import CORPORA
from tests.support.exchange_files import (
    EMOTIONS,
    brought,
    iemocap,
    iemocap_tuple,
    meld,
    meld_tuple,
    python_2,
    values,
    vectors,
)

MELD = Path(__file__).parents[4] / "shared" / "meld"


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_meld_tuples_are_matched_by_numbers_that_count_through_all_parts(
    tmp_path: Path, protocol: int
) -> None:
    manifest, path = meld(), tmp_path / "MELD_features_raw1.pkl"
    path.write_bytes(pickle.dumps(meld_tuple(manifest, "mmgcn"), protocol))
    packed = brought(path, "mm-dfn", manifest, tmp_path)
    assert packed.features == [f"meld_features_raw1_{m}" for m in ("text", "audio", "visual")]
    assert packed.utterances == 8 and len(packed.files) == 9
    assert (tmp_path / "caches/meld/audio/meld_features_raw1_audio.dev.h5").is_file()
    expected = {u: [v.tolist()] for u, v in vectors(manifest, 4).items()}
    assert values(packed, "meld_features_raw1_visual") == expected
    assert any("8 compared with emotion7, all are equal" in note for note in packed.notes)


def test_the_meld_tuple_without_visual_features_is_recognised_by_its_sentences(tmp_path: Path) -> None:
    path = tmp_path / "f.pkl"
    path.write_bytes(pickle.dumps(meld_tuple(meld(), "dialoguernn")))
    assert brought(path, "dialoguernn", meld(), tmp_path).features == ["f_text", "f_audio"]


def test_iemocap_of_python_2_is_matched_by_names_and_absent_utterances_are_missing(tmp_path: Path) -> None:
    manifest, path = iemocap(), tmp_path / "IEMOCAP_features.pkl"
    path.write_bytes(b"\x80\x02" + python_2(iemocap_tuple(manifest)) + b".")
    packed = brought(path, "mmgcn", manifest, tmp_path, name="mmgcn")
    found = values(packed, "mmgcn_text")
    assert packed.features == ["mmgcn_text", "mmgcn_audio", "mmgcn_visual"] and packed.utterances == 5
    assert found["Ses01F_impro01_F002"] == ["missing", "absent"]
    assert found["Ses01F_impro01_M001"] == [vectors(manifest, 3)["Ses01F_impro01_M001"].tolist()]


def test_cosmic_is_matched_by_sentence_speaker_and_label(tmp_path: Path) -> None:
    manifest, path = iemocap(), tmp_path / "iemocap_features_roberta.pkl"
    _, speakers, labels, layer, *_, sentences, train, test = iemocap_tuple(manifest)
    path.write_bytes(
        pickle.dumps([speakers, labels, *[layer] * 4, sentences, list(train), list(test), []], 2)
    )
    packed = brought(path, "cosmic", manifest, tmp_path)
    assert packed.features == [f"iemocap_features_roberta_roberta{n}" for n in range(1, 5)]
    found = values(packed, packed.features[0])
    expected = {u: [v.tolist()] for u, v in vectors(manifest, 3).items()}
    for left_out in ("F001", "F002"):
        expected[f"Ses01F_impro01_{left_out}"] = ["missing", "absent"]
    assert found == expected


def test_an_ambiguous_line_of_cosmic_is_left_out_and_reported(tmp_path: Path) -> None:
    manifest, path = iemocap(), tmp_path / "f.pkl"
    d, row = "Ses01F_impro01", np.ones(2, "f4")
    layer = {d: [row, row]}
    content = [{d: ["F", "M"]}, {d: [5, 3]}, *[layer] * 4, {d: ["Yeah.", "Go away."]}, [d], [], []]
    path.write_bytes(pickle.dumps(content))
    packed = brought(path, "cosmic", manifest, tmp_path)
    assert packed.utterances == 1 and any("1 row left out" in note for note in packed.notes)


def test_cosmic_meld_is_matched_by_numbers_and_order(tmp_path: Path) -> None:
    manifest, path = meld(), tmp_path / "meld_features_roberta.pkl"
    _, speakers, labels, layer, _, _, sentences, train, test, _ = meld_tuple(manifest, "mmgcn")
    path.write_bytes(pickle.dumps([speakers, labels, labels, *[layer] * 4, sentences, train, test, [3]], 4))
    packed = brought(path, "cosmic", manifest, tmp_path, name="cosmic")
    assert values(packed, "cosmic_roberta4") == {u: [v.tolist()] for u, v in vectors(manifest, 3).items()}


@pytest.mark.skipif(not MELD.is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")
def test_dialogue_numbers_of_real_meld_continue_at_1039_and_1153(tmp_path: Path) -> None:
    entry = CORPORA["meld"]
    manifest = entry.scan(MELD, entry.Switches())
    first = {"train": 0, "dev": 1039, "test": 1153}
    of: dict[int, list[tuple[int, int, Utterance]]] = {}
    for n, u in enumerate(manifest.utterances):
        dialogue, utterance = u.id.split("_dia")[1].split("_utt")
        of.setdefault(first[u.part] + int(dialogue), []).append((n, int(utterance), u))
    texts = {d: [np.array([n, n + 0.5], "f4") for n, _, _ in rows] for d, rows in of.items()}
    content = ({d: [str(i) for _, i, _ in rows] for d, rows in of.items()}, {},
               {d: [EMOTIONS.index(u.labels["emotion7"] or "") for *_, u in rows] for d, rows in of.items()},
               texts, texts, texts, {d: [u.text for *_, u in rows] for d, rows in of.items()}, [], [], {})  # fmt: skip
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(content, 2))
    packed = brought(tmp_path / "f.pkl", "mmgcn", manifest, tmp_path)
    assert packed.utterances == 13708 and 60 not in of and max(of) == 1432
    found = values(packed, "f_text")
    assert [found[u.id] for u in manifest.utterances] == [[[n, n + 0.5]] for n in range(13708)]
    assert any("13708 compared with emotion7, all are equal" in note for note in packed.notes)


def test_sentences_of_other_utterances_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    content = list(meld_tuple(meld(), "mmgcn"))
    content[6] = {d: [f"other {d} {i}" for i in range(len(rows))] for d, rows in content[6].items()}
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(tuple(content)))
    with pytest.raises(UsageError, match="0% of its sentences") as caught:
        brought(tmp_path / "f.pkl", "mmgcn", meld(), tmp_path)
    assert "other 0 0" in caught.value.details[0] and not (tmp_path / "caches").exists()


def test_different_labels_are_reported_and_those_of_the_manifest_kept(tmp_path: Path) -> None:
    content = list(meld_tuple(meld(), "mmgcn"))
    content[2] = {d: [(label + 1) % 7 for label in rows] for d, rows in content[2].items()}
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(tuple(content)))
    packed = brought(tmp_path / "f.pkl", "mmgcn", meld(), tmp_path)
    assert any("8 of 8 differ from emotion7" in note for note in packed.notes)


def test_an_error_in_the_last_feature_leaves_no_file_of_the_first(tmp_path: Path) -> None:
    content = list(meld_tuple(meld(), "mmgcn"))
    content[5][4] = [np.zeros(9)]
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(tuple(content)))
    with pytest.raises(UsageError, match="different shapes"):
        brought(tmp_path / "f.pkl", "mmgcn", meld(), tmp_path)
    content[5][4] = []
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(tuple(content)))
    with pytest.raises(UsageError, match="fewer rows of the feature"):
        brought(tmp_path / "f.pkl", "mmgcn", meld(), tmp_path)
    assert not (tmp_path / "caches").exists()


def test_zeros_are_kept_and_reported_and_types_of_rows_may_differ(tmp_path: Path) -> None:
    content = list(meld_tuple(meld(), "mmgcn"))
    content[3][0] = [np.zeros(3), [0.1, 0.2, 0.3]]
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(tuple(content)))
    packed = brought(tmp_path / "f.pkl", "mmgcn", meld(), tmp_path)
    found = values(packed, "f_text")
    assert found["train_dia0_utt0"] == [[0, 0, 0]] and found["train_dia0_utt1"] == [[0.1, 0.2, 0.3]]
    assert found["dev_dia0_utt0"] == [vectors(meld(), 3)["dev_dia0_utt0"].astype("f8").tolist()]
    assert any("only zeros" in note and "train_dia0_utt0" in note for note in packed.notes)

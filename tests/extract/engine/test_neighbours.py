"""An encoder that asks for neighbours gets those of the same dialogue, and its feature changes when they do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from ercache.cache import CacheFile
from ercache.digests import digest_of_file
from ercache.manifest import Manifest, MediaRef, Utterance
from ercache.params.schema import EngineParams
from extract.engine import Feature, extract_corpus
from extract.engine.extraction import Extraction
from tests.support.toy_turns import hears, reads

ENGINE = EngineParams(text_shard=2, shard=2, lanes=1)


def manifest(*turns: tuple[str, str, str], sounds: dict[str, MediaRef] | None = None) -> Manifest:
    """Utterances of (dialogue, speaker, text), with ids u0, u1, ..."""
    ranks: dict[str, int] = {}
    rows = []
    for n, (dialogue, speaker, text) in enumerate(turns):
        rank = ranks[dialogue] = ranks.get(dialogue, -1) + 1
        audio = (sounds or {}).get(f"u{n}")
        rows.append(Utterance(f"u{n}", dialogue, rank, speaker, text, None, audio, {}, "train"))
    return Manifest("toy", "1", {}, {}, tuple(rows))


TALK = manifest(("a", "Ann", "one"), ("a", "Bob", "two"), ("a", "Ann", "three"), ("b", "Cid", "one"))


def extract(folder: Path, of: Manifest, feature: Feature, root: Path | None = None) -> Extraction:
    return extract_corpus(of, [feature], ENGINE, store=folder / "store", out=folder / "caches", root=root)


def told(result: Extraction, utterance: str) -> str:
    with CacheFile(result.files[0]) as cache:
        return cache[utterance]["bytes"].tobytes().decode()


def test_neighbours_come_from_the_same_dialogue_also_across_shards(tmp_path: Path) -> None:
    result = extract(tmp_path, TALK, reads())
    assert told(result, "u0") == "Ann:one|Bob:two"
    assert told(result, "u1") == "Ann:one|Bob:two|Ann:three"
    assert told(result, "u3") == "Cid:one"


def test_equal_texts_in_other_company_are_other_units(tmp_path: Path) -> None:
    assert extract(tmp_path, TALK, reads()).done == 4
    alone = extract(tmp_path, TALK, replace(reads(past=0, future=0, speaker=False), name="alone"))
    assert alone.done == 3


def test_a_changed_neighbour_recomputes_those_who_hear_it_and_no_others(tmp_path: Path) -> None:
    extract(tmp_path, TALK, reads())
    changed = manifest(("a", "Ann", "one"), ("a", "Bob", "two"), ("a", "Ann", "THREE"), ("b", "Cid", "one"))
    result = extract(tmp_path, changed, reads())
    assert (result.done, result.reused) == (2, 2) and told(result, "u1").endswith("THREE")


def test_the_cache_says_how_far_the_feature_sees_and_of_what_it_was_made(tmp_path: Path) -> None:
    result = extract(tmp_path, TALK, reads(future=0))
    with CacheFile(result.files[0]) as cache:
        context = cache.provenance["context"]
        assert context == {"past": 1, "future": 0, "speaker": True}
        records = cache.provenance["records"]
    renamed = manifest(("a", "Ann", "one"), ("a", "Eve", "two"), ("a", "Ann", "three"), ("b", "Cid", "one"))
    assert records == TALK.records_digest("text", "train", context)
    assert records != renamed.records_digest("text", "train", context)
    assert TALK.records_digest("text", "train") == renamed.records_digest("text", "train")


def test_sounds_of_neighbours_are_read_and_a_missing_one_is_none(tmp_path: Path) -> None:
    refs = {}
    for n, seconds in enumerate((1.0, 0.5, 0.25)):
        path = tmp_path / f"{n}.wav"
        soundfile.write(path, 0.1 * np.ones(int(8000 * seconds)), 8000)
        refs[f"u{n}"] = MediaRef(path.name, sha256=digest_of_file(path))
    gone = {**refs, "u1": MediaRef("gone.wav")}
    for sounds, lengths in ((refs, [8000, 4000, 2000]), (gone, [8000, -1, 2000])):
        talk = manifest(*[("a", "Ann", "x")] * 3, sounds=sounds)
        result = extract(tmp_path, talk, hears(), tmp_path)
        with CacheFile(result.files[0]) as cache:
            assert cache["u2"]["lengths"][:, 0].tolist() == lengths
            assert cache["u0"]["lengths"][:, 0].tolist() == [8000]

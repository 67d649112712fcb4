"""What an earlier reader made of media is never taken for what this one makes of them."""

from pathlib import Path

import pytest

from ercache.manifest import Manifest, MediaRef, Utterance
from ercache.params.schema import EngineParams
from extract.engine import plan
from extract.engine.plan import make_plan
from tests.support.toy_letters import Letters, Loud, letters

SOUND = MediaRef("a.wav", sha256="0" * 64)
MANIFEST = Manifest("toy", "1", {}, {}, (Utterance("u0", "d", 0, "Ann", "a", None, SOUND, {}, "train"),))


def key(folder: Path, kind: type[Letters]) -> object:
    feature = letters(folder, kind=kind)
    return make_plan(MANIFEST, MANIFEST.utterances, [feature], EngineParams()).keys["letters"]["u0"]


def test_media_are_read_again_after_a_change_of_the_reader_and_texts_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, text = key(tmp_path, Loud), key(tmp_path, Letters)
    monkeypatch.setattr(plan, "VERSION", plan.VERSION + 1)
    assert key(tmp_path, Loud) != sound and key(tmp_path, Letters) == text

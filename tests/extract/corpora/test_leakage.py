"""What the splits of every corpus promise never to have in two subsets: dialogues, speakers, takes."""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Final

import pytest

from ercache.manifest import Manifest, Utterance
from extract.corpora import CORPORA
from extract.corpora.common.inspect_media import MediaFacts
from extract.corpora.cremad import scan as cremad
from extract.corpora.demo.generator import layout
from extract.corpora.demo.generator.story import PARTS, write_story
from extract.corpora.folder import scan as clips
from extract.corpora.ravdess import scan as ravdess
from tests.extract.corpora.test_cremad import names as clips_of_cremad
from tests.extract.corpora.test_dailydialog import lines
from tests.extract.corpora.test_emorynlp import jsons
from tests.extract.corpora.test_m3ed import corpus as m3ed
from tests.extract.corpora.test_mosei import csd
from tests.extract.corpora.test_ravdess import names as files_of_ravdess
from tests.support.corpus_folder import put
from tests.support.iemocap_tree import write_annotation

SHARED: Final = Path(__file__).resolve().parents[3].parent / "shared"
MELD, EMODB = SHARED / "meld", SHARED / "media" / "emodb"
GOOD: Final = MediaFacts("0" * 64, 1.0, 1.0, True, True)

# corpus -> beginning of a split's name -> what it never has in two subsets
PROMISES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "demo": {"official": ("dialogue",)},
    "meld": {"official": ("dialogue",)},
    "iemocap": {"session5": ("dialogue",), "loso": ("dialogue",), "speaker": ("speaker",)},
    "mosei": {"standard": ("dialogue", "speaker", "take")},
    "ravdess": dict.fromkeys(("actors", "avtca", "katerynach"), ("dialogue", "speaker", "take")),
    "cremad": dict.fromkeys(("actors", "avtca"), ("dialogue", "speaker", "take")),
    "dailydialog": {"official": ("dialogue",)},
    "emorynlp": {"official": ("dialogue",)},
    "m3ed": {"official": ("dialogue", "speaker")},
    "folder": {"dialogues": ("dialogue",), "speakers": ("dialogue", "speaker", "take")},
}
# The same of test against the others alone: sessions have speakers of their own, but train and dev share theirs.
OF_TEST: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "iemocap": {"session5": ("speaker",), "loso": ("speaker",)}
}


def scan(corpus: str, root: Path) -> Manifest:
    return CORPORA[corpus].scan(root, CORPORA[corpus].Switches())


def touched(root: Path, paths: Iterable[str]) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def demo(root: Path) -> Manifest:
    """The tables of the demo corpus of `make demo`."""
    story = write_story(0, "full")
    root.mkdir()
    for part in PARTS:
        lines = story[part]
        rows = layout.table(part, 0, lines, ["x"] * len(lines), [1.0] * len(lines))
        layout.write_text(layout.csv_path(root, part), rows)
    layout.write_note(root, layout.DemoNote(0, "full", layout.VERSION, True, 500, 500.0, []))
    return scan("demo", root)


def meld(root: Path) -> Manifest:
    """The real tables; dialogues have the same numbers in all three."""
    return scan("meld", MELD)


def iemocap(root: Path) -> Manifest:
    return scan("iemocap", write_annotation(root))


def mosei(root: Path) -> Manifest:
    """Twelve videos of two segments, with names that begin alike."""
    videos = [
        f"{name}{end}" for name in ("81406", "-lqc32Zpr7M", "FcAgbLF6__s", "a_b") for end in ("", "_", "1")
    ]
    times: list[tuple[float, float, tuple[float, ...]]] = [(0.0, 1.0, (0.0,) * 7), (1.0, 2.0, (1.0,) * 7)]
    csd(root, dict.fromkeys(videos, times))
    folds = {"train": videos[0::3], "valid": videos[1::3], "test": videos[2::3]}
    put(root, "cmu_mosei_std_folds.py", "".join(f"standard_{n}_fold={v!r}\n" for n, v in folds.items()))
    return scan("mosei", root)


def ravdess_(root: Path) -> Manifest:
    """All actors with the three files of every performance of a sentence."""
    listed = [n for n in files_of_ravdess(range(1, 25), ("01", "02", "03")) if n[12:14] == "01"]
    return scan("ravdess", touched(root, (f"{n}.{'wav' if n[:2] == '03' else 'mp4'}" for n in listed)))


def cremad_(root: Path) -> Manifest:
    """All actors with one sentence at every level, in pictures and sound."""
    stems = [stem for stem in clips_of_cremad() if stem[5:8] == "IEO"]
    files = [f for s in stems for f in (f"VideoFlash/{s}.flv", f"AudioWAV/{s}.wav")]
    return scan("cremad", touched(root, files))


def clips_(root: Path) -> Manifest:
    """Real names of EMO-DB as a table of the user's own: `03a01Fa` is speaker 03."""
    stems = sorted(path.stem for path in EMODB.glob("*.wav"))
    touched(root, (f"{stem}.wav" for stem in stems))
    put(root, "utterances.csv", "id,speaker,audio\n" + "".join(f"{s},{s[:2]},{s}.wav\n" for s in stems))
    return scan("folder", root)


def dialogues(root: Path) -> Manifest:
    rows = [f"d{n % 7},s{n % 3},{n}" for n in range(21)]
    return scan("folder", put(root, "utterances.csv", "dialogue,speaker,text\n" + "\n".join(rows)))


def dailydialog_(root: Path) -> Manifest:
    return scan("dailydialog", lines(root))


def emorynlp_(root: Path) -> Manifest:
    return scan("emorynlp", jsons(root))


def m3ed_(root: Path) -> Manifest:
    return scan("m3ed", m3ed(root))


needs_meld = pytest.mark.skipif(not MELD.is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")
needs_emodb = pytest.mark.skipif(
    not EMODB.is_dir(), reason="needs ../shared/media/emodb (225 real sound files)"
)
BUILDERS = [
    demo,
    pytest.param(meld, marks=needs_meld),
    iemocap,
    mosei,
    ravdess_,
    cremad_,
    pytest.param(clips_, marks=needs_emodb),
    dialogues,
    dailydialog_,
    emorynlp_,
    m3ed_,
]


def take(u: Utterance) -> frozenset[Hashable]:
    """The recordings that an utterance is of; the media of a performance (RAVDESS: 01, 02, 03) are one."""
    media = [ref for ref in (u.video, u.audio) if ref is not None]
    return frozenset(re.sub(r"^0[123]-", "", Path(ref.path).stem) for ref in media) or frozenset([u.dialogue])


KINDS: Final[Mapping[str, Callable[[Utterance], frozenset[Hashable]]]] = {
    "dialogue": lambda u: frozenset([u.dialogue]),
    "speaker": lambda u: frozenset([u.speaker]),
    "take": take,
}


def shared(manifest: Manifest, split: str, kind: str, of_test: bool = False) -> list[str]:
    """What of a kind is in two subsets of a split."""
    place = {i: name for name, ids in manifest.splits[split].items() for i in ids}
    held: dict[str, set[Hashable]] = {name: set() for name in manifest.splits[split]}
    for u in manifest.utterances:
        if u.id in place:
            held[place[u.id]] |= KINDS[kind](u)
    pairs = [(a, b) for a, b in combinations(held, 2) if not of_test or "test" in (a, b)]
    return [
        f"{split}: {a} and {b} share {kind} {v}"
        for a, b in pairs
        for v in sorted(map(str, held[a] & held[b]))
    ]


def promised(table: Mapping[str, tuple[str, ...]], split: str) -> tuple[str, ...]:
    return next((kinds for beginning, kinds in table.items() if split.startswith(beginning)), ())


@pytest.mark.usefixtures("scanned_here")
@pytest.mark.parametrize("build", BUILDERS)
def test_no_split_has_in_two_subsets_what_it_promises_to_keep_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Callable[[Path], Manifest]
) -> None:
    for corpus in (clips, cremad, ravdess):
        monkeypatch.setattr(
            corpus, "inspect_media", lambda root, paths, progress=None: dict.fromkeys(paths, GOOD)
        )
    manifest = build(tmp_path / "r")
    assert manifest.splits
    for split, subsets in manifest.splits.items():
        kinds = promised(PROMISES[manifest.corpus], split)
        assert kinds and all(subsets.values()), f"{split}: a split without a promise, or with an empty subset"
        assert set(manifest.promises[split]) <= set(kinds), f"{split}: the scan promises more than is held"
        assert manifest.promises[split], f"{split}: the scan promises nothing"
        ids = [i for subset in subsets.values() for i in subset]
        assert len(ids) == len(set(ids))
        leaks = [leak for kind in kinds for leak in shared(manifest, split, kind)]
        tested = promised(OF_TEST.get(manifest.corpus, {}), split)
        assert leaks + [leak for kind in tested for leak in shared(manifest, split, kind, of_test=True)] == []


def test_every_corpus_has_promises_and_a_leak_would_be_found(tmp_path: Path) -> None:
    assert set(PROMISES) == set(CORPORA)
    manifest = iemocap(tmp_path / "r")
    fold = {name: list(ids) for name, ids in manifest.splits["loso/Ses05"].items()}
    fold["train"].append(fold["test"].pop())
    torn = replace(manifest, splits={"loso/Ses05": {name: tuple(ids) for name, ids in fold.items()}})
    assert shared(torn, "loso/Ses05", "dialogue") and shared(torn, "loso/Ses05", "speaker", of_test=True)
    assert not shared(manifest, "loso/Ses05", "speaker", of_test=True)
    assert shared(manifest, "loso/Ses05", "speaker"), "train and dev have the same eight actors"

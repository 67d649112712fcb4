"""Makes corpora for benchmarks from real clips, clips of demo corpora, and copies of clips."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.jobs import PROJECT
from ercache.digests import digest_of_file
from ercache.errors import WorkError
from ercache.manifest import Manifest, MediaRef, Utterance

REAL: Final = PROJECT.parent / "shared" / "media" / "cremad"  # real clips beside the project; optional
SOUNDS: Final = REAL.with_name("ravdess")  # 480 wav files beside the project; optional
TINY: Final = 25  # clips of a tiny demo corpus


def make_corpus(root: Path, clips: int) -> Manifest:
    """Make a corpus of `clips` video clips in the folder `root`.

    At most half of the clips are real (CREMA-D, if its clips lie beside the project). The others come from generated
    demo corpora.
    """
    from extract.corpora import CORPORA
    from extract.corpora.demo.generator import generate

    utterances: list[Utterance] = []

    def add(key: str, name: str, most: int) -> None:
        entry = CORPORA[key]
        found = entry.scan(root / name, entry.Switches(), None).utterances
        utterances.extend(_moved(u, name, "") for u in found[:most])

    if REAL.is_dir():
        shutil.copytree(REAL, root / "cremad")
        add("cremad", "cremad", clips // 2)
    for seed in range(-(-(clips - len(utterances)) // TINY)):
        generate(root / f"demo{seed}", seed, "tiny")
        add("demo", f"demo{seed}", clips - len(utterances))
    return Manifest("bench", "1", {}, {}, tuple(utterances))


def make_sounds(root: Path, clips: int) -> Manifest:
    """Make a corpus of `clips` real sound files (RAVDESS) in the folder `root`.

    If there are too few files, they are copied. A few bytes of each copy are changed, so that its digest differs.

    Raises:
        WorkError: the folder with the sound files of RAVDESS is missing.
    """
    from extract.corpora import CORPORA

    if not SOUNDS.is_dir():
        raise WorkError(
            f"the sound benchmark needs the folder {SOUNDS}", hint="put wav files of RAVDESS into it"
        )
    entry = CORPORA["ravdess"]
    found = entry.scan(SOUNDS, entry.Switches(), None)
    copies = multiplied(found, SOUNDS, root, -(-clips // len(found.utterances)), "ravdess")
    return replace(
        copies, corpus="bench", label_sets={}, splits={}, problems=(), utterances=copies.utterances[:clips]
    )


def _moved(u: Utterance, folder: str, more: str) -> Utterance:
    """Return a copy of an utterance whose media files now lie in a subfolder of the corpus.

    The paths and ids get the name of the subfolder; the labels are removed, and the corpus part becomes `all`.

    Args:
        u: the utterance.
        folder: name of the subfolder.
        more: words to append to the text, so that copies of an utterance have different texts.
    """

    def ref(old: MediaRef | None) -> MediaRef | None:
        return old and replace(old, path=f"{folder}/{old.path}")

    text = u.text and u.text + more
    name, dialogue = f"{folder}-{u.id}", f"{folder}-{u.dialogue}"
    video, audio = ref(u.video), ref(u.audio)
    return replace(u, id=name, dialogue=dialogue, text=text, video=video, audio=audio, labels={}, part="all")


def multiplied(manifest: Manifest, source: Path, root: Path, times: int, prefix: str = "copy") -> Manifest:
    """Make a larger corpus: copy all media files and utterances several times. Each copied file has another digest.

    The digests differ so that ercache computes the features of every copy.

    Args:
        manifest: manifest of the corpus to copy.
        source: media folder of this corpus.
        root: media folder of the larger corpus; created here.
        times: number of copies of each file.
        prefix: beginning of the names of the subfolders, one for each round of copies.
    """
    utterances: list[Utterance] = []
    for n in range(times):
        name = f"{prefix}{n}"
        shutil.copytree(
            source, root / name, copy_function=shutil.copyfile
        )  # what is read-only there is not here
        digests: dict[str, str] = {}
        copies = [_moved(u, name, f" {n}") for u in manifest.utterances]
        for path in {ref.path for u in copies for ref in (u.video, u.audio) if ref and ref.sha256}:
            set_apart(root / path, n)
            digests[path] = digest_of_file(root / path)
        for u in copies:
            video, audio = (ref and replace(ref, sha256=digests.get(ref.path)) for ref in (u.video, u.audio))
            utterances.append(replace(u, video=video, audio=audio))
    return replace(manifest, utterances=tuple(utterances))


def set_apart(path: Path, number: int) -> None:
    """Change a media file in place so that its digest changes, but not what decoders read from it.

    In an flv file, the first back pointer (four bytes) is changed. Other files get a few bytes at the end (a box or
    chunk). Different values of `number` give different digests.
    """
    with path.open("r+b") as stream:
        if path.suffix == ".flv":
            stream.seek(9)
            stream.write((number + 1).to_bytes(4, "big"))
        elif path.suffix == ".wav":
            stream.seek(0, os.SEEK_END)
            stream.write(b"JUNK" + (4).to_bytes(4, "little") + number.to_bytes(4, "little"))
        else:
            stream.seek(0, os.SEEK_END)
            stream.write((12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))

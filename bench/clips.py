"""Clips of a benchmark: real ones and those of demo corpora, and many copies of them."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.jobs import PROJECT
from ercache.digests import digest_of_file
from ercache.errors import WorkError
from ercache.manifest import Manifest, MediaRef, Utterance

REAL: Final = PROJECT.parent / "shared" / "media" / "cremad"  # beside the project, where they are at hand
SOUNDS: Final = REAL.with_name("ravdess")  # 480 wav files, likewise
TINY: Final = 25  # clips of a tiny demo corpus


def make_corpus(root: Path, clips: int) -> Manifest:
    """Real clips and demo corpora, scanned by the real scans and joined under one root."""
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
    """Real sound files, each copied under several names (with different digests) where there are fewer than asked for.

    Raises:
        WorkError: they are not at hand.
    """
    from extract.corpora import CORPORA

    if not SOUNDS.is_dir():
        raise WorkError(f"the benchmark of sounds needs {SOUNDS}", hint="put wav files of RAVDESS there")
    entry = CORPORA["ravdess"]
    found = entry.scan(SOUNDS, entry.Switches(), None)
    copies = multiplied(found, SOUNDS, root, -(-clips // len(found.utterances)), "ravdess")
    return replace(
        copies, corpus="bench", label_sets={}, splits={}, problems=(), utterances=copies.utterances[:clips]
    )


def _moved(u: Utterance, folder: str, more: str) -> Utterance:
    """An utterance whose media lie in a subfolder of the root; all are of one part, without labels."""

    def ref(old: MediaRef | None) -> MediaRef | None:
        return old and replace(old, path=f"{folder}/{old.path}")

    text = u.text and u.text + more
    name, dialogue = f"{folder}-{u.id}", f"{folder}-{u.dialogue}"
    video, audio = ref(u.video), ref(u.audio)
    return replace(u, id=name, dialogue=dialogue, text=text, video=video, audio=audio, labels={}, part="all")


def multiplied(manifest: Manifest, source: Path, root: Path, times: int, prefix: str = "copy") -> Manifest:
    """Copies of all files and utterances, each with a digest of its own.

    Args:
        root: of the copies; made here.
        prefix: of the names of their folders.
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
    """Change a file where no decoder looks: in the first back pointer of an flv, else in a box or chunk at the end."""
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

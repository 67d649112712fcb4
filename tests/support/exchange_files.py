"""Files in the exact formats of other projects, and small manifests that fit them."""

import json
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ercache.cache import ArraySpec, CacheFile, Entry, Status, content_digest, verify_cache
from ercache.cache_writer import write_cache
from ercache.formats.formats import import_file
from ercache.formats.packing import ImportResult
from ercache.manifest import Manifest, MediaRef, Utterance

EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SIX = ("hap", "sad", "neu", "ang", "exc", "fru")


def meld(texts: bool = True) -> Manifest:
    """Make a small manifest of MELD. Train lacks dialogue 1, and its dialogue 2 lacks utterance 1."""
    rows = [("train", 0, 0), ("train", 0, 1), ("train", 2, 0), ("train", 2, 2), ("dev", 0, 0), ("test", 0, 0),
            ("test", 1, 0), ("test", 1, 1)]  # fmt: skip
    utterances = [
        Utterance(f"{p}_dia{d}_utt{u}", f"{p}_dia{d}", u, "Joey", f"{p} says {d}’{u}!" if texts else None, None, None,
                  {"emotion7": EMOTIONS[n % 7]}, p)
        for n, (p, d, u) in enumerate(rows)
    ]  # fmt: skip
    splits = {p: tuple(u.id for u in utterances if u.part == p) for p in ("train", "dev", "test")}
    return Manifest("meld", "1", {}, {"emotion7": EMOTIONS}, tuple(utterances), splits={"official": splits})


def iemocap() -> Manifest:
    """Make a small manifest of IEMOCAP in the order of time.

    Two turns have no label, so published files leave them out.
    """
    rows = [("F000", "Yeah.", "neu"), ("M000", "Yeah.", "neu"), ("F001", "Go away.", None), ("F002", "Yeah.", None),
            ("M001", "Go away.", "ang"), ("F003", "Yeah.", "sad"), ("F004", "Yeah.", "neu")]  # fmt: skip
    return Manifest("iemocap", "1", {}, {"six": SIX}, tuple(
        Utterance(f"Ses01F_impro01_{i}", "Ses01F_impro01", n, f"Ses01{i[0]}", text, None, None, {"six": label}, "Ses01")
        for n, (i, text, label) in enumerate(rows)))  # fmt: skip


def mosei(times: bool = True) -> Manifest:
    rows = [("vid_1", "vid", 0.0, 2.0), ("vid_0", "vid", 2.0, 5.0), ("-x__y_0", "-x__y", 1.0, 3.0)]
    return Manifest("mosei", "1", {}, {"sentiment7": ("-1", "0", "1")}, tuple(
        Utterance(i, v, n, v, f"words {i}", MediaRef("a.mp4", s, e) if times else None, None,
                  {"sentiment7": ("-1", None, "1")[n]}, ("train", "dev", "test")[n])
        for n, (i, v, s, e) in enumerate(rows)))  # fmt: skip


def brought(path: Path, form: str, manifest: Manifest, folder: Path, **told: str) -> ImportResult:
    return import_file(path, form, manifest, folder / "caches", **told)


def values(packed: ImportResult, name: str) -> dict[str, list[Any]]:
    """Read imported caches of one feature.

    Returns:
        A dictionary from utterance to the values of its only array as nested lists, or to status and reason if it has
            none.
    """
    found: dict[str, list[Any]] = {}
    for file in (Path(file) for file in packed.files):
        assert verify_cache(file) == []
        with CacheFile(file) as cache:
            assert cache.provenance["origin"] == "unknown" and "encoder" not in cache.provenance
            if cache.provenance["feature"] == name:
                for e in cache.entries:
                    ok = e.status == Status.OK
                    found[e.id] = cache[e.id]["features"].tolist() if ok else [e.status.value, e.reason]
    return found


def python_2(value: Any) -> bytes:
    """Pickle a value as Python 2 and numpy 1 did with protocol 2, without the opcode at the end."""
    if isinstance(value, str):
        raw = value.encode("latin-1")
        return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, tuple):
        return b"(" + b"".join(map(python_2, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(python_2, value)) + b"e"
    if isinstance(value, set):
        return b"c__builtin__\nset\n(" + python_2(sorted(value)) + b"tR"
    if isinstance(value, dict):
        return b"}(" + b"".join(python_2(k) + python_2(v) for k, v in value.items()) + b"u"
    kind = (
        b"cnumpy\ndtype\n("
        + python_2(value.dtype.str[1:])
        + b"K\x00K\x01tR(K\x03U\x01<NNN"
        + python_2(-1) * 2
        + b"K\x00tb"
    )
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01"
    return head + python_2(value.shape) + kind + b"\x89" + python_2(value.tobytes().decode("latin-1")) + b"tb"


def vectors(manifest: Manifest, width: int = 2) -> dict[str, np.ndarray]:
    return {u.id: np.arange(n, n + width, dtype="f4") / 3 for n, u in enumerate(manifest.utterances)}


def meld_numbers(u: Utterance) -> tuple[int, str]:
    """Number of an utterance's dialogue, counted through all parts (train has 3 numbers, dev 1), and its own number."""
    dialogue, utterance = u.id.split("_dia")[1].split("_utt")
    return {"train": 0, "dev": 3, "test": 4}[u.part] + int(dialogue), utterance


def meld_tuple(manifest: Manifest, layout: str) -> tuple[Any, ...]:
    """MELD as a feature tuple of MMGCN or DialogueRNN. Its sentences have the broken characters of old copies."""
    of: dict[int, list[Utterance]] = {}
    for u in manifest.utterances:
        of.setdefault(meld_numbers(u)[0], []).append(u)
    features = {name: {d: [vectors(manifest, w)[u.id] for u in rows] for d, rows in of.items()}
                for name, w in (("text", 3), ("audio", 2), ("visual", 4))}  # fmt: skip
    ids = {d: [meld_numbers(u)[1] for u in rows] for d, rows in of.items()}
    labels = {d: [EMOTIONS.index(u.labels["emotion7"] or "") for u in rows] for d, rows in of.items()}
    sentences = {d: [(u.text or "").replace("’", "\x92") for u in rows] for d, rows in of.items()}
    speakers = {d: [[1, 0, 0]] * len(rows) for d, rows in of.items()}
    order = {
        "mmgcn": (ids, speakers, labels, *features.values(), sentences, [0, 2, 3], [4, 5], labels),
        "dialoguernn": (
            ids,
            speakers,
            labels,
            features["text"],
            features["audio"],
            sentences,
            [0, 2, 3],
            [4, 5],
            labels,
        ),
    }
    return order[layout]


def iemocap_tuple(manifest: Manifest) -> tuple[Any, ...]:
    rows = [u for u in manifest.utterances if u.labels["six"]]
    d = "Ses01F_impro01"
    features = [{d: [vectors(manifest, w)[u.id] for u in rows]} for w in (3, 2, 4)]
    labels = {d: [SIX.index(u.labels["six"] or "") for u in rows]}
    return ({d: [u.id for u in rows]}, {d: [u.speaker[-1] for u in rows]}, labels, *features,
            {d: [u.text for u in rows]}, {d}, set())  # fmt: skip


def csd(path: Path, name: str, entries: dict[str, tuple[Any, Any]]) -> Path:
    with h5py.File(path, "w") as file:
        for key, (features, intervals) in entries.items():
            file[f"{name}/data/{key}/features"] = features
            file[f"{name}/data/{key}/intervals"] = np.array(intervals, "f8")
        file[f"{name}/metadata/root name"] = np.array([json.dumps(name).encode()])
    return path


def cache_of(folder: Path, manifest: Manifest, part: str, name: str = "f", modality: str = "text") -> Path:
    """Write a cache with a vector and a sequence whose values are easily damaged. Two utterances have no feature."""
    odd = np.array([np.nan, -0.0, np.inf, 1e-45, 3.4e38], "f4")
    specs = [ArraySpec("pooled", "vector", ("utterance", "dim"), (5,)),
             ArraySpec("steps", "sequence", ("step", "y", "x"), (2, 3), "float16", "Hz")]  # fmt: skip
    arrays, entries = {}, []
    reasons = {1: (Status.MISSING, "no_face"), 3: (Status.UNAVAILABLE, "timeout")}
    for n, u in enumerate(manifest.of_part(part)):
        if n in reasons:
            entries.append(Entry(u.id, *reasons[n]))
            continue
        arrays[u.id] = {"pooled": np.roll(odd, n)[None], "steps": np.full((n + 1, 2, 3), n / 7, "f2")}
        entries.append(Entry(u.id, Status.OK, "", 100 + n, "", content_digest(arrays[u.id])))
    path = folder / f"{name}.{part}.h5"
    told = {"corpus": manifest.corpus, "part": part, "feature": name, "modality": modality, "encoder": "x/y"}
    write_cache(path, specs, entries, arrays, told)
    return path

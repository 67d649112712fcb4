"""Features files that hold a whole corpus, in the structures that other projects publish."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WIDTHS = {"text": 5, "audio": 3, "visual": 4}


def mmgcn_tuple(dialogues: int = 12, turns: int = 4, classes: int = 3) -> tuple[Any, ...]:
    """A tuple in the structure of MMGCN's IEMOCAP pickle, of a corpus of our own.

    The elements are videoIDs, videoSpeakers, videoLabels, videoText, videoAudio, videoVisual, videoSentence, trainVid
    and testVid. The vectors tell the label, so a model can learn it.
    """
    names = [f"talk{d:02}" for d in range(dialogues)]
    rng = np.random.default_rng(0)
    labels = {n: [(d + i) % classes for i in range(turns)] for d, n in enumerate(names)}
    features = [
        {n: [rng.normal(size=width).astype("f4") + 3 * label for label in labels[n]] for n in names}
        for width in WIDTHS.values()
    ]
    return (
        {n: [f"{n}_u{i}" for i in range(turns)] for n in names},
        {n: ["MF"[i % 2] for i in range(turns)] for n in names},
        labels,
        *features,
        {n: [f"sentence {i} of {n}" for i in range(turns)] for n in names},
        set(names[: dialogues * 3 // 4]),
        set(names[dialogues * 3 // 4 :]),
    )


def cosmic_tuple(vectors: bool = True) -> tuple[Any, ...]:
    """A tuple in the structure of COSMIC's IEMOCAP pickle, with or without the four layers of vectors."""
    _, speakers, labels, text, _, _, sentences, train, test = mmgcn_tuple()
    listed = sorted(train)
    layers = [text] * 4 if vectors else []
    return (speakers, labels, *layers, sentences, listed[:-2], sorted(test), listed[-2:])


def mmsa_dictionary(videos: int = 9, clips: int = 3) -> dict[str, Any]:
    """A dictionary in the structure of MMSA's unaligned_50.pkl: sequences of steps, padded to one length."""
    rng = np.random.default_rng(1)
    result: dict[str, Any] = {}
    for m, mode in enumerate(("train", "valid", "test")):
        names = [f"vid{v}$_${c}" for v in range(m, videos, 3) for c in range(clips)]
        count = len(names)
        scores = np.array([(-1.0, 0.0, 1.6)[i % 3] for i in range(count)], "f4")
        result[mode] = {
            "raw_text": np.array([f"words of {n}" for n in names], dtype=object),
            "id": np.array(names, dtype=object),
            "audio": np.concatenate([rng.normal(size=(count, 3, 3)), np.zeros((count, 2, 3))], 1).astype(
                "f4"
            ),
            "audio_lengths": [3] * count,
            "vision": rng.normal(size=(count, 4, 2)).astype("f4"),
            "vision_lengths": [4] * count,
            "regression_labels": scores,
            "annotations": [("Negative", "Neutral", "Positive")[i % 3] for i in range(count)],
        }
    return result


def merbench_folder(
    root: Path, form: str = "npz", encoders: Sequence[str] = ("hubert-large-UTT", "clip-UTT")
) -> Path:
    """A data set folder of MERBench: features by encoder, labels as npz or csv, and a transcription."""
    names = {part: [f"{part}_{n:03}" for n in range(9)] for part in ("train", "test1")}
    for encoder in encoders:
        folder = root / "features" / encoder
        folder.mkdir(parents=True)
        for name in (name for of in names.values() for name in of):
            np.save(folder / f"{name}.npy", np.full(4, len(name), "f4"))
    emotions = {name: ("happy", "sad")[n % 2] for of in names.values() for n, name in enumerate(of)}
    if form == "npz":
        parts = {f"{p}_corpus": {n: {"emo": emotions[n], "val": 0.5} for n in of} for p, of in names.items()}
        np.savez(root / "label-6way.npz", **{p: np.array(of, dtype=object) for p, of in parts.items()})  # type: ignore[arg-type]
    else:
        rows = [
            f"{name},{emotions[name]},{part[:5].rstrip('1')}" for part, of in names.items() for name in of
        ]
        (root / "train-label.csv").write_text("\n".join(["name,discrete,split", *rows]) + "\n")
    rows = [f"{name},says {name}" for of in names.values() for name in of]
    (root / "transcription.csv").write_text("\n".join(["name,english", *rows]) + "\n")
    return root


def pickled(path: Path, value: Any) -> Path:
    """Write a value as a pickle of protocol 2, as most published files are. Return the path."""
    path.write_bytes(pickle.dumps(value, 2))
    return path

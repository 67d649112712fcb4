"""Commands that list what this machine and ercache have: `ercache doctor`, `corpora`, `encoders` and `models`."""

import importlib.util
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from json import loads as load_json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.console import MANIFESTS, START, Json, answer, params, say, table
from app.docs_pages.encoders import encoder_rows, write_page
from ercache import weights
from ercache.cpus import cores
from ercache.errors import UsageError, WorkError
from ercache.manifest import modalities_of, read_manifest
from ercache.params.own_corpora import FOLDER, own_corpora
from ercache.params.roots import local_roots
from ercache.paths import default_store, store_places
from ercache.wording import count_noun
from extract.corpora import CORPORA
from extract.encoders import numba_cache
from fusion.models import MODELS

PACKAGES = ("torch", "torchvision", "transformers", "facenet-pytorch", "librosa", "h5py", "dvc")
GIGABYTE = 1e9
BENCHMARKS = Path("docs/benchmarks.json")


def register(cli: typer.Typer) -> None:
    """Add the commands `doctor`, `corpora`, `encoders` and `models` to the command line."""
    for command in (doctor, corpora, encoders, models):
        cli.command(rich_help_panel=START)(command)


def doctor(json: Json = False) -> None:
    """Check this machine: package versions, ffmpeg, GPU, checkpoints, disk space.

    Example: [dim]ercache doctor[/]
    """
    checks = [*_packages(), _ffmpeg(), _device(), *_weights(), _speech(), _store(), _numba(), *_disk()]
    if json:
        answer({"checks": checks})
    else:
        rows = [("ok" if c["ok"] else "missing", c["name"], c["detail"], c["remedy"]) for c in checks]
        table(("", "check", "detail", "remedy"), rows)
    bad = [c["name"] for c in checks if not c["ok"]]
    if bad:
        raise WorkError(
            f"{count_noun(len(bad), 'check')} failed: {', '.join(bad)}; the table says what to do"
        )


def corpora(json: Json = False) -> None:
    """List the corpora that ercache can scan and how to get them, then those of your own in params.yaml.

    Example: [dim]ercache corpora[/]
    """
    rows = [
        {
            "key": entry.key,
            "name": entry.name,
            "modalities": list(entry.modalities),
            "label_sets": {name: list(values) for name, values in entry.label_sets.items()},
            "licence": entry.licence,
            "how_to_get": entry.how_to_get,
        }
        for entry in CORPORA.values()
    ]
    rows += _own_corpora()
    if json:
        answer(rows)
        return
    shown = [(r["key"], r["name"], ", ".join(r["label_sets"]), r["licence"], r["how_to_get"]) for r in rows]
    table(("key", "name", "label sets", "licence", "how to get"), shown)


def _own_corpora() -> list[dict[str, Any]]:
    """List the user's own corpora; modalities and label sets are known of those that have a manifest."""
    loaded = params()
    places = {**loaded.roots, **local_roots()}
    rows = []
    for key, scan in own_corpora(loaded.corpora).items():
        path = MANIFESTS / f"{key}.jsonl"
        manifest = read_manifest(path) if path.is_file() else None
        rows.append({
            "key": key,
            "name": "a folder of your own" if scan == FOLDER else "made from a features file",
            "modalities": sorted(modalities_of(manifest.utterances)) if manifest else [],
            "label_sets": {n: list(v) for n, v in manifest.label_sets.items()} if manifest else {},
            "licence": "",
            "how_to_get": str(places.get(key, ", ".join(manifest.sources) if manifest else "")),
        })  # fmt: skip
    return rows


def encoders(
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Update the table in this Markdown page."),
    ] = None,
    json: Json = False,
) -> None:
    """List the encoders, each with its input, output arrays, checkpoint and licence.

    Example: [dim]ercache encoders --json[/]
    """
    if write is not None:
        changed = write_page(write, _measured())
        say(f"{write}: {'written' if changed else 'up to date'}")
    rows = encoder_rows()
    if json:
        answer(rows)
    elif write is None:
        shown = [
            (r["key"], r["summary"], r["input_text"], r["arrays_text"].replace("`", ""), r["weights"] or "none",
             r["licence"], "yes" if r["available"] else "no")
            for r in rows
        ]  # fmt: skip
        table(("key", "what", "input", "arrays", "weights", "licence", "available"), shown)


def _measured() -> dict[str, Any]:
    """Read the speeds of encoders that `python -m bench` measured (docs/benchmarks.json).

    Returns:
        A dictionary from encoder key to speeds in utterances per second; empty if there is no such file.
    """
    if not BENCHMARKS.is_file():
        return {}
    found: dict[str, Any] = load_json(BENCHMARKS.read_text(encoding="utf-8")).get("encoders", {})
    return found


def models(json: Json = False) -> None:
    """List the fusion models with their presets (sizes), training recipes and switches (options of the network).

    Example: [dim]ercache models[/]
    """
    rows = [entry.describe() for entry in MODELS.values()]
    if json:
        answer(rows)
        return
    shown = [
        (
            r["key"],
            r["paper"],
            ", ".join(r["tasks"]),
            ", ".join(r["parameters"]),
            ", ".join(r["recipes"]),
            " ".join(s["name"] for s in r["switches"]),
        )
        for r in rows
    ]
    table(("key", "paper", "tasks", "presets", "training", "switches"), shown)


def _check(name: str, ok: bool, detail: str, remedy: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail, "remedy": "" if ok else remedy}


def _packages() -> list[dict[str, Any]]:
    checks = [_check("python", sys.version_info >= (3, 11), platform.python_version(), "use Python 3.11")]
    for name in PACKAGES:
        try:
            checks.append(_check(name, True, version(name)))
        except PackageNotFoundError:
            checks.append(_check(name, False, "not installed", "pip install -r requirements.txt"))
    return checks


def _ffmpeg() -> dict[str, Any]:
    """Check the library that reads media (PyAV), and the ffmpeg binary that writes the media of the demo corpus."""
    import av
    import imageio_ffmpeg

    remedy = "pip install imageio-ffmpeg, which brings the binary"
    try:
        path = imageio_ffmpeg.get_ffmpeg_exe()
        first = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return _check("ffmpeg", False, str(error), remedy)
    reads = f"FFmpeg {av.ffmpeg_version_info} reads media (PyAV {av.__version__})"
    return _check("ffmpeg", True, f"{reads}; {first.split(' Copyright')[0]}")


def _device() -> dict[str, Any]:
    import torch

    if torch.cuda.is_available():
        return _check("device", True, f"cuda: {torch.cuda.get_device_name()}")
    return _check("device", True, f"cpu, {count_noun(cores(), 'core')} (no GPU; everything runs, slower)")


def _weights() -> list[dict[str, Any]]:
    """Check which checkpoints of encoders this machine has.

    Returns:
        One check (a row of the table of `ercache doctor`) for each checkpoint that is present, damaged or part of a
            Python package, and one that counts the absent checkpoints.
    """
    rows = weights.status()
    absent = [row.key for row in rows if row.state in ("absent", "refused") and row.kind != "wheel"]
    here = [row for row in rows if row.key not in absent]
    detail = f"{len(absent)} are absent, which is fine until a feature needs one (`ercache weights ls`)"
    return [
        *(_check(f"weights {row.key}", row.ok, row.detail, row.remedy) for row in here),
        _check("optional weights", True, detail),
    ]


def _speech() -> dict[str, Any]:
    found = importlib.util.find_spec("espeakng_loader") is not None
    return _check(
        "espeak",
        found,
        "espeakng-loader" if found else "not installed",
        "pip install espeakng-loader (for the demo)",
    )


def _store() -> dict[str, Any]:
    """Check that the folder for finished results (one feature of one utterance each) can be written to."""
    from extract.engine.segment import locks_work

    try:
        places = store_places(default_store())
    except UsageError as error:
        return _check("store", False, error.message, error.hint)
    detail = places.note.removeprefix("note: ") or str(places.write)
    if not locks_work(places.write):
        detail += " (the file system has no locks, so `ercache cache gc` cannot free space there)"
    return _check("store", True, detail)


def _numba() -> dict[str, Any]:
    """Check that numba has a writable folder for the functions that it compiles for librosa."""
    remedy = f"set {numba_cache.VARIABLE} to a writable folder; without one, every run compiles librosa again"
    own, own_folder = numba_cache.place_found_by_numba(), numba_cache.own_folder()
    if own is not None:
        return _check("numba cache", True, str(own))
    if own_folder is not None:
        return _check("numba cache", True, f"{own_folder} (librosa's folder cannot be written)")
    return _check("numba cache", False, "no folder can be written", remedy)


def _disk() -> list[dict[str, Any]]:
    checks = []
    for name, folder in (("disk here", Path()), ("disk of the store", default_store())):
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / GIGABYTE
        checks.append(_check(name, free > 1, f"{free:.0f} GB free", "free at least 1 GB"))
    return checks

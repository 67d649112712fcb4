"""Cache files from the command line: ls, info, verify, diff; and gc, which frees what the store holds twice."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from app.console import CACHES, MANIFESTS, Json, answer, params, progress, say, table
from app.features import available_features
from ercache.cache import CacheFile, verify_cache
from ercache.compare import compare
from ercache.errors import CacheError, UsageError, WorkError
from ercache.manifest import read_manifest
from ercache.notes import KEY as NOTES
from ercache.notes import MEANING, notes_of
from ercache.paths import default_store, store_places
from ercache.wording import count_noun

SHOWN = 50  # differences that a person is shown
FIRST_NOTES = 10  # notes likewise
WHY = {
    "packed": "packed in a cache file",
    "unneeded": "of no feature of params.yaml on any manifest of this checkout",
    "duplicate": "there is another copy",
    "damaged": "damaged",
}

caches = typer.Typer(
    help="Look at cache files, check, compare, import and export them.", no_args_is_help=True
)


def register(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.add_typer(caches, name="cache")


@caches.command("ls")
def ls(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to look in.")] = CACHES,
    json: Json = False,
) -> None:
    """List caches: feature, dims, coverage. Example: [dim]ercache cache ls data/caches[/]"""
    rows = []
    for path in _files([directory]):
        with CacheFile(path) as cache:
            ok = cache.coverage().get("ok", 0)
            rows.append(
                {
                    "file": str(path),
                    "corpus": cache.provenance["corpus"],
                    "part": cache.provenance["part"],
                    "feature": cache.provenance["feature"],
                    "encoder": cache.provenance.get("encoder", "origin unknown"),
                    "dims": {name: list(spec.shape) for name, spec in cache.specs.items()},
                    "utterances": len(cache.entries),
                    "ok": ok,
                    "notes": len(notes_of(cache.provenance)),
                    "bytes": path.stat().st_size,
                }
            )
    if json:
        answer(rows)
        return
    shown = [
        (
            r["file"],
            r["encoder"],
            " ".join(f"{k}{v}" for k, v in r["dims"].items()),
            f"{r['ok']}/{r['utterances']}",
            r["notes"] or "",
        )
        for r in rows
    ]
    table(("file", "encoder", "arrays", "ok", "notes"), shown)


@caches.command("info")
def info(file: Annotated[Path, typer.Argument(help="A cache file.")], json: Json = False) -> None:
    """Show one cache: arrays, coverage, provenance. Example: [dim]ercache cache info FILE --json[/]"""
    with CacheFile(file) as cache:
        facts: dict[str, Any] = {
            "file": str(file),
            "bytes": file.stat().st_size,
            "utterances": len(cache.entries),
            "coverage": cache.coverage(),
            "notes": len(notes_of(cache.provenance)),
            "arrays": {name: asdict(spec) for name, spec in cache.specs.items()},
            "provenance": cache.provenance,
        }
    if json:
        answer(facts)
        return
    flat = {**{k: v for k, v in facts.items() if k not in ("arrays", "provenance")}}
    flat |= {f"array {k}": f"{v['kind']} {v['dtype']}{v['shape']}" for k, v in facts["arrays"].items()}
    flat |= {k: v for k, v in facts["provenance"].items() if k not in ("made_of", NOTES)}
    table(("", ""), list(flat.items()))
    if notes := notes_of(facts["provenance"]):
        title = f"{count_noun(len(notes), 'utterance')} whose feature {MEANING}"
        table(("utterance", "note"), list(notes.items())[:FIRST_NOTES], title=title)
        if len(notes) > FIRST_NOTES:
            say(f"the first {FIRST_NOTES} of {len(notes)} are shown; --json has all")


@caches.command("verify")
def verify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Cache files or folders of them.")],
    json: Json = False,
) -> None:
    """Check every digest, shape and id. Example: [dim]ercache cache verify data/caches[/]"""
    files = _files(paths)
    bad = [{"file": str(path), "what": what} for path in files for what in _differences(path)]
    if json:
        answer({"checked": len(files), "bad": bad})
    else:
        table(
            ("file", "what differs"),
            [(b["file"], b["what"]) for b in bad],
            title=f"{count_noun(len(files), 'file')} checked",
        )
    if bad:
        wrong = len({b["file"] for b in bad})
        raise WorkError(
            f"not as they should be: {wrong} of {count_noun(len(files), 'cache file')}",
            hint="extract them again; finished units are kept",
        )


@caches.command("diff")
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A cache file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    json: Json = False,
) -> None:
    """Which utterances differ, and by how much. Example: [dim]ercache cache diff A.h5 B.h5 --json[/]"""
    with CacheFile(a) as first, CacheFile(b) as second:
        found = compare(first, second)
    if json:
        status = [{"utterance": u, "a": x, "b": y} for u, (x, y) in found.status.items()]
        answer({**asdict(found), "status": status, "equal": found.equal})
        return
    rows = [(name, "-" if d is None else f"{d:.6g}") for name, d in found.max_abs_diff.items()]
    table(
        ("array", "largest absolute difference"),
        rows,
        title=f"{count_noun(found.compared, 'utterance')} compared",
    )
    notes = [(u, f"only in {a}") for u in found.only_a] + [(u, f"only in {b}") for u in found.only_b]
    notes += [(u, f"{x} in {a}, {y} in {b}") for u, (x, y) in found.status.items()]
    notes += [(x.utterance, f"{x.array}: {x.why}") for x in found.unlike]
    largest = sorted(found.differing.items(), key=lambda item: -item[1])
    notes += [(u, f"differs by {d:.6g}") for u, d in largest]
    if notes:
        table(("utterance", "what differs"), notes[:SHOWN], title=count_noun(len(notes), "difference"))
    if len(notes) > SHOWN:
        say(f"the first {SHOWN} of {len(notes)} are shown; --json has all")
    for where, names in ((a, found.arrays_only_a), (b, found.arrays_only_b)):
        if names:
            say(f"only {where} has the arrays {', '.join(names)}")


@caches.command("gc")
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Free it; without, it is only counted.")] = False,
    json: Json = False,
) -> None:
    """Free store records that are packed or that no manifest here needs. Example: [dim]ercache cache gc --yes[/]

    The store is shared by all checkouts, and only the manifests of this one are looked at: without --yes nothing goes.
    """
    from extract.engine.gc import collect_garbage, need

    loaded = params()
    features, lacking = available_features(loaded)
    if lacking:
        say(f"note: weights of {', '.join(lacking)} are not here; no run would look for their records")
    manifests = [read_manifest(path) for path in sorted(MANIFESTS.glob("*.jsonl"))]
    if not manifests:
        raise UsageError(
            f"no manifest in {MANIFESTS}: nothing here says which records are needed",
            hint="run it in the folder of your project, after `ercache scan CORPUS`",
        )
    places = store_places(default_store())
    if places.note:
        say(places.note)
    with progress() as tick:
        needed = need(manifests, features, loaded.engine, CACHES)
        found = collect_garbage(places.write, needed, yes, lambda n, of: tick("segments", n, of))
    records = sum(found.records.values())
    if json:
        answer({"bytes": found.bytes, "records": records, "freed": yes, "kept": found.kept,
                "busy_segments": found.busy, "foreign_segments": found.foreign, "why": found.records,
                "store": str(places.write), "manifests": [m.corpus for m in manifests]})  # fmt: skip
        return
    rows = [(WHY[why], n) for why, n in sorted(found.records.items())]
    table(("not needed here", "records"), rows, title=f"{places.write}")
    what = f"{count_noun(records, 'record')}, {found.bytes / 1e6:,.1f} MB"
    say(
        f"freed {what}" if yes else f"{what} can be freed with --yes; {count_noun(found.kept, 'record')} kept"
    )
    looked = ", ".join(manifest.corpus for manifest in manifests)
    if records and not yes:
        say(
            "note: all checkouts share this store, and only the manifests of this one were looked at "
            f"({looked}): another one may need what is not needed here"
        )
    if found.busy:
        say(f"{count_noun(found.busy, 'segment')} left alone, because of a run that writes now")
    if found.foreign:
        say(f"{count_noun(found.foreign, 'segment')} left alone, because only their owner can free them")


def _differences(path: Path) -> list[str]:
    bad = verify_cache(path)
    if bad:
        return bad
    with CacheFile(path) as cache:
        told = cache.provenance
    path_of_manifest = MANIFESTS / f"{told['corpus']}.jsonl"
    if not path_of_manifest.is_file() or told.get("partial"):
        return []
    manifest = read_manifest(path_of_manifest)
    if "records" in told and told["records"] != manifest.records_digest(
        told["modality"], told["part"], told.get("context")
    ):
        return ["its inputs (text or media) are not those of the manifest any more: extract it again"]
    return verify_cache(path, [u.id for u in manifest.of_part(told["part"])])


def _files(paths: list[Path]) -> list[Path]:
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UsageError("no such file or folder", details=missing)
    files = [f for path in paths for f in (sorted(path.rglob("*.h5")) if path.is_dir() else [path])]
    if not files:
        raise CacheError(
            f"no cache files in {', '.join(map(str, paths))}", hint="make them with `ercache extract`"
        )
    return files

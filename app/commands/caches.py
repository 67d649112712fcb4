"""The commands `ercache cache ...`: list, show, verify and compare cache files, and free space in the store."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from app.console import CACHES, FEATURES, MANIFESTS, Json, answer, params, progress, say, table
from app.features import available_features
from ercache.cache import CacheFile, verify_cache
from ercache.compare import compare
from ercache.errors import CacheError, UsageError, WorkError
from ercache.manifest import read_manifest
from ercache.notes import KEY as NOTES
from ercache.notes import MEANING, notes_of
from ercache.paths import default_store, store_places
from ercache.wording import count_noun

SHOWN_DIFFERENCES = 50  # rows of a table for people; --json has all
SHOWN_NOTES = 10
WHY = {
    "packed": "already packed into a cache file",
    "unneeded": "needed by no feature of params.yaml for the manifests here",
    "duplicate": "another copy exists",
    "damaged": "damaged",
}

caches = typer.Typer(help="List, verify, compare, import and export feature caches.", no_args_is_help=True)


def register(cli: typer.Typer) -> None:
    """Add the group `ercache cache` with the commands `ls`, `info`, `verify`, `diff` and `gc` to the command line."""
    cli.add_typer(caches, name="cache", rich_help_panel=FEATURES)


@caches.command("ls")
def ls(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with cache files; subfolders are searched, too.")
    ] = CACHES,
    json: Json = False,
) -> None:
    """List the cache files in a folder: encoder, array shapes, and how many utterances have the feature.

    Example: [dim]ercache cache ls data/caches[/]
    """
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
    """Show one cache file: its arrays, how many utterances have the feature, and how it was computed.

    Example: [dim]ercache cache info data/caches/meld/text/minilm.train.h5[/]
    """
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
        title = f"{count_noun(len(notes), 'utterance')} whose feature was {MEANING}"
        table(("utterance", "note"), list(notes.items())[:SHOWN_NOTES], title=title)
        if len(notes) > SHOWN_NOTES:
            say(f"only the first {SHOWN_NOTES} of {len(notes)} are shown; --json prints all")


@caches.command("verify")
def verify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Cache files or folders of them.")],
    json: Json = False,
) -> None:
    """Check cache files: digests of the values, shapes of the arrays, and utterance ids.

    The exit code is 1 if anything is wrong.

    Example: [dim]ercache cache verify data/caches[/]
    """
    files = _files(paths)
    bad = [{"file": str(path), "what": what} for path in files for what in _differences(path)]
    if json:
        answer({"checked": len(files), "bad": bad})
    else:
        table(
            ("file", "problem"),
            [(b["file"], b["what"]) for b in bad],
            title=f"{count_noun(len(files), 'file')} checked",
        )
    if bad:
        wrong = len({b["file"] for b in bad})
        raise WorkError(
            f"{wrong} of {count_noun(len(files), 'cache file')} failed the check",
            hint="run `ercache extract` again; utterances that are still in the store are not computed again",
        )


@caches.command("diff")
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A cache file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The cache file to compare with.")],
    json: Json = False,
) -> None:
    """Compare two cache files: which utterances differ, and by how much.

    Example: [dim]ercache cache diff old/minilm.train.h5 new/minilm.train.h5[/]
    """
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
        table(
            ("utterance", "what differs"),
            notes[:SHOWN_DIFFERENCES],
            title=count_noun(len(notes), "difference"),
        )
    if len(notes) > SHOWN_DIFFERENCES:
        say(f"only the first {SHOWN_DIFFERENCES} of {len(notes)} are shown; --json prints all")
    for where, names in ((a, found.arrays_only_a), (b, found.arrays_only_b)):
        if names:
            say(f"arrays only in {where}: {', '.join(names)}")


@caches.command("gc")
def gc(
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete the results. Without it, they are only counted.")
    ] = False,
    json: Json = False,
) -> None:
    """Free space in the store of finished results (one feature of one utterance each).

    With --yes, the command deletes the results that cache files already hold, and the results that no manifest of this
    project needs. All projects of a user share the store, but only the manifests of this project are read. Without
    --yes, the command only counts these results.

    Example: [dim]ercache cache gc --yes[/]
    """
    from extract.engine.gc import collect_garbage, needed_records

    loaded = params()
    features, lacking = available_features(loaded)
    if lacking:
        say(f"note: weights of {', '.join(lacking)} are absent, so their records count as not needed")
    manifests = [read_manifest(path) for path in sorted(MANIFESTS.glob("*.jsonl"))]
    if not manifests:
        raise UsageError(
            f"no manifest in {MANIFESTS}, so it is unknown which finished results are needed",
            hint="run this in the folder of your project, after `ercache scan CORPUS`",
        )
    places = store_places(default_store())
    if places.note:
        say(places.note)
    with progress() as tick:
        needed = needed_records(manifests, features, loaded.engine, CACHES)
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
    kept = count_noun(found.kept, "record")
    say(f"freed {what}" if yes else f"{what} can be freed with --yes; {kept} are still needed")
    looked = ", ".join(manifest.corpus for manifest in manifests)
    if records and not yes:
        say(
            f"note: other projects may need these records. All projects share this store, and only the manifests "
            f"of this one were read ({looked})"
        )
    if found.busy:
        say(f"{count_noun(found.busy, 'segment')} skipped: a run is writing to them")
    if found.foreign:
        say(f"{count_noun(found.foreign, 'segment')} skipped: they belong to another user")


def _differences(path: Path) -> list[str]:
    bad = verify_cache(path)
    if bad:
        return bad
    with CacheFile(path) as cache:
        origin = cache.provenance
    path_of_manifest = MANIFESTS / f"{origin['corpus']}.jsonl"
    if not path_of_manifest.is_file() or origin.get("partial"):
        return []
    manifest = read_manifest(path_of_manifest)
    if "records" in origin and origin["records"] != manifest.records_digest(
        origin["modality"], origin["part"], origin.get("context")
    ):
        return ["the texts or media in the manifest have changed since: extract it again"]
    return verify_cache(path, [u.id for u in manifest.of_part(origin["part"])])


def _files(paths: list[Path]) -> list[Path]:
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UsageError("some of the given files or folders do not exist; check the paths", details=missing)
    files = [f for path in paths for f in (sorted(path.rglob("*.h5")) if path.is_dir() else [path])]
    if not files:
        raise CacheError(
            f"no cache files in {', '.join(map(str, paths))}", hint="make them with `ercache extract`"
        )
    return files

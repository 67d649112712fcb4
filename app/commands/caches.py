"""Cache files from the command line: ls, info, verify."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from app.console import CACHES, MANIFESTS, Json, answer, table
from ercache.cache import CacheFile, verify_cache
from ercache.errors import CacheError, UsageError, WorkError
from ercache.manifest import read_manifest

caches = typer.Typer(help="Look at cache files and check them.", no_args_is_help=True)


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
        )
        for r in rows
    ]
    table(("file", "encoder", "arrays", "ok"), shown)


@caches.command("info")
def info(file: Annotated[Path, typer.Argument(help="A cache file.")], json: Json = False) -> None:
    """Show one cache: arrays, coverage, provenance. Example: [dim]ercache cache info FILE --json[/]"""
    with CacheFile(file) as cache:
        facts: dict[str, Any] = {
            "file": str(file),
            "bytes": file.stat().st_size,
            "utterances": len(cache.entries),
            "coverage": cache.coverage(),
            "arrays": {name: asdict(spec) for name, spec in cache.specs.items()},
            "provenance": cache.provenance,
        }
    if json:
        answer(facts)
        return
    flat = {**{k: v for k, v in facts.items() if k not in ("arrays", "provenance")}}
    flat |= {f"array {k}": f"{v['kind']} {v['dtype']}{v['shape']}" for k, v in facts["arrays"].items()}
    flat |= {k: v for k, v in facts["provenance"].items() if k not in ("made_of",)}
    table(("", ""), list(flat.items()))


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
            title=f"{len(files)} files checked",
        )
    if bad:
        raise WorkError(f"{len({b['file'] for b in bad})} of {len(files)} cache files are not as they should be",
                        hint="extract them again; finished units are kept")  # fmt: skip


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
    if "records" in told and told["records"] != manifest.records_digest(told["modality"], told["part"]):
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

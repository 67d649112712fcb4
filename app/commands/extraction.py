"""Stage 1 from the command line: demo, scan, extract."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.console import (
    CACHES,
    DATA,
    MANIFESTS,
    Device,
    Json,
    answer,
    device_of,
    known,
    params,
    progress,
    say,
    table,
)
from app.features import default_names, features_of, features_without_input
from app.scans import keep, manifest_of, root_of, rows_of_problems, scanned
from ercache.errors import CorpusError, UsageError
from ercache.params.load import corpus_root
from ercache.paths import default_store, store_places
from ercache.reasons import Reason
from ercache.wording import count_noun
from extract.corpora import CORPORA
from extract.corpora.common.listing import some

if TYPE_CHECKING:  # the engine imports torch, which --help can do without
    from extract.engine import Extraction

Root = Annotated[Path | None, typer.Option("--root", help="Folder of the corpus as distributed.")]


def register(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(demo)
    cli.command()(scan)
    cli.command()(extract)


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another corpus.")] = 0,
    size: Annotated[str, typer.Option("--size", help="tiny or full.")] = "full",
    json: Json = False,
) -> None:
    """Generate the demo corpus: real video and speech files. Example: [dim]ercache demo data/raw/demo[/]"""
    from extract.corpora.demo.generator import generate

    if size not in ("tiny", "full"):
        raise UsageError(f"--size is tiny or full, not {size!r}")
    with progress() as tick:
        summary = generate(
            directory, seed, "tiny" if size == "tiny" else "full", lambda n, of: tick("clips", n, of)
        )
    if json:
        answer({"dir": str(directory), "utterances": summary.utterances, "seconds": summary.seconds})
    else:
        say(f"{summary.utterances} utterances in {directory} ({summary.seconds:.0f} s)")


def scan(
    corpus: Annotated[str, typer.Argument(help="Key of the corpus; see `ercache corpora`.")],
    root: Root = None,
    out: Annotated[Path | None, typer.Option("--out", help="Manifest to write.")] = None,
    json: Json = False,
) -> None:
    """Read a corpus as distributed and write its manifest. Example: [dim]ercache scan meld --root DIR[/]"""
    loaded = params()
    known(corpus, CORPORA, "corpus")
    folder = corpus_root(corpus, loaded, root)
    manifest = scanned(corpus, folder, loaded)
    if json:
        problems = [problem.record() for problem in manifest.problems]
        answer({"corpus": corpus, "splits": manifest.summary(), "problems": problems})
    else:
        rows = [(part, s["dialogues"], s["utterances"]) for part, s in manifest.summary().items()]
        table(("part", "dialogues", "utterances"), rows, title=corpus)
        if manifest.problems:
            columns = ("status", "reason", "utterances", "details")
            table(columns, rows_of_problems(manifest.problems), title="problems")
    path = out or MANIFESTS / f"{corpus}.jsonl"
    keep(manifest, folder, path)
    say(f"manifest: {path}")


def extract(
    corpus: Annotated[str, typer.Argument(help="Key of the corpus.")],
    root: Root = None,
    features: Annotated[
        str | None, typer.Option("--features", help="Names in params.yaml, with commas.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="A list of them; default: what `default` holds and is trained."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the caches.")] = None,
    device: Device = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Files that a lane reads ahead at once.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N utterances.")] = None,
    fail_over: Annotated[float, typer.Option("--fail-over", min=0, max=100, help="Percentage.")] = 5.0,
    random_weights: Annotated[
        int | None,
        typer.Option(
            "--random-weights",
            metavar="SEED",
            help="Networks without their checkpoints; for benchmarks only.",
        ),
    ] = None,
    trace: Annotated[Path | None, typer.Option("--trace", help="Write spans of the engine here.")] = None,
    json: Json = False,
) -> None:
    """Make feature caches, resumable at any instant. Example: [dim]ercache extract demo --features minilm[/]"""
    from extract.encoders.numba_cache import prepare
    from extract.engine import extract_corpus
    from extract.engine.extraction import raise_if_over, write_failures

    if features is not None and profile is not None:
        raise UsageError("give --features or --profile, not both")
    target = out or (DATA / "partial" if limit else CACHES)
    if limit and target.resolve() == CACHES.resolve():
        raise UsageError(
            f"--limit makes partial caches, which never go to {CACHES}", hint="give another --out"
        )
    loaded = params()
    known(corpus, CORPORA, "corpus")
    names = [name.strip() for name in features.split(",")] if features is not None else None
    by_default = features is None and profile in (None, "default")
    left_out: dict[str, str] = {}
    if by_default and random_weights is None:
        names, left_out = default_names(loaded, corpus)
    wanted = features_of(loaded, names, profile or "default", random_weights)
    manifest = manifest_of(corpus, root, loaded)
    lacking = features_without_input(wanted, manifest.utterances[:limit])
    if lacking and (not by_default or len(lacking) == len(wanted)):
        raise CorpusError(
            f"{corpus}: {some(f'{name}: {why}' for name, why in lacking.items())}",
            hint="scan the corpus again with its media or texts, or ask for other features",
        )
    for name, reason in (left_out | lacking).items():
        say(f"warning: {name} is left out: {reason}")
    wanted = [feature for feature in wanted if feature.name not in lacking]
    media = any(feature.spec.modality != "text" for feature in wanted)
    folder = root_of(manifest, root, loaded) if media or root else None
    engine = loaded.engine.model_copy(update={"workers": workers} if workers else {})
    store_places(default_store())  # refused before any work
    if any(f.spec.modality == "audio" for f in wanted):
        prepare()
    with progress() as tick:
        result = extract_corpus(
            manifest, wanted, engine, store=default_store(), out=target, root=folder,
            device=device_of(device), limit=limit, fail_over=fail_over, trace=trace, progress=tick,
            tell=lambda line: say(f"warning: {line}"),
        )  # fmt: skip
    failures = (
        DATA
        / "logs"
        / f"extract-{corpus}-{'-'.join(dict.fromkeys(f.spec.modality for f in wanted))}-failures.csv"
    )
    write_failures(result, failures)
    _warn(result, failures)
    if json:
        answer(_summary(result))
    else:
        _show(result, failures)
    _warn_of_unavailable(result)
    raise_if_over(result, fail_over)


def _summary(result: "Extraction") -> dict[str, Any]:
    return {
        "files": [str(path) for path in result.files],
        "done": result.done,
        "reused": result.reused,
        "failed": [{k: v for k, v in asdict(f).items() if k != "detail"} for f in result.failed],
        "notes": [asdict(n) for n in result.notes],
        "seconds": round(result.seconds, 3),
        "utterances_per_second": round(result.utterances / result.seconds, 3),
        "media_seconds_per_second": round(result.media_seconds / result.seconds, 3),
    }


def _warn(result: "Extraction", failures: Path) -> None:
    for path in result.passed_over:
        say(f"warning: {path} was damaged; its records were not used")
    for name in sorted(result.split):
        say(
            f"warning: {name}: the memory ran out; batches were run one by one, bytes may differ from another run's"
        )
    if result.notes:
        first = result.notes[0]
        say(
            f"warning: {count_noun(len(result.notes), 'result rests', 'results rest')} on less, or on other media,"
            " than was asked for"
            f" (the first: {first.utterance}, {first.feature}: {first.note}); see {failures}"
        )


def _warn_of_unavailable(result: "Extraction") -> None:
    """Last, where people look: what another run may mend, and what another scan must."""
    from extract.engine.extraction import in_words

    again = [f for f in result.unavailable if f.reason != Reason.CHANGED]
    if again:
        much = count_noun(len(again), "result is", "results are")
        say(f"warning: {much} unavailable ({in_words(again)}); the next run tries again")
    changed = [f for f in result.unavailable if f.reason == Reason.CHANGED]
    if changed:
        much = count_noun(len({f.utterance for f in changed}), "utterance")
        say(f"warning: the media of {much} are not those that were scanned ({in_words(changed)}): scan again")


def _show(result: "Extraction", failures: Path) -> None:
    if result.files:
        table(("cache",), [(path,) for path in result.files])
    if result.failed:
        count = Counter((f.feature, f.status, f.reason) for f in result.failed)
        table(("feature", "status", "reason", "utterances"), [(*k, n) for k, n in sorted(count.items())])
    say(f"{result.done} units done, {result.reused} reused, in {result.seconds:.1f} s; reasons: {failures}")

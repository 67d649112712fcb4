"""The commands of stage 1 (media to features): `ercache demo`, `scan` and `extract`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.console import (
    CACHES,
    DATA,
    FEATURES,
    MANIFESTS,
    START,
    Device,
    Json,
    answer,
    device_of,
    params,
    progress,
    say,
    table,
)
from app.corpora import choose_corpus, corpus_entry
from app.features import check_extractors, default_names, features_of, features_without_input, profile_names
from app.manifests import (
    check_not_another_folder,
    checked_root,
    load_or_scan,
    problem_rows,
    save_manifest,
    scan_corpus,
)
from ercache.errors import CorpusError, UsageError
from ercache.manifest import Manifest
from ercache.notes import MEANING
from ercache.params.roots import corpus_root
from ercache.params.schema import Params
from ercache.paths import default_store, store_places
from ercache.reasons import Reason
from ercache.wording import count_noun
from extract.corpora.common.listing import list_some

if TYPE_CHECKING:  # the engine imports torch, which --help must not wait for
    from extract.engine import Extraction, Feature

Corpus = Annotated[
    str, typer.Argument(help="Corpus (see `ercache corpora`), or a folder of your own.", metavar="CORPUS")
]
Name = Annotated[
    str | None, typer.Option("--name", help="Name of your folder as a corpus. Default: the folder's name.")
]
Root = Annotated[
    Path | None,
    typer.Option("--root", help="Folder of the corpus. Default: under `roots` in params.local.yaml."),
]


def register(cli: typer.Typer) -> None:
    """Add the commands `demo`, `scan` and `extract` to the command line."""
    cli.command(rich_help_panel=START)(demo)
    cli.command(rich_help_panel=FEATURES)(scan)
    cli.command(rich_help_panel=FEATURES)(extract)


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to create.")],
    seed: Annotated[int, typer.Option("--seed", help="Random seed. Another seed gives another corpus.")] = 0,
    size: Annotated[str, typer.Option("--size", help="Size of the corpus: tiny or full.")] = "full",
    json: Json = False,
) -> None:
    """Generate a demo corpus of conversations, with real video and speech files.

    Example: [dim]ercache demo data/raw/demo[/]
    """
    from extract.corpora.demo.generator import generate

    if size not in ("tiny", "full"):
        raise UsageError(f"unknown size {size!r}: give --size tiny or full")
    with progress() as tick:
        summary = generate(
            directory, seed, "tiny" if size == "tiny" else "full", lambda n, of: tick("clips", n, of)
        )
    if json:
        answer({"dir": str(directory), "utterances": summary.utterances, "seconds": summary.seconds})
    else:
        say(f"{summary.utterances} utterances in {directory} ({summary.seconds:.0f} s)")


def scan(
    corpus: Corpus,
    root: Root = None,
    name: Name = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Manifest to write. Default: data/manifests/CORPUS.jsonl."),
    ] = None,
    json: Json = False,
) -> None:
    """Read a corpus as its authors distribute it, or a folder of your own. Check its files, and write its manifest.

    Example: [dim]ercache scan meld --root /data/MELD.Raw[/]

    Example with a folder of your own: [dim]ercache scan ~/talks[/]
    """
    loaded = params()
    chosen = choose_corpus(corpus, root, name, loaded)
    corpus = chosen.name
    path = out or MANIFESTS / f"{corpus}.jsonl"
    if path.is_dir():
        raise UsageError(f"--out {path} is a folder", hint=f"name a file, such as {path / f'{corpus}.jsonl'}")
    corpus_entry(corpus, loaded)  # a corpus that cannot be scanned is reported before its folder is looked up
    check_not_another_folder(chosen, path)
    folder = corpus_root(corpus, loaded, chosen.root)
    manifest = scan_corpus(corpus, folder, loaded)
    if json:
        problems = [problem.record() for problem in manifest.problems]
        answer({"corpus": corpus, "splits": manifest.summary(), "problems": problems})
    else:
        rows = [(part, s["dialogues"], s["utterances"]) for part, s in manifest.summary().items()]
        table(("part", "dialogues", "utterances"), rows, title=corpus)
        if manifest.problems:
            columns = ("status", "reason", "utterances", "details")
            table(columns, problem_rows(manifest.problems), title="problems")
    save_manifest(manifest, folder, path)
    say(f"manifest: {path}")


def extract(
    corpus: Corpus,
    root: Root = None,
    name: Name = None,
    features: Annotated[
        str | None, typer.Option("--features", help="Features of params.yaml, separated by commas.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            help="List of features: a profile of params.yaml, or a paper. Default: the profile `default`, without "
            "features whose extractor is not trained on this corpus.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the caches. Default: data/caches.")
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Number of media files that each worker process reads ahead. Default: `engine.workers`.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="Compute only the first N utterances. Default of --out: data/partial."
        ),
    ] = None,
    fail_over: Annotated[
        float,
        typer.Option(
            "--fail-over",
            min=0,
            max=100,
            help="Write no cache file in which more than this percentage of utterances failed temporarily.",
        ),
    ] = 5.0,
    random_weights: Annotated[
        int | None,
        typer.Option(
            "--random-weights",
            metavar="SEED",
            help="Use random weights instead of checkpoints (for benchmarks).",
        ),
    ] = None,
    allow_foreign_extractor: Annotated[
        bool,
        typer.Option(
            "--allow-foreign-extractor",
            help="Accept extractors that were trained on another corpus; features and results are marked.",
        ),
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="File to write: begin and end of each step of the run, as JSON lines."),
    ] = None,
    json: Json = False,
) -> None:
    """Compute features of a corpus and write them to caches. You can stop and continue at any time.

    Example: [dim]ercache extract demo --features minilm[/]

    Example with a folder of your own: [dim]ercache extract ~/talks --features minilm,prosody[/]
    """
    from extract.encoders.numba_cache import prepare
    from extract.engine import extract_corpus
    from extract.engine.extraction import raise_if_withheld, write_failures

    if features is not None and profile is not None:
        raise UsageError("--features and --profile were both given: give only one of them")
    target = out or (DATA / "partial" if limit else CACHES)
    if limit and target.resolve() == CACHES.resolve():
        raise UsageError(
            f"with --limit, caches hold only some utterances, so they must not be written to {CACHES}",
            hint="give another folder with --out",
        )
    loaded = params()
    chosen_corpus = choose_corpus(corpus, root, name, loaded)
    corpus, root = chosen_corpus.name, chosen_corpus.root
    check_not_another_folder(chosen_corpus, MANIFESTS / f"{corpus}.jsonl")
    names, left_out = _names(loaded, corpus, features, profile, random_weights)
    named = features_of(loaded, names, random_weights)
    chosen = check_extractors(named, corpus, loaded, allow_foreign=allow_foreign_extractor)
    manifest = load_or_scan(corpus, root, loaded)
    wanted = _with_input(manifest, chosen, limit, left_out)
    media = any(feature.spec.modality != "text" for feature in wanted)
    folder = checked_root(manifest, root, loaded) if media or root else None
    engine = loaded.engine.model_copy(update={"workers": workers} if workers else {})
    store_places(default_store())  # an unusable store is reported before any work
    if any(f.spec.modality == "audio" for f in wanted):
        prepare()
    with progress() as tick:
        result = extract_corpus(
            manifest, wanted, engine, store=default_store(), out=target, root=folder,
            device=device_of(device), limit=limit, fail_over=fail_over, trace=trace, progress=tick,
            tell=lambda line: say(f"warning: {line}"),
        )  # fmt: skip
    modalities = "-".join(dict.fromkeys(f.spec.modality for f in wanted))
    failures = DATA / "logs" / f"extract-{corpus}-{modalities}-failures.csv"
    write_failures(result, failures)
    _warn(result, failures)
    if json:
        answer(_summary(result))
    else:
        _show(result, failures)
    _warn_of_unavailable(result)
    raise_if_withheld(result, fail_over)


def _names(
    loaded: Params, corpus: str, features: str | None, profile: str | None, random_weights: int | None
) -> tuple[list[str], dict[str, str]]:
    """Find the features that the options name.

    Returns:
        Two values: the names of the features, and the features of the default profile that are left out -> why.
    """
    if features is not None:
        return [name.strip() for name in features.split(",")], {}
    if profile in (None, "default") and random_weights is None:
        return default_names(loaded, corpus)
    return profile_names(loaded, profile or "default", corpus), {}


def _with_input(
    manifest: Manifest,
    chosen: Sequence["Feature"],
    limit: int | None,
    left_out: dict[str, str],
) -> list["Feature"]:
    """Leave out the features whose input (text, audio or video) the corpus lacks, and print a warning for each.

    Returns:
        The features whose input the corpus has.

    Raises:
        CorpusError: the corpus lacks the input of all features.
    """
    lacking = features_without_input(chosen, manifest.utterances[:limit])
    if lacking and len(lacking) == len(chosen):
        raise CorpusError(
            f"corpus {manifest.corpus} lacks the input of all chosen features: "
            f"{list_some(f'{name}: {why}' for name, why in lacking.items())}",
            hint="scan the corpus again with its media or texts, or choose other features",
        )
    for name, reason in (left_out | lacking).items():
        say(f"warning: {name} is left out: {reason}")
    return [feature for feature in chosen if feature.name not in lacking]


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
    for path in result.damaged_files:
        say(f"warning: {path} is damaged; its records were computed again")
    for name in sorted(result.run_singly):
        say(
            f"warning: {name}: memory ran out, so utterances were encoded one by one; bytes may differ from other runs"
        )
    if result.notes:
        first = result.notes[0]
        say(
            f"warning: {count_noun(len(result.notes), 'feature')} {MEANING}"
            f" (the first: {first.utterance}, {first.feature}: {first.note}); see {failures}"
        )


def _warn_of_unavailable(result: "Extraction") -> None:
    """Print warnings about features that another run may compute, and about media that changed since the scan."""
    from extract.engine.extraction import summarise_failures

    again = [f for f in result.unavailable if f.reason != Reason.CHANGED]
    if again:
        much = count_noun(len(again), "feature is", "features are")
        say(f"warning: {much} unavailable ({summarise_failures(again)}); run again to retry")
    changed = [f for f in result.unavailable if f.reason == Reason.CHANGED]
    if changed:
        much = count_noun(len({f.utterance for f in changed}), "utterance")
        say(
            f"warning: the media of {much} changed since the scan ({summarise_failures(changed)}): scan again"
        )


def _show(result: "Extraction", failures: Path) -> None:
    if result.files:
        table(("cache",), [(path,) for path in result.files])
    if result.failed:
        count = Counter((f.feature, f.status, f.reason) for f in result.failed)
        table(("feature", "status", "reason", "utterances"), [(*k, n) for k, n in sorted(count.items())])
    say(f"{result.done} computed, {result.reused} reused, in {result.seconds:.1f} s; failures: {failures}")

"""Add the runs of papers on a corpus to params.yaml, params.local.yaml and dvc.yaml, or take them out again."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from app.console import params
from app.project_files import checked_files
from ercache.errors import UsageError
from ercache.manifest import MODALITIES
from ercache.params.edit import edited_text
from ercache.params.load import LOCAL_FILE, NO_PARAMS, PARAMS_FILE, corpus_root, suggestion
from ercache.params.schema import Params, PipelineParams
from extract.corpora import CORPORA

DEMO = "demo"


def check_papers(loaded: Params, papers: Sequence[str], corpus: str) -> None:
    """Check that the papers have runs on the corpus, and that params.yaml does not contradict them.

    Raises:
        UsageError: it is not so. The details list everything that is wrong.
    """
    found = []
    if corpus not in CORPORA:
        found.append(f"unknown corpus {corpus!r}; {suggestion(corpus, CORPORA)}")
    for paper in papers:
        if paper not in loaded.papers:
            found.append(f"unknown paper {paper!r}; {suggestion(paper, loaded.papers)}")
        elif corpus in CORPORA and corpus not in loaded.papers[paper].corpora:
            found.append(
                f"paper {paper} has no table on {corpus}, only on {', '.join(loaded.papers[paper].corpora)}"
            )
        elif corpus in CORPORA:
            found += _contradictions(loaded, paper, corpus)
    if found:
        hint = NO_PARAMS if not loaded.papers and not PARAMS_FILE.is_file() else ""
        raise UsageError("these runs cannot be added; nothing was written", details=found, hint=hint)


def _contradictions(loaded: Params, paper: str, corpus: str) -> Iterator[str]:
    given = loaded.corpora.get(corpus, {})
    for switch, wanted in loaded.papers[paper].corpora[corpus].switches.items():
        if given and given.get(switch) != wanted:
            yield f"{paper} needs `corpora.{corpus}.{switch}: {wanted}`, params.yaml has {given.get(switch, 'none')}"


def switches_of(loaded: Params, papers: Sequence[str], corpus: str) -> dict[str, Any]:
    """Return the switches for scanning the corpus that the papers need."""
    return {k: v for paper in papers for k, v in loaded.papers[paper].corpora[corpus].switches.items()}


def add_papers(papers: Sequence[str], corpus: str, root: Path, modalities: Sequence[str]) -> list[str]:
    """Add papers to the pipeline of a corpus, and note the corpus' folder for this machine.

    Args:
        modalities: the modalities that the corpus has in this folder.

    Returns:
        A list of sentences that say what was written.

    Raises:
        ParamsError: the pipeline cannot be written with them. Then no file is changed.
    """
    loaded = params()
    switches = switches_of(loaded, papers, corpus)
    told = []

    def add(content: CommentedMap) -> None:
        content.setdefault("corpora", CommentedMap()).setdefault(corpus, CommentedMap(switches))
        pipeline = content.setdefault("pipeline", CommentedMap())
        old = PipelineParams.model_validate(pipeline[corpus]).profiles if corpus in pipeline else []
        profiles = list(dict.fromkeys([*old, *papers]))
        pipeline[corpus] = _shortest(profiles, modalities)
        told.append(f"{PARAMS_FILE}: {corpus} is in the pipeline with {', '.join(profiles)}")
        if corpus != DEMO and DEMO in pipeline and not _is_made(loaded):
            del pipeline[DEMO]
            told.append(
                f"{PARAMS_FILE}: the demo was taken out of the pipeline, because its corpus was never made"
            )

    def locate(content: CommentedMap) -> None:
        content.setdefault("roots", CommentedMap())[corpus] = str(root.resolve())
        told.append(f"{LOCAL_FILE}: the folder of {corpus} is {root.resolve()}")

    contents = {PARAMS_FILE: edited_text(PARAMS_FILE, add), LOCAL_FILE: edited_text(LOCAL_FILE, locate)}
    return told + _written(contents)


def _is_made(loaded: Params) -> bool:
    """Whether the demo corpus is in its place."""
    try:
        corpus_root(DEMO, loaded)
    except UsageError:
        return False
    return True


def remove_profiles(names: Sequence[str], corpus: str) -> list[str]:
    """Take papers or profiles out of the pipeline of a corpus. Caches, runs and other entries of params.yaml stay.

    Returns:
        A list of sentences that say what was written.

    Raises:
        UsageError: one of them is not in the pipeline of the corpus.
    """

    def remove(content: CommentedMap) -> None:
        pipeline = content.get("pipeline") or CommentedMap()
        entry = PipelineParams.model_validate(pipeline[corpus]) if corpus in pipeline else None
        absent = [name for name in names if entry is None or name not in entry.profiles]
        if absent or entry is None:
            raise UsageError(f"not in the pipeline of {corpus}: {', '.join(absent)}; nothing was written")
        left = [name for name in entry.profiles if name not in names]
        if left:
            pipeline[corpus] = _shortest(left, entry.modalities)
        else:
            del pipeline[corpus]

    written = _written({PARAMS_FILE: edited_text(PARAMS_FILE, remove)})
    return [f"{PARAMS_FILE}: {', '.join(names)} left the pipeline of {corpus}", *written]


def _written(contents: Mapping[Path, str]) -> list[str]:
    """Check the new contents, then write them with the files of the pipeline. Return a sentence for each of these."""
    written = checked_files(contents, pipeline=True).write()
    return [f"{path}: written" for path in written if path not in contents]


def _shortest(profiles: Sequence[str], modalities: Sequence[str]) -> Any:
    """Return the shortest form of an entry under `pipeline` in params.yaml."""
    names = CommentedSeq(profiles)
    names.fa.set_flow_style()
    if set(modalities) == set(MODALITIES):
        return profiles[0] if len(profiles) == 1 else names
    some = CommentedSeq(m for m in MODALITIES if m in modalities)
    some.fa.set_flow_style()
    entry = CommentedMap({"profiles": names, "modalities": some})
    entry.fa.set_flow_style()
    return entry

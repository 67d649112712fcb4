"""Add the experiments of papers on a corpus to the DVC pipeline of a project, or take them out again.

This changes params.yaml, params.local.yaml and dvc.yaml.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from app.console import params
from app.project_files import checked_files
from ercache.errors import UsageError
from ercache.manifest import MODALITIES
from ercache.params.edit import edited_text, section_of
from ercache.params.load import LOCAL_FILE, NO_PARAMS, PARAMS_FILE, suggestion
from ercache.params.roots import corpus_root
from ercache.params.schema import Params, PipelineParams
from extract.corpora import CORPORA

DEMO = "demo"


def check_papers(loaded: Params, papers: Sequence[str], corpus: str) -> None:
    """Check that papers can be added to the pipeline of a corpus.

    Args:
        loaded: contents of params.yaml.
        papers: keys of the papers.
        corpus: key of the corpus.

    Raises:
        UsageError: the corpus or a paper is unknown, a paper has no table on the corpus, or params.yaml scans the
            corpus with other switches than a paper needs. The details list everything that is wrong.
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
        raise UsageError(
            "the papers' runs cannot be added to the pipeline; nothing was written", details=found, hint=hint
        )


def _contradictions(loaded: Params, paper: str, corpus: str) -> Iterator[str]:
    given = loaded.corpora.get(corpus, {})
    for switch, wanted in loaded.papers[paper].corpora[corpus].switches.items():
        if given and given.get(switch) != wanted:
            yield f"{paper} needs `corpora.{corpus}.{switch}: {wanted}`, params.yaml has {given.get(switch, 'none')}"


def switches_of(loaded: Params, papers: Sequence[str], corpus: str) -> dict[str, Any]:
    """Return the switches (options) with which the corpus must be scanned for these papers: name -> value."""
    return {k: v for paper in papers for k, v in loaded.papers[paper].corpora[corpus].switches.items()}


def add_papers(papers: Sequence[str], corpus: str, root: Path, modalities: Sequence[str]) -> list[str]:
    """Add papers to the pipeline of a corpus in params.yaml, and write the folder of the corpus to params.local.yaml.

    Args:
        papers: keys of the papers.
        corpus: key of the corpus.
        root: folder with the media of the corpus on this machine.
        modalities: the modalities of which the folder has media.

    Returns:
        A list of sentences that say what was written.

    Raises:
        ParamsError: the pipeline cannot be written with these papers. Then no file is changed.
    """
    loaded = params()
    switches = switches_of(loaded, papers, corpus)
    told = []

    def add(content: CommentedMap) -> None:
        section_of(content, "corpora").setdefault(corpus, CommentedMap(switches))
        pipeline = section_of(content, "pipeline")
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
        section_of(content, "roots")[corpus] = str(root.resolve())
        told.append(f"{LOCAL_FILE}: the folder of {corpus} is {root.resolve()}")

    contents = {PARAMS_FILE: edited_text(PARAMS_FILE, add), LOCAL_FILE: edited_text(LOCAL_FILE, locate)}
    return told + _written(contents)


def _is_made(loaded: Params) -> bool:
    """Whether the folder of the demo corpus exists."""
    try:
        corpus_root(DEMO, loaded)
    except UsageError:
        return False
    return True


def remove_profiles(names: Sequence[str], corpus: str) -> list[str]:
    """Take papers or profiles out of the pipeline of a corpus. Caches, trained runs and other params stay.

    Args:
        names: keys of papers, or names of profiles.
        corpus: key of the corpus.

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
            raise UsageError(
                f"not in the pipeline of {corpus}: {', '.join(absent)}; nothing was written",
                hint="the entry `pipeline` in params.yaml lists what can be taken out",
            )
        left = [name for name in entry.profiles if name not in names]
        if left:
            pipeline[corpus] = _shortest(left, entry.modalities)
        else:
            del pipeline[corpus]

    written = _written({PARAMS_FILE: edited_text(PARAMS_FILE, remove)})
    return [f"{PARAMS_FILE}: {', '.join(names)} left the pipeline of {corpus}", *written]


def _written(contents: Mapping[Path, str]) -> list[str]:
    """Check the new texts of params.yaml and params.local.yaml, then write them and the files of the pipeline.

    Args:
        contents: file -> new text.

    Returns:
        One sentence for each file of the pipeline that was written.
    """
    written = checked_files(contents, pipeline=True).write()
    return [f"{path}: written" for path in written if path not in contents]


def _shortest(profiles: Sequence[str], modalities: Sequence[str]) -> Any:
    """Return the entry of a corpus under `pipeline` in params.yaml, in its shortest form.

    With all modalities, it is a name or a list of names; otherwise it has two lists, `profiles` and `modalities`.
    """
    names = CommentedSeq(profiles)
    names.fa.set_flow_style()
    if set(modalities) == set(MODALITIES):
        return profiles[0] if len(profiles) == 1 else names
    some = CommentedSeq(m for m in MODALITIES if m in modalities)
    some.fa.set_flow_style()
    entry = CommentedMap({"profiles": names, "modalities": some})
    entry.fa.set_flow_style()
    return entry

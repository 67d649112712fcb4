"""Compare the time spans of utterances with the real durations of the media files."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from ercache.manifest import MediaRef, Problem
from ercache.reasons import Reason
from extract.corpora.common.inspect_media import MediaFacts, problems_of_media

BeyondFile = Literal["trim", "keep", "drop"]
OVERRUN_SECONDS = 0.5  # annotated ends may exceed the file by this much without a problem
BEYOND_FILE = "beyond_the_file"
SHORTER = "one_medium_is_shorter"
_NAMES = {"video": "the pictures end", "audio": "the sound ends"}


def resolve_references(
    utterance: str,
    video: MediaRef | None,
    audio: MediaRef | None,
    media_facts: Mapping[str, MediaFacts],
    policy: BeyondFile,
) -> tuple[MediaRef | None, MediaRef | None, list[Problem]]:
    """Add file digests to an utterance's media references, and report time spans that the files do not cover.

    Args:
        utterance: id of the utterance.
        video, audio: media references of the utterance.
        media_facts: path -> media facts. A file whose path is not a key counts as absent.
        policy: what to do when a time span ends after its file. `trim` moves the end to the end of the file, separately
            for pictures and sound. `keep` and `drop` leave the span unchanged. With `drop`, the caller removes
            utterances that have a problem with the reason BEYOND_FILE.

    Returns:
        The references to video and audio, and the problems. A span that ends after its file is always a problem. Its
        reason is BEYOND_FILE if pictures and sound both end too early, and SHORTER if only one of them does.
    """
    found: dict[str, MediaRef | None] = {"video": video, "audio": audio}
    problems: list[Problem] = []
    overruns = []
    for medium, ref in found.items():
        if ref is None:
            continue
        file_facts = media_facts.get(ref.path)
        if file_facts is None:
            problems.append(Problem(utterance, "missing", Reason.ABSENT.value, ref.path))
            continue
        ref = found[medium] = replace(ref, sha256=file_facts.sha256)
        problems += problems_of_media(utterance, ref, file_facts, medium)
        end = file_facts.pictures_end if medium == "video" else file_facts.sound_end
        if file_facts.fault is not None or end is None or ref.end is None:
            continue
        start = ref.start or 0.0
        detail = f"{ref.path}: {_NAMES[medium]} at {end:.2f} s, the utterance lasts from {start:.2f} to {ref.end:.2f} s"
        if start >= end:
            reason = Reason.NO_VIDEO if medium == "video" else Reason.NO_AUDIO
            problems.append(Problem(utterance, reason.status.value, reason.value, detail))
        elif ref.end > end + OVERRUN_SECONDS:
            overruns.append(Problem(utterance, "note", BEYOND_FILE, detail))
            found[medium] = replace(ref, end=round(end, 3)) if policy == "trim" else ref
    # If one medium covers the whole span, nothing of the utterance itself is lost.
    there = [
        m for m, ref in found.items() if ref is not None and ref.end and _has(media_facts.get(ref.path), m)
    ]
    if len(overruns) == len(there):
        problems += overruns
    else:
        problems += [replace(problem, reason=SHORTER) for problem in overruns]
    return found["video"], found["audio"], list(dict.fromkeys(problems))


def _has(file_facts: MediaFacts | None, medium: str) -> bool:
    return file_facts is not None and (file_facts.video if medium == "video" else file_facts.audio)

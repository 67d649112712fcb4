"""Draw the dialogues of the demo corpus: who speaks, the true emotion, and the emotion that each modality shows."""

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from extract.corpora.demo.generator.channels import (
    EMOTIONS,
    MODALITIES,
    PRIOR,
    Modality,
    draw,
    next_emotion,
    shown,
)

Part = Literal["train", "dev", "test"]
Size = Literal["tiny", "full"]
Breakage = Literal["no_face", "silent", "truncated"]

PARTS: Final[tuple[Part, ...]] = ("train", "dev", "test")
CAST_SIZE: Final = 6
_PEOPLE_WEIGHTS: Final = (0.08, 0.50, 0.42)  # one, two or three people in a scene
_SAME_SPEAKER_AGAIN: Final = 0.12

# Number of (dialogues, utterances) in each part.
SHAPES: Final[dict[Size, dict[Part, tuple[int, int]]]] = {
    "tiny": {"train": (3, 13), "dev": (1, 4), "test": (2, 8)},
    "full": {"train": (26, 222), "dev": (8, 64), "test": (26, 214)},
}

# (part, kind, how) of the deliberately broken clips, in the order in which they are placed.
BROKEN: Final[dict[Size, tuple[tuple[Part, Breakage, str], ...]]] = {
    "tiny": (
        ("train", "no_face", "the room is empty"),
        ("train", "silent", "digital silence"),
        ("test", "truncated", "cut off before the index of the file"),
    ),
    "full": (
        ("train", "no_face", "the room is empty"),
        ("train", "silent", "digital silence"),
        ("train", "truncated", "cut off before the index of the file"),
        ("test", "no_face", "the room is empty"),
        ("test", "silent", "no sound track"),
        ("test", "truncated", "file of zero bytes"),
    ),
}


@dataclass(frozen=True)
class StoryLine:
    """One utterance of the demo corpus before its text, sound and pictures are made.

    Attributes:
        dialogue, utterance: number of the dialogue, and of the utterance in it.
        speaker: index of the speaker.
        people: indices of all people in the scene.
        emotion: index of the true emotion.
        shown: modality (text, speech, face) -> index of the emotion that it shows.
    """

    dialogue: int
    utterance: int
    speaker: int
    people: tuple[int, ...]
    emotion: int
    shown: dict[Modality, int]


@dataclass(frozen=True)
class Broken:
    """A clip that is deliberately broken, to show how ercache reports defective files.

    Attributes:
        part: train, dev or test.
        dialogue, utterance: number of the dialogue, and of the utterance in it.
        kind: `no_face`, `silent` or `truncated`.
        how: description of the defect, for `demo.json`.
    """

    part: Part
    dialogue: int
    utterance: int
    kind: Breakage
    how: str


def tell_dialogue(seed: int, part: str, dialogue: int, length: int) -> list[StoryLine]:
    """Draw the utterances of one dialogue: speakers, true emotions and the emotions that the modalities show.

    The same arguments give the same utterances on every machine.
    """
    rng = Random(f"story/{seed}/{part}/{dialogue}")
    count = draw(rng, _PEOPLE_WEIGHTS) + 1
    cast = list(range(CAST_SIZE))
    people = tuple(cast.pop(int(rng.random() * len(cast))) for _ in range(count))
    moods = {person: draw(rng, PRIOR) for person in people}
    lines: list[StoryLine] = []
    for utterance in range(length):
        before = lines[-1] if lines else None
        speaker = _next_speaker(rng, people, before)
        emotion = next_emotion(rng, moods[speaker], before.emotion if before else moods[speaker])
        moods[speaker] = emotion
        signs: dict[Modality, int] = {modality: shown(rng, emotion, modality) for modality in MODALITIES}
        lines.append(StoryLine(dialogue, utterance, speaker, people, emotion, signs))
    return lines


def _next_speaker(rng: Random, people: tuple[int, ...], before: StoryLine | None) -> int:
    if before is None:
        return people[0]
    others = [person for person in people if person != before.speaker]
    if not others or rng.random() < _SAME_SPEAKER_AGAIN:
        return before.speaker
    return others[int(rng.random() * len(others))]


def lengths(seed: int, part: Part, size: Size) -> list[int]:
    """Draw the number of utterances of each dialogue in a subset (train, dev or test).

    `SHAPES` fixes the number of dialogues and the sum of their utterances.
    """
    dialogues, total = SHAPES[size][part]
    rng = Random(f"lengths/{seed}/{part}/{size}")
    result = [total // dialogues + (1 if i < total % dialogues else 0) for i in range(dialogues)]
    for _ in range(2 * dialogues):
        giver, taker = (int(rng.random() * dialogues) for _ in range(2))
        if giver != taker and result[giver] > 4 and result[taker] < 14:
            result[giver] -= 1
            result[taker] += 1
    return result


def write_story(seed: int, size: Size) -> dict[Part, list[StoryLine]]:
    """Draw all utterances of a demo corpus. Return a dict from subset (train, dev, test) to its utterances.

    The corpus is drawn again until its training subset contains every emotion, because a class without an example
    cannot be trained. This matters only for a tiny corpus.
    """
    for attempt in range(100_000):
        name = f"{size}-{attempt}" if attempt else size
        story: dict[Part, list[StoryLine]] = {}
        for part in PARTS:
            story[part] = [
                line
                for dialogue, length in enumerate(lengths(seed, part, size))
                for line in tell_dialogue(seed, f"{name}/{part}", dialogue, length)
            ]
            if part == "train" and len({line.emotion for line in story[part]}) < len(EMOTIONS):
                break
        else:
            return story
    raise AssertionError(f"no story of size {size} with every emotion for seed {seed}")


def choose_broken(seed: int, size: Size, story: dict[Part, list[StoryLine]]) -> list[Broken]:
    """Choose at random the clips that are broken deliberately.

    They are in different dialogues if possible. No subset loses its last intact clip of an emotion.
    """
    chosen: list[Broken] = []
    for part, kind, how in BROKEN[size]:
        rng = Random(f"broken/{seed}/{size}/{part}/{kind}")
        used = {(b.dialogue, b.utterance) for b in chosen if b.part == part}
        whole = [line for line in story[part] if (line.dialogue, line.utterance) not in used]
        left = Counter(line.emotion for line in whole)
        possible = [line for line in whole if left[line.emotion] > 1]
        apart = [line for line in possible if line.dialogue not in {dialogue for dialogue, _ in used}]
        candidates = apart or possible
        line = candidates[int(rng.random() * len(candidates))]
        chosen.append(Broken(part, line.dialogue, line.utterance, kind, how))
    return chosen

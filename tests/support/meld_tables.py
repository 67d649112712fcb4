"""Small MELD tables without media, as a person has them who cloned MELD's repository."""

import csv
from pathlib import Path

HEADER = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
)  # fmt: skip
EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SENTIMENT = {"neutral": "neutral", "joy": "positive"}


def write_tables(folder: Path, dialogues: int = 3, turns: int = 7) -> Path:
    """Write the three tables of MELD: dialogues of two speakers in which each emotion has words of its own.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "dev", "test"):
        rows = []
        for d in range(dialogues):
            for u in range(turns):
                emotion = EMOTIONS[(d + u) % len(EMOTIONS)]
                text = f"Oh, what {emotion}, said number {d} and {u}!"
                who, times = ("Ross", "Rachel")[u % 2], (f"00:00:{2 * u:02},000", f"00:00:{2 * u + 2:02},000")
                feeling = SENTIMENT.get(emotion, "negative")
                rows.append((len(rows) + 1, text, who, emotion, feeling, d, u, 1, 1, *times))
        with (folder / f"{part}_sent_emo.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([HEADER, *rows])
    return folder

"""One colour per emotion, the same in every picture, and distinguishable by colour-blind readers.

The seven emotions of MELD use the palette of Okabe and Ito (Color Universal Design, 2008), sentiment scores
ColorBrewer's RdBu, and other labels Paul Tol's "muted" scheme. The name of the label is always written beside its
colour.
"""

from collections.abc import Sequence

_EMOTIONS = {
    "neutral": "#999999",
    "surprise": "#e69f00",
    "fear": "#cc79a7",
    "sadness": "#0072b2",
    "joy": "#f0e442",
    "disgust": "#009e73",
    "anger": "#d55e00",
    "calm": "#56b4e9",
    "excitement": "#ddcc77",
    "frustration": "#882255",
    "positive": "#56b4e9",
    "negative": "#882255",
    "-3": "#b2182b",
    "-2": "#ef8a62",
    "-1": "#fddbc7",
    "0": "#d9d9d9",
    "1": "#d1e5f0",
    "2": "#67a9cf",
    "3": "#2166ac",
}
_ALIASES = {
    "neutral": ("neu",),
    "surprise": ("sur", "surprised"),
    "fear": ("fea", "fearful"),
    "sadness": ("sad",),
    "joy": ("hap", "happy", "happiness", "joyful"),
    "disgust": ("dis", "disgusted"),
    "anger": ("ang", "angry"),
    "excitement": ("exc", "excited"),
    "frustration": ("fru", "frustrated"),
}
_KNOWN = {**_EMOTIONS, **{alias: _EMOTIONS[name] for name, aliases in _ALIASES.items() for alias in aliases}}
_SPARE = ("#44aa99", "#332288", "#999933", "#aa4499", "#88ccee", "#117733", "#cc6677", "#661100")


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """Choose a colour for every label of a label set. Labels without a fixed colour get spare colours in order."""
    unknown = [label for label in labels if label.lower() not in _KNOWN]
    spare = {label: _SPARE[i % len(_SPARE)] for i, label in enumerate(unknown)}
    return {label: spare.get(label) or _KNOWN[label.lower()] for label in labels}


def ink_on(colour: str) -> str:
    """Choose the text colour, black or white, that has the higher contrast on a background colour (WCAG 2)."""
    luminance = relative_luminance(colour)
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"


def relative_luminance(colour: str) -> float:
    """Relative luminance of a colour `#rrggbb`, from 0 to 1, as WCAG 2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

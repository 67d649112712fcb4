"""Choose pictures of a clip and crop one face from each, as the paper AVT-CA does (docs/papers/avtca.md, section 3.3).

A picture without a detected face is cropped at the place where a neighbouring picture has its face.
"""

from typing import Final

from pydantic import Field

from ercache.params.schema import Strict
from extract.encoders.base import Input, Sample
from extract.encoders.visual.cropping import FaceCrop, choose_box, crop_rounded
from extract.media.types import PictureRequest

SIDE: Final = 224


class AvtcaPictures(Strict):
    """Parameters that say which pictures of a clip are taken, as the paper AVT-CA does.

    Attributes:
        frames: number of pictures per clip; a short clip may give fewer.
        window_seconds: take the pictures from this many seconds in the middle of the clip, at times that are multiples
            of 1/30 s; None spreads the pictures over the whole clip.
    """

    frames: int = Field(15, ge=1)
    window_seconds: float | None = Field(3.6, gt=0)


def avtca_input(params: AvtcaPictures) -> Input:
    """Return the input that an encoder needs: the pictures that `params` chooses, and the faces detected in them.

    A clip shorter than the param `window_seconds` gives fewer pictures than the param `frames` says.
    """
    return Input(pictures=PictureRequest(params.frames, window=params.window_seconds), faces=True)


def avtca_crops(sample: Sample) -> list[FaceCrop]:
    """Return a crop of the largest face of each picture, or an empty list if no picture has a face.

    A picture without a face is cropped at the face box of the nearest earlier picture with a face; if there is none,
    at that of the first later picture with one. Boxes are rounded to whole pixels and get no margin.
    """
    boxes = [choose_box(frame.faces, "largest") for frame in sample.frames]
    last = next((box for box in boxes if box is not None), None)
    found = []
    for position, (frame, box) in enumerate(zip(sample.frames, boxes, strict=True)):
        last = last if box is None else box
        crop = None if last is None else crop_rounded(frame.image, last)
        if last is not None and crop is not None:
            found.append(FaceCrop(position, last, crop))
    return found

"""Face crops as AVT-CA makes them (docs/papers/avtca.md, section 3.3).

A picture without a face gets the crop of a neighbouring picture's face box.
"""

from typing import Final

from pydantic import Field

from ercache.params.schema import Strict
from extract.encoders.base import Input, Sample
from extract.encoders.visual.cropping import FaceCrop, choose_box, crop_rounded
from extract.media.types import PictureRequest

SIDE: Final = 224


class AvtcaPictures(Strict):
    """Parameters that choose the pictures of a clip.

    Attributes:
        frames: number of pictures per clip.
        window_seconds: take the pictures from this many seconds in the middle of the clip, on a grid of 30 pictures per
            second; None spreads the pictures over the whole clip.
    """

    frames: int = Field(15, ge=1)
    window_seconds: float | None = Field(3.6, gt=0)


def avtca_input(params: AvtcaPictures) -> Input:
    """Return which input an encoder needs: pictures chosen as `params` says, and the faces in them.

    A clip shorter than `window_seconds` gives fewer than `frames` pictures.
    """
    return Input(pictures=PictureRequest(params.frames, window=params.window_seconds), faces=True)


def avtca_crops(sample: Sample) -> list[FaceCrop]:
    """Return a face crop for each picture, or an empty list if no picture has a face.

    The crop shows the largest face. In a picture without a face it is cut at the face box of the last picture before
    that has one, or else of the first picture after. Boxes are rounded and clipped to the picture, without margin.
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

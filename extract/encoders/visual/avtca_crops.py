"""Faces as AVT-CA cuts them (docs/papers/avtca.md, section 3.3): every picture has one as soon as any has."""

from typing import Final

from pydantic import Field

from ercache.params.schema import Strict
from extract.encoders.base import Input, Sample
from extract.encoders.visual.cropping import FaceCrop, choose_box, crop_rounded
from extract.media.types import PictureRequest

SIDE: Final = 224


class AvtcaPictures(Strict):
    """Parameters of the pictures.

    Attributes:
        frames: number of pictures of a clip.
        window_seconds: length of the clip's middle part that is used, on a grid of 30 pictures per second; None spreads
            the pictures over the whole clip.
    """

    frames: int = Field(15, ge=1)
    window_seconds: float | None = Field(3.6, gt=0)


def avtca_input(params: AvtcaPictures) -> Input:
    """Return the required input: pictures with their faces; pictures beyond the end of a short clip are absent."""
    return Input(pictures=PictureRequest(params.frames, window=params.window_seconds), faces=True)


def avtca_crops(sample: Sample) -> list[FaceCrop]:
    """Return the largest face of each picture; without a face, the last box before it, else the first after it.

    Boxes are rounded and clipped to the picture, without margin. The list is empty if no picture has a face.
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

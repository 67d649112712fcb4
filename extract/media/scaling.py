"""Turn decoded frames into RGB pictures as they are displayed: rotated, with square pixels, cropped and scaled."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
import av.filter
import numpy as np
from av.sidedata.sidedata import Type

from extract.media.types import Image
from extract.media.video import PictureFilter

# Without the exact flags, swscale rounds differently on different processors.
_FLAGS: Final = "bilinear+accurate_rnd+full_chroma_int+bitexact"
_UPRIGHT: Final = (1, 0, 0, 1)


@dataclass(frozen=True)
class _FrameFormat:
    """What decides how FFmpeg must convert a frame to RGB: its size, pixel format, colours, and rotation matrix."""

    width: int
    height: int
    format: str
    colorspace: int
    color_range: int
    matrix: tuple[int, int, int, int]


class Scaler:
    """Turns frames into pictures of one size and crop. FFmpeg's filters are set up once per frame format.

    Args:
        picture_filter: the length of the shorter side, and the crop.
        pixel: width of a pixel divided by its height.
    """

    def __init__(self, picture_filter: PictureFilter, pixel: Fraction) -> None:
        self._side, self._crop = picture_filter
        self._pixel = pixel
        self._graphs: dict[_FrameFormat, Any] = {}
        self._matrices: dict[int, tuple[int, int, int, int]] = {}  # by rotation in degrees

    def picture(self, frame: Any) -> Image:
        """Turn a decoded frame into an RGB picture: rotated, cropped and scaled, uint8 [height, width, 3]."""
        layout = _FrameFormat(
            frame.width,
            frame.height,
            frame.format.name,
            int(frame.colorspace),
            int(frame.color_range),
            self._matrix(frame),
        )
        if layout not in self._graphs:
            self._graphs[layout] = self._graph(layout)
        graph = self._graphs[layout]
        graph.push(frame)
        image: Image = graph.pull().to_ndarray()
        return image

    def _matrix(self, frame: Any) -> tuple[int, int, int, int]:
        """Return how a frame is rotated and flipped for display, as the signs of its 2 x 2 matrix, row by row.

        The matrix is read once per rotation and then remembered: in PyAV, a frame whose side data were read stays in
        memory until Python's next full garbage collection.
        """
        rotation = frame.rotation
        if rotation not in self._matrices:
            self._matrices[rotation] = _matrix(frame)
        return self._matrices[rotation]

    def _graph(self, layout: _FrameFormat) -> Any:
        graph = av.filter.Graph()
        graph.threads = 1
        colours = f"colorspace={layout.colorspace}:range={layout.color_range}"
        size = f"video_size={layout.width}x{layout.height}:pix_fmt={layout.format}:time_base=1/1000"
        steps = [graph.add("buffer", f"{size}:{colours}")]
        width, height = (
            (layout.height, layout.width) if _swaps_sides(layout.matrix) else (layout.width, layout.height)
        )
        steps += [graph.add(name, arguments) for name, arguments in rotation_filters(layout.matrix)]
        pixel = 1 / self._pixel if _swaps_sides(layout.matrix) else self._pixel
        one = Fraction(1)
        # Stretch the longer side of a pixel, so that no recorded detail is lost.
        shown = (round(width * max(pixel, one)), round(height * max(1 / pixel, one)))
        if self._crop is not None:
            left, top, right, bottom = crop_box(self._crop, *shown)
            steps += [graph.add("scale", _scale(shown)), graph.add("format", "rgb24")]
            steps.append(graph.add("crop", f"{right - left}:{bottom - top}:{left}:{top}:exact=1"))
            shown = (right - left, bottom - top)
        if self._side is not None:
            shown = scaled_size(shown, self._side)
        steps += [graph.add("scale", _scale(shown)), graph.add("format", "rgb24"), graph.add("buffersink")]
        graph.link_nodes(*steps).configure()
        return graph


def scaled_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return (width, height) in pixels after scaling a picture so that its shorter side becomes `side`.

    The longer side is rounded down.
    """
    width, height = size
    return (
        (side, max(1, side * height // width)) if width <= height else (max(1, side * width // height), side)
    )


def crop_box(crop: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """Convert a crop, given as fractions of a picture's width and height, to pixels: (left, top, right, bottom).

    The box is at least one pixel wide and high.
    """
    x0, y0, x1, y1 = crop
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    right, bottom = (
        min(max(round(x1 * width), left + 1), width),
        min(max(round(y1 * height), top + 1), height),
    )
    return left, top, right, bottom


def cropped(image: Image, crop: tuple[float, float, float, float] | None) -> Image:
    """Return the part of an image inside a rectangle, or the whole image if `crop` is None.

    Args:
        image: RGB uint8, [height, width, 3].
        crop: x0, y0, x1, y1 of the rectangle, as fractions of the width and height.
    """
    if crop is None:
        return image
    left, top, right, bottom = crop_box(crop, image.shape[1], image.shape[0])
    return image[top:bottom, left:right].copy()


def rotation_filters(matrix: tuple[int, int, int, int]) -> list[tuple[str, str | None]]:
    """Return FFmpeg's filters (name, arguments) that rotate and flip a frame for display; empty if it is upright.

    Args:
        matrix: signs of the four values of the frame's 2 x 2 rotation matrix, row by row; (1, 0, 0, 1) is upright.
    """
    a, b, c, d = matrix
    if _swaps_sides(matrix):
        directions = {
            (1, -1): "1",
            (-1, 1): "2",
            (1, 1): "0",
            (-1, -1): "3",
        }  # clock, cclock, and their flips
        return [("transpose", directions[b, c])]
    return [(name, None) for name, sign in (("hflip", a), ("vflip", d)) if sign < 0]


def _swaps_sides(matrix: tuple[int, int, int, int]) -> bool:
    return matrix[0] == 0 and matrix[3] == 0


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """Read from a frame how it must be rotated and flipped for display.

    Only rotations by multiples of 90 degrees are recognised; after any other, the frame counts as upright.

    Returns:
        Signs of the four values of its 2 x 2 rotation matrix, row by row; (1, 0, 0, 1) is upright.
    """
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return _UPRIGHT
    values = np.frombuffer(bytes(data), "<i4", 9)
    a, b, c, d = (int(np.sign(values[n])) if abs(int(values[n])) > 1 << 8 else 0 for n in (0, 1, 3, 4))
    quarter = (b == 0 and c == 0 and a and d) or (a == 0 and d == 0 and b and c)
    return (a, b, c, d) if quarter else _UPRIGHT


def _scale(size: tuple[int, int]) -> str:
    return f"{size[0]}:{size[1]}:flags={_FLAGS}"

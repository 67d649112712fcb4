"""From decoded frames to RGB pictures as they are shown: turned, with square pixels, cropped and scaled."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
import av.filter
import numpy as np
from av.sidedata.sidedata import Type

from extract.media.types import Image
from extract.media.video import Branch

# Without the exact flags, swscale rounds differently from one processor to the next.
_FLAGS: Final = "bilinear+accurate_rnd+full_chroma_int+bitexact"
_NOT_TURNED: Final = (1, 0, 0, 1)


@dataclass(frozen=True)
class _Form:
    """What decides how a frame is filtered."""

    width: int
    height: int
    format: str
    colorspace: int
    color_range: int
    matrix: tuple[int, int, int, int]


class Scaler:
    """Turns frames into pictures for one branch; the filters are built once for each form of frame.

    Args:
        pixel: width of a pixel over its height.
    """

    def __init__(self, branch: Branch, pixel: Fraction) -> None:
        self._side, self._crop = branch
        self._pixel = pixel
        self._graphs: dict[_Form, Any] = {}

    def picture(self, frame: Any) -> Image:
        """The picture of a frame, RGB uint8 [height, width, 3]."""
        form = _Form(
            frame.width,
            frame.height,
            frame.format.name,
            int(frame.colorspace),
            int(frame.color_range),
            _matrix(frame),
        )
        if form not in self._graphs:
            self._graphs[form] = self._graph(form)
        graph = self._graphs[form]
        graph.push(frame)
        image: Image = graph.pull().to_ndarray()
        return image

    def _graph(self, form: _Form) -> Any:
        graph = av.filter.Graph()
        graph.threads = 1
        colours = f"colorspace={form.colorspace}:range={form.color_range}"
        size = f"video_size={form.width}x{form.height}:pix_fmt={form.format}:time_base=1/1000"
        steps = [graph.add("buffer", f"{size}:{colours}")]
        width, height = (form.height, form.width) if _swaps(form.matrix) else (form.width, form.height)
        steps += [graph.add(name, arguments) for name, arguments in turns(form.matrix)]
        pixel = 1 / self._pixel if _swaps(form.matrix) else self._pixel
        one = Fraction(1)
        # The longer side of a pixel is stretched, so that nothing that was recorded is lost.
        shown = (round(width * max(pixel, one)), round(height * max(1 / pixel, one)))
        if self._crop is not None:
            left, top, right, bottom = box_of(self._crop, *shown)
            steps += [graph.add("scale", _scale(shown)), graph.add("format", "rgb24")]
            steps.append(graph.add("crop", f"{right - left}:{bottom - top}:{left}:{top}:exact=1"))
            shown = (right - left, bottom - top)
        if self._side is not None:
            shown = scaled(shown, self._side)
        steps += [graph.add("scale", _scale(shown)), graph.add("format", "rgb24"), graph.add("buffersink")]
        graph.link_nodes(*steps).configure()
        return graph


def scaled(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height whose shorter one is `side`, the longer one rounded down."""
    width, height = size
    return (
        (side, max(1, side * height // width)) if width <= height else (max(1, side * width // height), side)
    )


def box_of(crop: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a part of a picture, pixels; at least one pixel of each."""
    x0, y0, x1, y1 = crop
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    right, bottom = (
        min(max(round(x1 * width), left + 1), width),
        min(max(round(y1 * height), top + 1), height),
    )
    return left, top, right, bottom


def cropped(image: Image, crop: tuple[float, float, float, float] | None) -> Image:
    """A part of a picture, at least one pixel."""
    if crop is None:
        return image
    left, top, right, bottom = box_of(crop, image.shape[1], image.shape[0])
    return image[top:bottom, left:right].copy()


def turns(matrix: tuple[int, int, int, int]) -> list[tuple[str, str | None]]:
    """Filters that show a frame as its display matrix (a, b, c, d: signs of the 2 x 2 part) says."""
    a, b, c, d = matrix
    if _swaps(matrix):
        directions = {
            (1, -1): "1",
            (-1, 1): "2",
            (1, 1): "0",
            (-1, -1): "3",
        }  # clock, cclock, and their flips
        return [("transpose", directions[b, c])]
    return [(name, None) for name, sign in (("hflip", a), ("vflip", d)) if sign < 0]


def _swaps(matrix: tuple[int, int, int, int]) -> bool:
    return matrix[0] == 0 and matrix[3] == 0


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """Signs of a frame's display matrix; angles between the quarters are not turned."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return _NOT_TURNED
    values = np.frombuffer(bytes(data), "<i4", 9)
    a, b, c, d = (int(np.sign(values[n])) if abs(int(values[n])) > 1 << 8 else 0 for n in (0, 1, 3, 4))
    quarter = (b == 0 and c == 0 and a and d) or (a == 0 and d == 0 and b and c)
    return (a, b, c, d) if quarter else _NOT_TURNED


def _scale(size: tuple[int, int]) -> str:
    return f"{size[0]}:{size[1]}:flags={_FLAGS}"

"""The default policy finds the face that facenet-pytorch's defaults call the main one, and says where it does not."""

from pathlib import Path

import numpy as np
import pytest

from bench.faces import (
    CREMAD,
    Frames,
    all_frames,
    demo_clips,
    photographs,
    real_clips,
    recall,
    recall_when_followed,
    recalls,
    reference,
    small_faces,
)
from ercache.params.schema import FacePolicy
from extract.faces.mtcnn import FaceFinder
from extract.media.types import Faces

real = pytest.mark.skipif(not CREMAD.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(FacePolicy())


@pytest.fixture(scope="module")
def demo(demo_corpus: Path) -> list[Frames]:
    return demo_clips(demo_corpus)


def default_recall(finder: FaceFinder, clips: list[Frames], step: int) -> float:
    pictures = [frame.image for clip in clips for frame in clip][::step]
    assert len(pictures) >= 20
    return recalls({"default": finder.find}, pictures)["default"]


def test_main_faces_of_the_demo_are_found(finder: FaceFinder, demo: list[Frames]) -> None:
    assert default_recall(finder, demo, 25) >= 0.99


@real
def test_main_faces_of_real_clips_are_found(finder: FaceFinder) -> None:
    assert default_recall(finder, real_clips(), 15) >= 0.99


def test_main_faces_of_photographs_are_found(finder: FaceFinder) -> None:
    assert recalls({"default": finder.find}, photographs())["default"] >= 0.99


def test_main_faces_are_found_when_they_are_followed(finder: FaceFinder, demo: list[Frames]) -> None:
    assert recall_when_followed(finder.find, demo[:2]) >= 0.99


@real
def test_main_faces_of_a_real_clip_are_found_when_they_are_followed(finder: FaceFinder) -> None:
    clips = all_frames(sorted(CREMAD.glob("*_FEA_*.flv")))
    assert recall_when_followed(finder.find, clips) >= 0.99


@pytest.mark.parametrize(("share", "expected"), [(1 / 10, 1), (1 / 20, 0)])
def test_small_faces_are_found_down_to_a_stated_size(
    finder: FaceFinder, share: float, expected: float
) -> None:
    assert recalls({"default": finder.find}, small_faces(share, 3))["default"] == expected


def test_recall_counts_the_largest_face_alone() -> None:
    main = np.array([[0, 0, 10, 10]], np.float32)
    nobody, points = np.empty((0, 4), np.float32), np.empty((1, 5, 2), np.float32)
    right = Faces(np.array([[0, 0, 10, 15]], np.float32), np.ones(1, np.float32), points)
    wrong = Faces(main + 6, np.ones(1, np.float32), points)
    assert recall([right, wrong, right, wrong], [main, main, main, nobody]) == pytest.approx(2 / 3, abs=1e-4)


def test_the_reference_is_the_largest_of_facenets_faces() -> None:
    picture = photographs()[0]
    two = np.hstack([picture, np.pad(picture[::2, ::2], ((0, 256), (0, 0), (0, 0)))])
    (box,) = reference([two])
    assert box.shape == (1, 4) and box[0, 2] < 512
    assert reference([np.zeros((64, 64, 3), np.uint8)])[0].shape == (0, 4)


def test_no_readable_clip_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    from ercache.errors import UsageError

    with pytest.raises(UsageError, match="0 clips"):
        all_frames(sorted(tmp_path.iterdir()))

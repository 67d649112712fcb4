"""Faces are facenet-pytorch's own, whatever the sizes of the pictures and whoever shares the batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import nms_numpy
from numpy.typing import NDArray
from skimage import data

from ercache.params.schema import FacePolicy
from extract.faces import mtcnn as faces
from extract.faces.mtcnn import FaceFinder
from extract.media.types import Faces

CREMAD = Path(__file__).resolve().parents[3].parent / "shared" / "media" / "cremad"
PIXELS = 1e-3  # facenet itself differs by 6e-5 between batches
Image = NDArray[np.uint8]
FACENET = {
    "min_face_size": 40,
    "min_face_share": 0,
    "factor": 0.709,
    "resize": "area",
    "overlap": 0.7,
    "min_probability": 0.9,
}


def policy_of(**changes: Any) -> FacePolicy:
    """facenet-pytorch's own way from 40 pixels on, with some changes."""
    return FacePolicy(**(FACENET | changes))


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(policy_of())


@pytest.fixture(scope="module")
def astronaut() -> Image:
    picture: Image = data.astronaut()  # type: ignore[no-untyped-call]
    return picture


def reference(images: list[Image], policy: FacePolicy) -> list[Faces]:
    """Faces by facenet-pytorch's public class."""
    mtcnn = MTCNN(
        keep_all=True,
        select_largest=False,
        min_face_size=policy.min_face_size,
        thresholds=list(policy.thresholds),
    )
    rows = []
    for image in images:
        boxes, probabilities, points = mtcnn.detect(image, landmarks=True)
        if boxes is None:
            rows.append(faces.no_faces())
            continue
        good = np.flatnonzero(probabilities >= policy.min_probability)
        good = good[np.argsort(-probabilities[good].astype(float), kind="stable")]
        rows.append(Faces(*(array[good].astype(np.float32) for array in (boxes, probabilities, points))))
    return rows


def assert_same(found: Faces, expected: Faces) -> None:
    assert found.boxes.shape == (len(expected.boxes), 4) and found.points.shape[1:] == (5, 2)
    assert all(a.dtype == np.float32 for a in (found.boxes, found.probabilities, found.points))
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=PIXELS)
    np.testing.assert_allclose(found.points, expected.points, atol=PIXELS)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


def cremad_frames() -> list[Image]:
    import av

    pictures: list[Any] = []
    for path in sorted(CREMAD.glob("*.flv"))[:3]:
        with av.open(str(path)) as clip:
            pictures += [f.to_ndarray(format="rgb24") for f in clip.decode(video=0)][5:60:27]
    return pictures


def test_faces_are_those_of_facenet_pytorch(astronaut: Image) -> None:
    policy = policy_of(min_face_size=20, min_probability=0)
    found = FaceFinder(policy).find([astronaut])[0]
    assert len(found.boxes) >= 1
    assert (np.diff(found.probabilities) <= 0).all()
    assert_same(found, reference([astronaut], policy)[0])


@pytest.mark.skipif(not CREMAD.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")
def test_faces_on_real_clips_are_those_of_facenet_pytorch(finder: FaceFinder) -> None:
    pictures = cremad_frames()
    found = finder.find(pictures)  # in batches; the reference sees one picture at a time
    assert [len(row.boxes) for row in found] == [1] * len(pictures)
    for row, expected in zip(found, reference(pictures, policy_of()), strict=True):
        assert_same(row, expected)


def test_faces_do_not_depend_on_the_batch(
    finder: FaceFinder, astronaut: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [astronaut, np.zeros_like(astronaut), np.roll(astronaut, 40, axis=1), astronaut[:, ::-1]]
    together = finder.find(batch)
    monkeypatch.setattr(faces, "CPU_PIXELS", 2 * 512 * 512)
    chunked = finder.find(batch)
    assert [len(row.boxes) for row in together] == [1, 0, 1, 1]
    for image, row, other in zip(batch, together, chunked, strict=True):
        assert_same(row, finder.find([image])[0])
        assert_same(other, row)


def test_same_call_gives_same_bytes(finder: FaceFinder, astronaut: Image) -> None:
    batch = [astronaut, astronaut[::-1].copy()]
    first, again = finder.find(batch), FaceFinder(policy_of()).find(batch)
    assert [row.boxes.tobytes() for row in first] == [row.boxes.tobytes() for row in again]


def test_pictures_of_any_sizes_keep_their_order(finder: FaceFinder, astronaut: Image) -> None:
    small = astronaut[::2, ::2].copy()
    found = finder.find([small, astronaut, astronaut[:300, 80:400], small])
    assert [len(row.boxes) for row in found] == [1] * 4
    widths = [row.boxes[0, 2] - row.boxes[0, 0] for row in found]
    assert widths[0] == pytest.approx(widths[3], abs=PIXELS)
    assert widths[1] / widths[0] == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize("size", [(19, 200), (1, 1), (20, 20), (39, 39), (40, 40), (0, 10)])
def test_picture_too_small_for_a_face_has_none(finder: FaceFinder, size: tuple[int, int]) -> None:
    row = finder.find([np.full((*size, 3), 128, dtype=np.uint8)])[0]
    assert row.boxes.shape == (0, 4) and row.probabilities.shape == (0,) and row.points.shape == (0, 5, 2)


@pytest.mark.parametrize("size", range(12, 60, 7))
def test_every_smallest_face_size_takes_pictures_around_it(size: int) -> None:
    finder = FaceFinder(policy_of(min_face_size=size))
    noise = np.random.default_rng(0).integers(0, 256, (size + 1, size + 1, 3), dtype=np.uint8)
    assert len(finder.find([noise, noise[:-1, :-1], noise[:-2, :-2]])) == 3


def test_levels_are_those_of_facenet_pytorch_by_default() -> None:
    policy = policy_of(min_face_size=20)
    assert faces.scales(360, 480, policy) == pytest.approx([0.6 * 0.709**n for n in range(9)])
    assert faces.scales(19, 480, policy) == []


def test_smallest_face_grows_with_the_picture() -> None:
    policy = policy_of(min_face_size=20, min_face_share=0.125, factor=0.5)
    assert faces.scales(320, 480, policy) == [0.3, 0.15, 0.075, 0.0375]  # 40 pixels
    assert faces.scales(80, 120, policy) == [0.6, 0.3, 0.15]  # 20 pixels: an eighth would be 10


def test_fewer_boxes_of_one_face_go_on_with_a_smaller_overlap(astronaut: Image) -> None:
    policies = [policy_of(min_face_size=20, overlap=overlap) for overlap in (0.7, 0.5)]
    pictures = torch.from_numpy(astronaut)[None].permute(0, 3, 1, 2).float()
    levels = faces.scales(*astronaut.shape[:2], policies[0])
    with torch.inference_mode():
        many, few = (len(FaceFinder(p)._proposals(pictures, levels)[1]) for p in policies)
    assert 0 < few < 0.9 * many
    (row,), (same,) = (FaceFinder(p).find([astronaut]) for p in policies)
    assert len(row.boxes) == len(same.boxes) and np.abs(row.boxes[0] - same.boxes[0]).max() < 10


@pytest.mark.parametrize("size", [(24, 24), (48, 48), (100, 61)])
def test_bytes_and_floats_are_resized_alike(astronaut: Image, size: tuple[int, int]) -> None:
    pictures = torch.from_numpy(astronaut)[None].permute(0, 3, 1, 2)[:, :, 40:200, 150:300]
    as_bytes = faces.resize_pictures(pictures, size, "bilinear")
    as_floats = faces.resize_pictures(pictures.float(), size, "bilinear")
    torch.testing.assert_close(as_bytes.float(), as_floats, atol=1, rtol=0)  # a grey level


def test_fast_faces_do_not_depend_on_the_batch(astronaut: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = FaceFinder(policy_of(min_face_size=20, min_face_share=0.125, factor=0.5, resize="bilinear"))
    batch = [astronaut, np.zeros_like(astronaut), np.roll(astronaut, 40, axis=1), astronaut[:, ::-1]]
    together = fast.find(batch)
    assert [len(row.boxes) for row in together] == [1, 0, 1, 1]
    monkeypatch.setattr(faces, "CPU_PIXELS", 1)
    for row, alone in zip(together, fast.find(batch), strict=True):
        assert_same(row, alone)


def test_boxes_beyond_the_picture_are_left_out_and_those_across_its_edge_are_cut() -> None:
    picture = torch.arange(48.0).reshape(1, 3, 4, 4)
    boxes = torch.tensor([[-3.0, -3, 2, 2], [5, 1, 9, 3], [1, 1, 4, 4], [-4, -4, 0, 0]])
    crops, kept = faces.crop_boxes(picture, boxes, torch.zeros(4, dtype=torch.long), 2, "area")
    assert kept.tolist() == [0, 2]
    assert (crops[0, 0] * 128 + 127.5).tolist() == [[0, 1], [4, 5]]
    assert (crops[1, 0] * 128 + 127.5).tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_a_box_in_a_better_one_is_dropped() -> None:
    boxes = np.array([[0, 0, 99, 99], [10, 10, 49, 49], [200, 0, 299, 99]], np.float32)
    assert faces.suppress_covered(boxes, np.array([0.9, 0.8, 0.95], np.float32), 0.7) == [2, 0]
    assert faces.suppress_covered(boxes, np.array([0.8, 0.9, 0.95], np.float32), 0.7) == [2, 1]
    assert faces.suppress_covered(boxes[:0], np.empty(0, np.float32), 0.7) == []


@pytest.mark.parametrize("count", [1, 2, 10, 40])
def test_among_equally_probable_boxes_the_one_of_facenet_pytorch_wins(count: int) -> None:
    rng = np.random.default_rng(count)
    corners = rng.uniform(0, 60, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(20, 40, (count, 2))]).astype(np.float32)
    scores = rng.choice([0.9, 1.0], count).astype(np.float32)
    assert faces.suppress_covered(boxes, scores, 0.7) == nms_numpy(boxes, scores, 0.7, "Min").tolist()


def test_no_pictures_have_no_rows(finder: FaceFinder) -> None:
    assert finder.find([]) == []


def test_improbable_faces_are_dropped(astronaut: Image) -> None:
    assert len(FaceFinder(policy_of(min_probability=1)).find([astronaut])[0].boxes) == 0


def test_building_leaves_the_global_random_state() -> None:
    before = torch.random.get_rng_state()
    FaceFinder(policy_of())
    assert torch.equal(before, torch.random.get_rng_state())

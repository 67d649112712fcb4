"""The two M2FNet encoders do what docs/papers/m2fnet.md, sections 3.2 and 3.3, says; weights are random."""

import numpy as np
import pytest

from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.audio.mel_resnet18 import MelResnet18, MelResnet18Params
from extract.encoders.base import Encoded, Sample
from extract.encoders.visual.m2fnet_dual import M2fnetDual, M2fnetDualParams, face_crops, face_weights
from extract.media.types import Faces, Frame

RANDOM = Weights("made/none", random=0)
NOISE = np.random.default_rng(0).standard_normal(40_000).astype(np.float32) * 0.1


def frame(time: float, *boxes: tuple[float, float, float, float], seed: int = 0) -> Frame:
    image = np.random.default_rng(seed).integers(0, 255, (100, 120, 3), dtype=np.uint8)
    n = len(boxes)
    found = np.array(boxes, np.float32).reshape(n, 4)
    return Frame(time, image, Faces(found, np.full(n, 0.99, np.float32), np.zeros((n, 5, 2), np.float32)))


@pytest.fixture(scope="module")
def audio() -> MelResnet18:
    return MelResnet18(MelResnet18Params(), "cpu", RANDOM)


@pytest.fixture(scope="module")
def dual() -> M2fnetDual:
    return M2fnetDual(M2fnetDualParams(), "cpu", RANDOM)


def test_a_sound_gives_300_numbers_alone_or_among_others(audio: MelResnet18) -> None:
    samples = [Sample(sound=NOISE[:n]) for n in (800, 16_000, 40_000)]
    together = audio.encode(samples)
    for sample, found in zip(samples, together, strict=True):
        (alone,) = audio.encode([sample])
        assert isinstance(alone, Encoded) and isinstance(found, Encoded)
        a, b = alone.arrays["embedding"], found.arrays["embedding"]
        assert a.shape == (1, 300) and a.dtype == np.float32
        assert np.abs(a - b).max() <= 1e-5 * max(1, np.abs(a).max())
    assert [r.frames for r in together if isinstance(r, Encoded)] == [6, 101, 251]


def test_short_silent_and_absent_sounds(audio: MelResnet18) -> None:
    short, silent, absent, empty = audio.encode(
        [
            Sample(sound=NOISE[:50]),
            Sample(sound=np.zeros(16_000, np.float32)),
            Sample(),
            Sample(sound=NOISE[:0]),
        ]
    )
    assert isinstance(short, Encoded) and short.arrays["embedding"].shape == (1, 300)
    reasons = [r.reason for r in (silent, absent, empty) if isinstance(r, Missing)]
    assert reasons == [Reason.SILENT, Reason.NO_AUDIO, Reason.NO_AUDIO]
    strict = MelResnet18(MelResnet18Params(pad=False), "cpu", RANDOM)
    (refused,) = strict.encode([Sample(sound=NOISE[:399])])
    assert isinstance(refused, Missing) and refused.reason == Reason.TOO_SHORT


def test_the_encoders_output_below_the_projector_is_a_switch() -> None:
    params = MelResnet18Params(embed="encoder")
    (found,) = MelResnet18(params, "cpu", RANDOM).encode([Sample(sound=NOISE[:1600])])
    assert isinstance(found, Encoded) and found.arrays["embedding"].shape == (1, 512)
    assert MelResnet18.arrays(params)[0].shape == (512,)


def test_weights_of_faces_are_their_shares_of_the_area() -> None:
    """docs/papers/m2fnet.md, section 11, item 9."""
    areas, crops = face_crops(frame(0, (0, 0, 40, 40), (50, 50, 70, 70)))
    image = np.zeros((100, 120, 3), np.uint8)
    assert face_weights(areas, image, "sum").tolist() == pytest.approx([0.8, 0.2])
    assert face_weights(areas, image, "max").tolist() == pytest.approx([1, 0.25])
    assert face_weights(areas, image, "frame").tolist() == pytest.approx([1600 / 12000, 400 / 12000])
    assert [c.shape[:2] for c in crops] == [(44, 44), (24, 24)], "10 % on each side, inside the picture"
    clipped, _ = face_crops(frame(0, (-20, 0, 20, 40)))
    assert clipped.tolist() == [800], "the area of what lies inside the picture, without the margin"


def test_faces_are_summed_by_area_and_the_maximum_passes_over_pictures_without_any(
    dual: M2fnetDual, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = {(44, 44): (1.0, -0.5), (24, 24): (0.0, 1.0), (36, 36): (0.1, 0.9)}

    def embedded(images: list[np.ndarray]) -> np.ndarray:
        return np.array([vectors[image.shape[:2]] for image in images], np.float32)

    monkeypatch.setattr(dual, "_embed", embedded)
    frames = [frame(0, (0, 0, 40, 40), (50, 50, 70, 70)), frame(1), frame(2, (20, 20, 50, 50))]
    assert dual._faces(frames)[0].tolist() == pytest.approx([0.8, 0.9])
    assert dual._faces(frames[:2])[0].tolist() == pytest.approx([0.8, -0.2]), (
        "a faceless picture lifts nothing to 0"
    )
    assert dual._faces(frames[1:2]).shape == (0, 300)


def test_scene_and_face_are_two_arrays_and_a_clip_without_faces_has_no_face_row(dual: M2fnetDual) -> None:
    with_faces, without, none = dual.encode(
        [
            Sample(frames=(frame(0, (10, 10, 60, 60)), frame(0.04, seed=1))),
            Sample(frames=(frame(0),)),
            Sample(),
        ]
    )
    assert isinstance(with_faces, Encoded) and isinstance(without, Encoded) and isinstance(none, Missing)
    assert {n: a.shape for n, a in with_faces.arrays.items()} == {"scene": (1, 300), "face": (1, 300)}
    assert {n: a.shape for n, a in without.arrays.items()} == {"scene": (1, 300), "face": (0, 300)}
    assert none.reason == Reason.NO_VIDEO
    scenes = [dual.encode([Sample(frames=(f,))])[0] for f in (frame(0), frame(0.04, seed=1))]
    highest = np.maximum(*(s.arrays["scene"] for s in scenes if isinstance(s, Encoded)))
    assert np.abs(with_faces.arrays["scene"] - highest).max() < 1e-5


def test_parts_are_a_switch() -> None:
    faces = M2fnetDualParams(parts=("face",))
    assert [(a.name, a.kind) for a in M2fnetDual.arrays(faces)] == [("face", "vector")]
    assert [(a.name, a.kind) for a in M2fnetDual.arrays(M2fnetDualParams())] == [
        ("scene", "vector"),
        ("face", "optional"),
    ]
    (found,) = M2fnetDual(faces, "cpu", RANDOM).encode([Sample(frames=(frame(0),))])
    assert isinstance(found, Missing) and found.reason == Reason.NO_FACE
    assert not M2fnetDual.input(M2fnetDualParams(parts=("scene",))).faces
    asked = M2fnetDual.input(M2fnetDualParams()).pictures
    assert asked is not None and (asked.count, asked.rule) == (15, "middle")

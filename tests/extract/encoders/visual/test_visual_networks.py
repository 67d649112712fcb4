"""Visual encoders: the network with the published tensors on pictures prepared as its authors do."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

from ercache.errors import WeightsError
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders import ENCODERS
from extract.encoders.base import Encoded, Sample
from extract.encoders.visual.back_frames import GREY, fill_faces
from extract.encoders.visual.imagenet import ENTRIES as IMAGENETS
from extract.encoders.visual.imagenet import ImageNetKind, current_name
from extract.encoders.visual.vision_transformers import (
    CLIP_CONFIG,
    TORCHVISION,
    VIT_B16,
    build_clip,
    build_vit,
)
from extract.media.types import Frame
from tests.support.tiny_visual import FACE, PHOTO, POINTS, Shelf, clip, found, shelf

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CASES: dict[str, dict[str, Any]] = {  # checkpoint -> its encoder, and params that show all arrays
    "clip": {"key": "visual/clip-b32"},
    "dan": {"key": "visual/dan", "sequence": True},
    "efficientface": {"key": "visual/efficientface"},
    "facenet": {"key": "visual/facenet"},
    "jaa-net": {"key": "visual/jaa-net"},
    "resnet18": {"key": "visual/resnet18"},
    "vit": {"key": "visual/vit-b16", "weights": "vit-base-in21k"},
}


@pytest.fixture(scope="module")
def shelf_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with shelf(tmp_path_factory.mktemp("weights")) as made:
        yield made


def built(shelf_of_tests: Shelf, name: str, /, **params: Any) -> Any:
    case = {**CASES[name], **params}
    return shelf_of_tests.encoder(case.pop("key"), name, **case)


def specs_of(name: str, /, **params: Any) -> Any:
    case = {**CASES[name], **params}
    kind = ENCODERS[case.pop("key")]
    return kind.arrays(kind.Params(**case))


def standard(image: NDArray[np.uint8], side: int, statistics: Any = IMAGENET) -> Tensor:
    """PIL's bilinear resize of the whole, then the statistics, [1, 3, side, side]."""
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    return functional.normalize(functional.to_tensor(picture), *statistics)[None]


def forward(network: Any, x: Tensor) -> Any:
    with torch.inference_mode():
        return network(x)


@pytest.mark.parametrize("name", CASES)
def test_networks_give_the_declared_arrays_alone_in_a_batch_and_again(
    shelf_of_tests: Shelf, name: str
) -> None:
    encoder, specs = built(shelf_of_tests, name), specs_of(name)
    samples = [clip(1), Sample(), clip(3)]
    batch = encoder.encode(samples)
    assert isinstance(batch[1], Missing) and batch[1].reason == Reason.NO_VIDEO
    for sample, together in ((samples[0], batch[0]), (samples[2], batch[2])):
        alone = encoder.encode([sample])[0]
        assert isinstance(together, Encoded) and together.frames == len(sample.frames) == alone.frames
        for spec in specs:
            values, own = together.arrays[spec.name], alone.arrays[spec.name]
            rows = 1 if spec.kind == "vector" else len(sample.frames)
            assert values.shape == (rows, *spec.shape) and values.dtype == np.dtype(spec.dtype)
            assert np.isfinite(values).all()
            assert np.abs(values - own).max() <= 1e-5 * max(1, np.abs(own).max())
        assert set(together.arrays) == {spec.name for spec in specs}
    again = encoder.encode(samples)
    for spec in specs:
        assert again[2].arrays[spec.name].tobytes() == batch[2].arrays[spec.name].tobytes()
    assert float(batch[2].arrays["frames"].std(axis=0).max()) > 0  # pictures are told apart


@pytest.mark.parametrize("name", ["dan", "efficientface", "facenet", "jaa-net"])
def test_a_clip_without_a_usable_face_is_missing(shelf_of_tests: Shelf, name: str) -> None:
    encoder = built(shelf_of_tests, name)
    faceless_clip = clip(2, found(), found())
    tiny = Sample(frames=(Frame(0, np.zeros((3, 3, 3), np.uint8), found()),))
    for result in encoder.encode([faceless_clip, tiny]):
        assert isinstance(result, Missing) and result.reason == Reason.NO_FACE
    if name != "jaa-net":  # which aligns by the points, wherever the box lies
        outside = clip(1, found((900.0, 900.0, 990.0, 990.0)))
        assert encoder.encode([outside])[0].reason == Reason.NO_FACE


@pytest.mark.parametrize("name", ["dan", "facenet", "jaa-net"])
def test_rows_name_the_pictures_that_they_are_of(shelf_of_tests: Shelf, name: str) -> None:
    encoder = built(shelf_of_tests, name)
    result = encoder.encode([clip(3, found(), found(FACE), found(FACE))])[0]
    assert result.frames == 2 and result.arrays["positions"].tolist() == [[1], [2]]
    assert result.arrays["boxes"].tolist() == [list(FACE)] * 2
    np.testing.assert_allclose(
        result.arrays["pooled"][0], result.arrays["frames"].mean(axis=0), rtol=1e-5, atol=1e-6
    )


def test_dan_gives_pooled_trunk_and_fused_heads_of_the_square_about_the_face(shelf_of_tests: Shelf) -> None:
    rows = {
        form: built(shelf_of_tests, "dan", visual_feature=form).encode([clip(1)])[0].arrays["pooled"][0]
        for form in ("gap_plus_fused", "gap", "fused", "heads")
    }
    crop = PHOTO[47:203, 147:303]  # 110 x 130 about (225, 125): a square of 130, and a fifth more
    told = forward(shelf_of_tests["dan"].network, standard(crop, 224))
    gap, fused = told.features.mean((2, 3))[0].numpy(), told.heads.sum(1)[0].numpy()
    np.testing.assert_allclose(rows["gap"], gap, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows["fused"], fused, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(rows["gap_plus_fused"], np.concatenate([rows["gap"], rows["fused"]]))
    np.testing.assert_allclose(rows["heads"].reshape(4, 512).sum(0), rows["fused"], rtol=1e-4)


def test_efficientface_sees_the_rounded_box_under_affectnets_statistics(shelf_of_tests: Shelf) -> None:
    box = (169.6, 60.4, 280.4, 189.6)  # rounds to FACE
    network = shelf_of_tests["efficientface"].network
    affectnet = ((0.55391484, 0.43522123, 0.3821877), (0.24837189, 0.21625527, 0.20221159))
    plain = ((0, 0, 0), (1, 1, 1))
    crop = PHOTO[60:190, 170:280]
    for params, given, statistics in (
        ({}, crop, affectnet),
        ({"video_normalize": "none"}, crop, plain),
        ({"video_normalize": "none", "channels": "bgr"}, crop[..., ::-1].copy(), plain),
    ):
        encoder = built(shelf_of_tests, "efficientface", **params)
        row = encoder.encode([clip(1, found(box))])[0].arrays["frames"][0]
        expected = forward(network, standard(given, 224, statistics))[0].numpy()
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-6)


def test_facenet_crops_and_scales_as_facenet_pytorch_does(shelf_of_tests: Shelf) -> None:
    from facenet_pytorch.models.mtcnn import fixed_image_standardization
    from facenet_pytorch.models.utils.detect_face import extract_face

    box = (170.7, 60.2, 280.9, 190.8)
    face = fixed_image_standardization(extract_face(Image.fromarray(PHOTO), list(box)))
    expected = forward(shelf_of_tests["facenet"].network, face[None])[0].numpy()
    row = built(shelf_of_tests, "facenet").encode([clip(1, found(box))])[0].arrays["frames"][0]
    np.testing.assert_allclose(row, expected, atol=1e-5)
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


def test_jaa_net_weighs_faces_by_area_and_keeps_units_and_landmarks(shelf_of_tests: Shelf) -> None:
    other = tuple((x + 60, y + 20) for x, y in POINTS)
    large, small = found(FACE), found((230.0, 80.0, 285.0, 145.0), points=other)
    both = found(FACE, (230.0, 80.0, 285.0, 145.0))
    both.points[1] = small.points[0]
    encoder = built(shelf_of_tests, "jaa-net")
    one, two, all_of_it = (encoder.encode([clip(1, f)])[0].arrays for f in (large, small, both))
    weight = 110 * 130 / (110 * 130 + 55 * 65)
    expected = weight * one["frames"] + (1 - weight) * two["frames"]
    np.testing.assert_allclose(all_of_it["frames"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(all_of_it["frames"][:, 512:], all_of_it["probabilities"])
    np.testing.assert_allclose(all_of_it["landmarks"], one["landmarks"], atol=1e-3)
    largest = built(shelf_of_tests, "jaa-net", faces_of="largest").encode([clip(1, both)])[0].arrays
    np.testing.assert_allclose(largest["frames"], one["frames"], atol=1e-5)
    units = built(shelf_of_tests, "jaa-net", face_feature="au").encode([clip(1, both)])[0].arrays
    np.testing.assert_array_equal(units["frames"], units["probabilities"])
    assert units["pooled"].shape == (1, 12)


def test_jaa_net_is_its_network_on_the_aligned_face(shelf_of_tests: Shelf) -> None:
    from extract.encoders.visual.jaa_align import align_crop, alignment_matrix

    matrix = alignment_matrix(np.array(POINTS, np.float32))
    assert matrix is not None
    crop = torch.tensor(align_crop(PHOTO, matrix)).permute(2, 0, 1)[None].float()
    told = forward(shelf_of_tests["jaa-net"].network, (crop / 255 - 0.5) / 0.5)
    arrays = built(shelf_of_tests, "jaa-net").encode([clip(1)])[0].arrays
    np.testing.assert_allclose(arrays["frames"][0, :512], told.hidden[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(arrays["probabilities"][0], told.probabilities[0], atol=1e-5)
    there = arrays["landmarks"][0] @ matrix[:, :2].T + matrix[:, 2]  # back into the crop
    np.testing.assert_allclose(there, told.landmarks[0], atol=1e-2)


def test_resnet18_has_torchvisions_transform_on_scenes_and_the_whole_of_faces(shelf_of_tests: Shelf) -> None:
    network, wide = shelf_of_tests["resnet18"].network, np.ascontiguousarray(PHOTO[:300])  # 300 x 512
    sample = Sample(frames=(Frame(0, wide, found(FACE)),))
    middle = Image.fromarray(wide).resize((int(256 * 512 / 300), 256), Image.Resampling.BILINEAR)
    x = functional.normalize(functional.to_tensor(functional.center_crop(middle, [224])), *IMAGENET)[None]
    scene = built(shelf_of_tests, "resnet18").encode([sample])[0].arrays["frames"]
    np.testing.assert_allclose(scene, forward(network, x), rtol=1e-4, atol=1e-5)
    whole = built(shelf_of_tests, "resnet18", centre_crop=False).encode([sample])[0].arrays["frames"]
    np.testing.assert_allclose(whole, forward(network, standard(wide, 224)), rtol=1e-4, atol=1e-5)
    face = built(shelf_of_tests, "resnet18", region="face", margin=0.0).encode([sample])[0].arrays
    crop = standard(wide[60:190, 160:290], 224)
    np.testing.assert_allclose(face["frames"], forward(network, crop), rtol=1e-4, atol=1e-5)
    assert face["positions"].tolist() == [[0]]


@pytest.mark.parametrize("name", ["clip", "resnet18", "vit"])
def test_scenes_of_one_pixel_or_of_a_strip_are_encoded(shelf_of_tests: Shelf, name: str) -> None:
    shapes = ((1, 1, 3), (2, 400, 3))
    frames = tuple(Frame(n, np.zeros(shape, np.uint8)) for n, shape in enumerate(shapes))
    result = built(shelf_of_tests, name).encode([Sample(frames=frames)])[0]
    assert result.frames == 2 and np.isfinite(result.arrays["frames"]).all()


def test_google_vit_is_transformers_class_token(shelf_of_tests: Shelf) -> None:
    x = standard(PHOTO, 224, ((0.5,) * 3, (0.5,) * 3))
    expected = forward(shelf_of_tests["vit"].network, x).last_hidden_state[:, 0]
    row = built(shelf_of_tests, "vit").encode([clip(1)])[0].arrays["frames"]
    np.testing.assert_allclose(row, expected, atol=1e-5)


def test_clip_is_transformers_own_on_its_own_preprocessing(shelf_of_tests: Shelf) -> None:
    wide = np.ascontiguousarray(PHOTO[:300])
    resized = Image.fromarray(wide).resize((int(224 * 512 / 300), 224), Image.Resampling.BICUBIC)
    statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    x = functional.normalize(functional.to_tensor(functional.center_crop(resized, [224])), *statistics)[None]
    network = shelf_of_tests["clip"].network
    with torch.inference_mode():
        hidden = network.vision_model(x).pooler_output
        projected = network.visual_projection(hidden)
    sample = Sample(frames=(Frame(0, wide),))
    for vector, expected in (("projected", projected), ("hidden", hidden)):
        row = built(shelf_of_tests, "clip", vector=vector).encode([sample])[0].arrays["frames"]
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_back_frames_have_the_mean_in_place_of_every_face() -> None:
    frame = Frame(0.5, PHOTO, found((10.5, 20.5, 30.2, 40.2), (500.0, -5.0, 530.0, 4.0)))
    image = fill_faces(frame).image
    assert (image[20:41, 10:31] == GREY).all() and (image[:4, 500:] == GREY).all()
    changed = (image != PHOTO).any(axis=2)
    assert not changed[:20, :500].any() and not changed[41:].any() and not changed[:, 31:500].any()
    assert not (PHOTO[20:41, 10:31] == GREY).all()  # the decoder's picture stays as it is


def test_back_frames_have_a_row_each_with_or_without_faces() -> None:
    kind = ENCODERS["visual/back-resnet50"]
    encoder = kind(kind.Params(), "cpu", Weights("resnet50", random=0))
    plain, faces, none = encoder.encode([clip(1, found()), clip(1), Sample()])
    assert plain.arrays["frames"].shape == (1, 2048) and none.reason == Reason.NO_VIDEO
    assert np.abs(plain.arrays["frames"] - faces.arrays["frames"]).max() > 0
    asked = kind.input(kind.Params())
    assert asked.pictures is not None and asked.pictures.rule == "keys" and asked.faces


def test_face_crops_are_bytes_and_every_picture_has_a_face_once_any_has() -> None:
    kind = ENCODERS["visual/face-crops"]
    moved = (200.0, 60.0, 310.0, 190.0)
    result = kind(kind.Params()).encode([clip(4, found(), found(FACE), found(), found(moved))])[0]
    assert result.arrays["boxes"].tolist() == [list(FACE), list(FACE), list(FACE), list(moved)]
    third = np.roll(PHOTO, 2, axis=1)[60:190, 170:280]
    expected = np.array(Image.fromarray(third).resize((224, 224), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(result.arrays["crops"][2], expected)
    asked = kind.input(kind.Params()).pictures
    assert asked is not None and (asked.count, asked.window) == (15, 3.6)


def test_networks_have_the_sizes_of_their_papers() -> None:
    def parameters(network: Any) -> int:
        return sum(p.numel() for p in network.parameters())

    heads = {"resnet18": 513 * 1000, "resnet50": 2049 * 1000, "swin_t": 769 * 1000, "swin_b": 1025 * 1000}
    whole = {"resnet18": 11_689_512, "resnet50": 25_557_032, "swin_t": 28_288_354, "swin_b": 87_768_224}
    with torch.device("meta"):
        for kind in IMAGENETS:
            assert parameters(kind.headless()) == whole[kind.model] - heads[kind.model]
        assert parameters(TORCHVISION.headless()) == 86_567_656 - 769 * 1000
        assert parameters(build_clip(CLIP_CONFIG)) == 87_849_216
        assert parameters(build_vit({})) == 85_798_656


def test_the_published_vit_of_torchvision_has_older_names() -> None:
    with torch.device("meta"):
        names = set(TORCHVISION.headless().state_dict())
    older = {n.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2.") for n in names}
    assert older != names and set(map(current_name, older)) == names


def test_pyfeat_says_why_it_cannot_run() -> None:
    kind = ENCODERS["visual/pyfeat-au"]
    with pytest.raises(WeightsError) as caught:
        kind(kind.Params())
    assert "skops" in (caught.value.hint or "") and kind.spec.unavailable


@pytest.mark.full
@pytest.mark.parametrize(
    ("key", "width"),
    [
        ("visual/back-resnet50", 2048),
        ("visual/clip-b32", 512),
        ("visual/dan", 1024),
        ("visual/efficientface", 1024),
        ("visual/facenet", 512),
        ("visual/jaa-net", 524),
        ("visual/resnet18", 512),
        ("visual/resnet50", 2048),
        ("visual/swin-b", 1024),
        ("visual/swin-t", 768),
        ("visual/vit-b16", 768),
    ],
)
def test_full_networks_give_their_width_alone_and_in_a_batch(key: str, width: int) -> None:
    kind = ENCODERS[key]
    params = kind.Params()
    encoder = kind(params, "cpu", Weights(getattr(params, "weights", str(kind.spec.weights)), random=3))
    samples = [clip(1), clip(4)]
    for sample, together in zip(samples, encoder.encode(samples), strict=True):
        alone = encoder.encode([sample])[0].arrays["pooled"]
        assert together.arrays["pooled"].shape == (1, width)
        assert np.abs(together.arrays["pooled"] - alone).max() <= 1e-5 * max(1, np.abs(alone).max())


@pytest.mark.full
@pytest.mark.parametrize("kind", [*IMAGENETS, TORCHVISION], ids=lambda kind: kind.model)
def test_torchvisions_own_network_gives_what_its_head_sees(kind: ImageNetKind, tmp_path: Any) -> None:
    from torchvision import models

    from tests.support.checkpoints import tiny_checkpoint

    torch.manual_seed(0)
    network = models.get_model(kind.model, weights=None).eval()
    path = tmp_path / "net.pth"
    torch.save(network.state_dict(), path)
    seen: list[Tensor] = []
    network.get_submodule(kind.head).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    forward(
        network,
        models.get_model_weights(kind.model)[kind.pretrained_on].transforms()(Image.fromarray(PHOTO))[None],
    )
    registered = VIT_B16 if kind is TORCHVISION else kind
    with tiny_checkpoint("own", tmp_path, path):
        row = registered(registered.Params(), "cpu", Weights("own")).encode([clip(1)])[0].arrays["frames"]
    np.testing.assert_allclose(row, seen[0], rtol=1e-4, atol=1e-5)

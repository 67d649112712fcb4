"""Encoders with vision transformers, for whole pictures or faces: ViT-B/16, and the picture network of CLIP.

Source: docs/encoders.md#imagenet-networks-and-clip.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.nets.vit_names import vit_name
from ercache.weights import Weights
from extract.encoders.audio.mel_vit import CONFIGS
from extract.encoders.base import Encoder, EncoderSpec, Input
from extract.encoders.visual.cropping import Image
from extract.encoders.visual.imagenet import (
    ImageNetKind,
    PictureEncoder,
    PictureParams,
    Prepare,
    picture_input,
)
from extract.encoders.visual.picture_rows import Statistics, row_arrays, to_tensor

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE: Final = 224
CLIP_WIDTHS: Final = {"projected": 512, "hidden": 768}
CENTRED: Final[Statistics] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP_STATISTICS: Final[Statistics] = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
CLIP_CONFIG: Final[dict[str, Any]] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "patch_size": 32,
    "projection_dim": 512,
}
CLIP_UNUSED: Final = (
    "text_model.",
    "text_projection.",
    "logit_scale",
    "vision_model.embeddings.position_ids",  # a constant in older files
)


class VitParams(PictureParams):
    """Parameters of `visual/vit-b16`, in addition to those that all image networks have (`PictureParams`).

    Attributes:
        weights: checkpoint: `vit-b16` (by torchvision, trained on ImageNet-1k), or `vit-base-in21k` (by Google, trained
            on 21,843 classes), for which whole pictures are resized and `centre_crop` has no effect.
    """

    weights: Literal["vit-b16", "vit-base-in21k"] = "vit-b16"


class ClipParams(PictureParams):
    """Parameters of `visual/clip-b32`, in addition to those that all image networks have (`PictureParams`).

    Attributes:
        vector: which vector is kept: CLIP's final one, which can be compared with vectors of texts (`projected`, 512
            values), or the class token before the last projection (`hidden`, 768 values).
    """

    vector: Literal["projected", "hidden"] = "projected"


@dataclass(frozen=True)
class VitKind:
    """An entry of the encoder registry for ViT-B/16, which gives 768 values per picture: the final class token."""

    spec: EncoderSpec
    Params: ClassVar[type[BaseModel]] = VitParams

    def input(self, params: VitParams, /) -> Input:
        """Declare which input the encoder needs: pictures, and the faces in them if `region` is `face`."""
        return picture_input(params)

    def arrays(self, params: VitParams, /) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, 768], the mean over the pictures; with the param `sequence` also `frames` [T, 768].

        `frames` has one row for each of T encoded pictures. With `region: face`, `positions` [T, 1] (index of the row's
        picture in the clip) and `boxes` [T, 4] (face box in pixels) are added.
        """
        return row_arrays(TORCHVISION.width, params.sequence, params.region == "face")

    def __call__(self, params: VitParams, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Load the network's checkpoint and build the encoder on a device."""
        if params.weights == "vit-b16":
            return TORCHVISION(params, device, weights)
        handle = weights or Weights(params.weights)
        config = handle.config(CONFIGS[params.weights])
        network: Any = handle.network(
            lambda: build_vit(config), strip=("vit.",), drop=("pooler.", "classifier."), rename=vit_name
        ).to(device)
        prepare = prepare_by("bilinear", CENTRED, cropped=False)  # its own transform has no crop
        return PictureEncoder(params, device, lambda x: network(x).last_hidden_state[:, 0], prepare)


@dataclass(frozen=True)
class ClipKind:
    """An entry of the encoder registry for the picture network of CLIP, whose vectors are not scaled to length 1."""

    spec: EncoderSpec
    Params: ClassVar[type[BaseModel]] = ClipParams

    def input(self, params: ClipParams, /) -> Input:
        """Declare which input the encoder needs: pictures, and the faces in them if `region` is `face`."""
        return picture_input(params)

    def arrays(self, params: ClipParams, /) -> tuple[ArraySpec, ...]:
        """Declare `pooled` [1, width], the mean over the pictures; with the param `sequence` also `frames` [T, width].

        `frames` has one row for each of T encoded pictures. With `region: face`, `positions` [T, 1] (index of the row's
        picture in the clip) and `boxes` [T, 4] (face box in pixels) are added. The width is 512 with `vector:
        projected`, and 768 with `vector: hidden`.
        """
        return row_arrays(CLIP_WIDTHS[params.vector], params.sequence, params.region == "face")

    def __call__(self, params: ClipParams, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Load the network's checkpoint and build the encoder on a device."""
        handle = weights or Weights(str(self.spec.weights))
        config = handle.config({"vision_config": CLIP_CONFIG})["vision_config"]
        network: Any = handle.network(lambda: build_clip(config), drop=CLIP_UNUSED).to(device)

        def vectors(pictures: "Tensor") -> "Tensor":
            output = network(pictures)
            if params.vector == "projected":
                projected: Tensor = output.image_embeds
                return projected
            hidden: Tensor = network.vision_model.post_layernorm(output.last_hidden_state[:, 0])
            return hidden

        prepare = prepare_by("bicubic", CLIP_STATISTICS, params.cropped)
        return PictureEncoder(params, device, vectors, prepare)


def build_vit(config: dict[str, Any]) -> "nn.Module":
    """Build Google's ViT from its config, without the pooler (85,798,656 parameters in base size)."""
    from transformers.models.vit.configuration_vit import ViTConfig
    from transformers.models.vit.modeling_vit import ViTModel

    network: nn.Module = ViTModel(ViTConfig.from_dict(config), add_pooling_layer=False)
    return network


def build_clip(config: dict[str, Any]) -> "nn.Module":
    """Build CLIP's picture network from its config, with the last projection (87,849,216 parameters for ViT-B/32)."""
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    network: nn.Module = CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))
    return network


def prepare_by(how: str, statistics: Statistics, cropped: bool) -> Prepare:
    """Return a function that turns a picture into a network's input [3, 224, 224].

    Args:
        how: name of the interpolation for resizing, such as `bicubic`.
        statistics: mean and standard deviation of each colour channel, for normalisation.
        cropped: True resizes the shorter side to 224 and keeps the centre; False resizes the whole picture.
    """
    from PIL import Image as Pillow
    from torchvision.transforms import functional

    mode = functional.InterpolationMode(how)

    def prepare(image: Image) -> "Tensor":
        picture = functional.resize(Pillow.fromarray(image), [SIDE] if cropped else [SIDE, SIDE], mode)
        return to_tensor(np.array(functional.center_crop(picture, [SIDE, SIDE])), statistics)

    return prepare


TORCHVISION: Final = ImageNetKind(
    EncoderSpec(
        "visual/vit-b16",
        "visual",
        "ViT-B/16, ImageNet",
        "equal",
        1,
        "BSD-3-Clause; Apache-2.0 (in21k)",
        weights="vit-b16",
        paper="Dosovitskiy et al. 2021, arXiv 2010.11929",
    ),
    "vit_b_16",
    "IMAGENET1K_V1",
    "heads",
    768,
)
VIT_B16: Final = VitKind(TORCHVISION.spec)
CLIP_B32: Final = ClipKind(
    EncoderSpec(
        "visual/clip-b32",
        "visual",
        "CLIP ViT-B/32, pictures",
        "equal",
        1,
        "MIT",
        weights="clip-b32",
        paper="Radford et al. 2021, arXiv 2103.00020",
    )
)
ENTRIES: Final = (VIT_B16, CLIP_B32)

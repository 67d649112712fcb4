"""Vision transformers on scenes or faces: ViT-B/16 of torchvision or Google, and CLIP's.

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
    """Parameters of `visual/vit-b16`, in addition to those of the pictures.

    Attributes:
        weights: torchvision's, trained on ImageNet-1k, or Google's, trained on 21,843 classes; the latter has no crop.
    """

    weights: Literal["vit-b16", "vit-base-in21k"] = "vit-b16"


class ClipParams(PictureParams):
    """Parameters of `visual/clip-b32`, in addition to those of the pictures.

    Attributes:
        vector: the vector in the space shared with texts (512), or the class token before the projection (768).
    """

    vector: Literal["projected", "hidden"] = "projected"


@dataclass(frozen=True)
class VitKind:
    """ViT-B/16 as a registry entry: the class token after the last norm, 768 dimensions."""

    spec: EncoderSpec
    Params: ClassVar[type[BaseModel]] = VitParams

    def input(self, params: VitParams, /) -> Input:
        """Pictures, with their faces if these are encoded."""
        return picture_input(params)

    def arrays(self, params: VitParams, /) -> tuple[ArraySpec, ...]:
        """`pooled`, with `sequence` also `frames`."""
        return row_arrays(TORCHVISION.width, params.sequence, params.region == "face")

    def __call__(self, params: VitParams, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Build an encoder."""
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
    """CLIP's picture network as a registry entry; vectors are not normalised."""

    spec: EncoderSpec
    Params: ClassVar[type[BaseModel]] = ClipParams

    def input(self, params: ClipParams, /) -> Input:
        """Pictures, with their faces if these are encoded."""
        return picture_input(params)

    def arrays(self, params: ClipParams, /) -> tuple[ArraySpec, ...]:
        """`pooled`, with `sequence` also `frames`."""
        return row_arrays(CLIP_WIDTHS[params.vector], params.sequence, params.region == "face")

    def __call__(self, params: ClipParams, device: str = "cpu", weights: Weights | None = None) -> Encoder:
        """Build an encoder."""
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
    """Build Google's ViT without its pooler; 85,798,656 parameters in base size."""
    from transformers.models.vit.configuration_vit import ViTConfig
    from transformers.models.vit.modeling_vit import ViTModel

    network: nn.Module = ViTModel(ViTConfig.from_dict(config), add_pooling_layer=False)
    return network


def build_clip(config: dict[str, Any]) -> "nn.Module":
    """Build CLIP's picture network with its projection; 87,849,216 parameters in full size."""
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    network: nn.Module = CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))
    return network


def prepare_by(how: str, statistics: Statistics, cropped: bool) -> Prepare:
    """Return a transform to 224 x 224 that crops the longer side's centre (`cropped`) or resizes the whole picture."""
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

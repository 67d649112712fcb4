"""Single layers of published transformers, frozen: BERT's and ViT's last ones, between which Cues exchanges bridges.

The layers are transformers' own; only those that are wanted are built and read.
"""

from typing import Any, Literal

from torch import Tensor, nn

from ercache.nets.vit_names import vit_name
from ercache.weights import Weights

Kind = Literal["bert", "vit"]


class UpperLayers(nn.Module):
    """Some layers of a transformer, and for ViT the norm after its last one; never trained, always in eval mode.

    Args:
        depth: layers of the whole network; numbers: which of them these are.
    """

    def __init__(self, kind: Kind, width: int, heads: int, depth: int, numbers: tuple[int, ...]) -> None:
        super().__init__()
        self.kind, self.numbers, self.depth = kind, numbers, depth
        sizes: dict[str, Any] = {
            "hidden_size": width,
            "num_attention_heads": heads,
            "intermediate_size": 4 * width,
        }
        if kind == "bert":
            from transformers.models.bert.configuration_bert import BertConfig
            from transformers.models.bert.modeling_bert import BertLayer

            config: Any = BertConfig(**sizes)
            layer: Any = BertLayer
        else:
            from transformers.models.vit.configuration_vit import ViTConfig
            from transformers.models.vit.modeling_vit import ViTLayer

            config, layer = ViTConfig(**sizes), ViTLayer
            self.layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        config._attn_implementation = "sdpa"
        self.layers = nn.ModuleDict({str(n): layer(config) for n in numbers})
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "UpperLayers":
        """Stay in eval mode: what is frozen drops nothing out."""
        return super().train(False)

    def forward(self, number: int, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Layer `number` on [N, T, width]; steps where `valid` (bool [N, T]) is False are seen by none."""
        mask = None if valid is None else valid[:, None, None]
        y: Tensor = self.layers[str(number)](x, mask)
        return y

    def load(self, checkpoint: str) -> None:
        """Take the tensors of a checkpoint.

        Raises:
            WeightsError: it is absent, damaged or another network's.
        """
        others = tuple(f"layers.{n}." for n in range(self.depth) if n not in self.numbers)
        left = ("embeddings.", "pooler.", "cls.", *(("layernorm.",) if self.kind == "bert" else ()), *others)
        rename = vit_name if self.kind == "vit" else lambda name: name.replace("encoder.layer.", "layers.")
        Weights(checkpoint).network(lambda: self, strip=("bert.", "vit."), rename=rename, drop=left)
        self.requires_grad_(False)

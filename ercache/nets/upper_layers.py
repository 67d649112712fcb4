"""Single layers of a published BERT or ViT, with frozen weights, for the fusion model Cues.

Cues places its cross-modal bridges between these layers. Their classes come from transformers. Only the layers that
Cues uses are built and loaded.
"""

from typing import Any, Literal

from torch import Tensor, nn

from ercache.nets.vit_names import vit_name
from ercache.weights import Weights

Kind = Literal["bert", "vit"]


class UpperLayers(nn.Module):
    """Some layers of a published BERT or ViT, frozen and always in eval mode. For a ViT, the final norm is included.

    Args:
        kind: architecture, `bert` or `vit`.
        width, heads: size of the states, and number of attention heads per layer.
        depth: number of layers of the whole published network.
        numbers: indices of the layers to build, counted from 0.
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
        """Stay in eval mode, whatever `mode` says, so that the frozen layers apply no dropout."""
        return super().train(False)

    def forward(self, number: int, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Run one frozen transformer layer on the states of N sequences.

        Args:
            number: index of the layer in the published network, one of `numbers`.
            x: states of T steps, [N, T, width].
            valid: bool mask [N, T]; attention ignores the steps where it is False. None means that all steps are valid.

        Returns:
            New states, [N, T, width].
        """
        mask = None if valid is None else valid[:, None, None]
        y: Tensor = self.layers[str(number)](x, mask)
        return y

    def load(self, checkpoint: str) -> None:
        """Load the weights of the selected layers from a checkpoint.

        Args:
            checkpoint: key in the table of checkpoints.

        Raises:
            WeightsError: the checkpoint is absent, damaged, or of another network.
        """
        others = tuple(f"layers.{n}." for n in range(self.depth) if n not in self.numbers)
        left = ("embeddings.", "pooler.", "cls.", *(("layernorm.",) if self.kind == "bert" else ()), *others)
        rename = vit_name if self.kind == "vit" else lambda name: name.replace("encoder.layer.", "layers.")
        Weights(checkpoint).network(lambda: self, strip=("bert.", "vit."), rename=rename, drop=left)
        self.requires_grad_(False)

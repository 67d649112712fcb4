"""M2FNet: a transformer for each modality, then attention fusion with text as query and value.

Source: docs/papers/m2fnet.md.
"""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ercache.errors import UsageError
from fusion.data.batches import Batch
from fusion.layers.positions import sinusoidal
from fusion.models.base import ModelEntry, Widths, in_order

# docs/papers/m2fnet.md, section 5.3: the paper gives optimiser, learning rate and decay; the rest is our choice.
RECIPE = {
    "optimizer": "adamw",
    "epochs": 100,
    "patience": 20,
    "lr": 5e-4,
    "clip": 1.0,
    "schedule": "plateau",
    "plateau_patience": 5,
    "plateau_factor": 0.5,
    "standardize": False,
}
POSITIONS = 512  # learned positions; later utterances share the last


class M2FNetConfig(BaseModel):
    """Switches of M2FNet. Defaults are the paper's values for MELD.

    The `paper_row` of a switch names the row of the paper's ablation tables that the switch reproduces.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    fusion_type: Literal["none", "concat", "mha"] = Field(
        "mha",
        description="mha: attention fusion; concat: concatenated encoders; none: for a single modality",
        json_schema_extra={"paper_row": "Table 2, remarks Fusion / Concat / -"},
    )
    fusion_m: int = Field(
        5, ge=1, description="fusion layers", json_schema_extra={"paper_row": "Table 5, m = 1..6"}
    )
    fusion_residual: bool = Field(
        True,
        description="LayerNorm(X + dropout(Y)); False is the paper's wording, which averages utterances away",
    )
    fusion_concat_query: bool = Field(False, description="concatenate the query, too, before W_f")
    enc_n_t: int = Field(
        1, ge=0, description="text encoder layers", json_schema_extra={"paper_row": "Table 4, N = 1..6"}
    )
    enc_n_a: int = Field(
        1, ge=0, description="audio encoder layers", json_schema_extra={"paper_row": "Table 4, N = 1..6"}
    )
    enc_n_v: int = Field(
        1, ge=0, description="visual encoder layers", json_schema_extra={"paper_row": "Table 4, N = 1..6"}
    )
    enc_local_skip: bool = Field(True, description="H + Tr(H), as in the text; Eq. 5 omits it")
    enc_pos: Literal["none", "sinusoidal", "learned"] = Field(
        "none", description="position encoding of utterances"
    )
    enc_norm: Literal["post", "pre"] = Field(
        "post", description="LayerNorm after each half of an encoder layer, or before it"
    )
    enc_activation: Literal["relu", "gelu"] = Field("relu", description="inside an encoder layer")
    head_activation: Literal["relu", "none"] = Field(
        "relu", description="between FC_1 and FC_2; none is the paper's wording: a single linear map"
    )
    heads: int = Field(4, ge=1, description="attention heads; must divide every width")
    ffn: int = Field(2048, ge=1, description="width inside an encoder layer")
    dropout: float = Field(0.4, ge=0, lt=1, description="everywhere; the paper uses 0.4 to 0.5")
    head_hidden: int = Field(1024, ge=1, description="width between FC_1 and FC_2")
    project: int | None = Field(
        None, ge=1, description="width of an added linear layer before each encoder, for small corpora (ours)"
    )


class ModalityEncoder(nn.Module):
    """Encoder of one modality: several transformer layers over the utterances of a dialogue (Eq. 5)."""

    def __init__(self, width: int, layers: int, config: M2FNetConfig) -> None:
        super().__init__()
        self.local_skip, self.pos = config.enc_local_skip, config.enc_pos
        self.positions = nn.Embedding(POSITIONS, width) if config.enc_pos == "learned" else None
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                config.heads,
                config.ffn,
                config.dropout,
                config.enc_activation,
                batch_first=True,
                norm_first=config.enc_norm == "pre",
            )
            for _ in range(layers)
        )

    def forward(self, F_I: Tensor, blocked: Tensor) -> Tensor:
        """Encode the features of one modality in the context of the dialogue.

        Args:
            F_I: features, [B, L, D]: B dialogues, L utterances, D features.
            blocked: bool [B, L]; True for utterances that no utterance may attend to.

        Returns:
            Encoded features, [B, L, D].
        """
        H = F_I + self._position(F_I)
        for Tr in self.layers:
            H = (
                H + Tr(H, src_key_padding_mask=blocked)
                if self.local_skip
                else Tr(H, src_key_padding_mask=blocked)
            )
        return H

    def _position(self, x: Tensor) -> Tensor:
        if self.positions is not None:
            rank = torch.arange(x.shape[1], device=x.device).clamp(max=POSITIONS - 1)
            learned: Tensor = self.positions(rank)
            return learned
        return sinusoidal(x) if self.pos == "sinusoidal" else x.new_zeros(())


class FusionLayer(nn.Module):
    """Multi-head attention fusion (Eq. 6): the first modality gives queries and values, the others give the keys.

    Args:
        width: feature size D_T of the first modality (text).
        keys: modality -> feature size, for the other modalities.
        config: the switches of M2FNet.
    """

    def __init__(self, width: int, keys: Widths, config: M2FNetConfig) -> None:
        super().__init__()
        self.residual, self.concat_query = config.fusion_residual, config.fusion_concat_query
        self.attention = nn.ModuleDict(
            {
                name: nn.MultiheadAttention(
                    width, config.heads, config.dropout, kdim=kdim, vdim=width, batch_first=True
                )
                for name, kdim in keys.items()
            }
        )
        self.W_f = nn.Linear((len(keys) + self.concat_query) * width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(width) if self.residual else None

    def forward(self, X: Tensor, F_x: dict[str, Tensor], blocked: dict[str, Tensor]) -> Tensor:
        """Compute the fused features X_l of layer l, [B, L, D_T].

        Sizes: B dialogues, L utterances, D_T features of text, D_x features of another modality.

        Args:
            X: the fused features X_{l-1} of the layer before, [B, L, D_T].
            F_x: modality -> output of this modality's encoder, [B, L, D_x].
            blocked: modality -> bool [B, L]; True for keys that no query may attend to.
        """
        attended = [
            attend(X, F_x[name], X, key_padding_mask=blocked[name], need_weights=False)[0]  # A_l, V_l
            for name, attend in self.attention.items()
        ]
        Y: Tensor = self.W_f(torch.cat([X, *attended] if self.concat_query else attended, dim=-1))
        return Y if self.norm is None else self.norm(X + self.dropout(Y))


class M2FNet(nn.Module):
    """Dialogue model of "M2FNet: Multi-modal Fusion Network for Emotion Recognition in Conversation" (2022).

    Our choices where the paper is silent:

    - An utterance without a modality enters this modality's encoder as a zero vector. No utterance attends to it, in
      the encoder or in the fusion layers (unless the whole dialogue lacks the modality).
    - Without text, audio gives queries and values. A single modality is not fused.
    """

    def __init__(self, widths: Widths, classes: int, config: M2FNetConfig) -> None:
        super().__init__()
        names = in_order(widths)
        inner = {m: config.project or widths[m] for m in names}
        _check(inner, config)
        depth = {"text": config.enc_n_t, "audio": config.enc_n_a, "visual": config.enc_n_v}
        self.names = names
        self.project = nn.ModuleDict(
            {m: nn.Linear(widths[m], inner[m]) for m in names} if config.project else {}
        )
        self.encoders = nn.ModuleDict({m: ModalityEncoder(inner[m], depth[m], config) for m in names})
        keys = {m: inner[m] for m in names[1:]}
        layers = config.fusion_m if keys and config.fusion_type == "mha" else 0
        self.fusion = nn.ModuleList(FusionLayer(inner[names[0]], keys, config) for _ in range(layers))
        self.FC_1 = nn.Linear(sum(inner.values()), config.head_hidden)
        self.FC_2 = nn.Linear(config.head_hidden, classes)
        self.head_relu = config.head_activation == "relu"
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        F_x, blocked = self.encode(batch)
        X = self.fuse(F_x, blocked)[-1]
        F_final = torch.cat([X, *(F_x[m] for m in self.names[1:])], dim=-1)
        hidden = self.FC_1(F_final)
        hidden = hidden.relu() if self.head_relu else hidden
        logits: Tensor = self.FC_2(self.dropout(hidden))  # Eq. 7 and 8, before softmax
        return logits

    def encode(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Run the encoder of each modality (Eq. 5).

        Returns:
            Two dicts: modality -> encoded features F_T, F_A or F_V, [B, L, D_x] (B dialogues, L utterances, D_x
            features); modality -> bool [B, L], True for utterances that no utterance may attend to.
        """
        blocked = {m: blocked_keys(batch.mask, batch.present[m]) for m in self.names}
        F_x = {m: self.encoders[m](self._input(batch, m), blocked[m]) for m in self.names}
        return F_x, blocked

    def fuse(self, F_x: dict[str, Tensor], blocked: dict[str, Tensor]) -> list[Tensor]:
        """Run the m fusion layers (Eq. 6); return the list of fused features: X_0 = F_T (the input), X_1, ..., X_m."""
        X = [F_x[self.names[0]]]
        for layer in self.fusion:
            X.append(layer(X[-1], F_x, blocked))
        return X

    def _input(self, batch: Batch, modality: str) -> Tensor:
        x = batch.features[modality]
        if modality in self.project:
            # The bias of the projection must not turn an absent modality into a vector.
            x = self.project[modality](x) * batch.present[modality].unsqueeze(-1)
        return x


def blocked_keys(mask: Tensor, present: Tensor) -> Tensor:
    """Return which utterances may not be attended to: padding, and utterances without the modality.

    If this blocks all utterances of a dialogue, only the padding of the dialogue is blocked.

    Args:
        mask: bool [B, L] for B dialogues with L utterances; False for padding.
        present: bool [B, L]; whether the utterance has the modality.

    Returns:
        bool [B, L]; True for blocked utterances.
    """
    usable = mask & present
    return ~torch.where(usable.any(1, keepdim=True), usable, mask)


def _check(widths: Widths, config: M2FNetConfig) -> None:
    wrong = [
        f"width {w} of {m} is no multiple of {config.heads} heads"
        for m, w in widths.items()
        if w % config.heads
    ]
    if wrong:
        hint = "set `config.project` to a multiple of `config.heads`, or choose other heads or features"
        raise UsageError(
            "m2fnet: a feature size is no multiple of the number of attention heads", details=wrong, hint=hint
        )
    if config.fusion_type == "none" and len(widths) > 1:
        hint = "set `fusion_type: concat` or `fusion_type: mha`, or use a single modality"
        raise UsageError(
            f"m2fnet: `fusion_type: none` is for a single modality, but the experiment has {len(widths)}",
            hint=hint,
        )


def _pair_bytes(config: M2FNetConfig, modalities: int) -> float:
    """Return the bytes of memory that training needs for each pair of utterances of a dialogue (attention weights)."""
    encoders = (config.enc_n_t, config.enc_n_a, config.enc_n_v)[:modalities]
    fusion = config.fusion_m * (modalities - 1) if config.fusion_type == "mha" else 0
    return 15 * config.heads * (sum(encoders) + fusion)


ENTRY = ModelEntry(
    key="m2fnet",
    paper="M2FNet: Multi-modal Fusion Network for Emotion Recognition in Conversation (2022)",
    tasks=("erc", "epc"),
    modalities=("text", "audio", "visual"),
    config=M2FNetConfig,
    presets={
        "paper": {},
        "paper_iemocap": {"enc_n_t": 5, "enc_n_a": 5, "enc_n_v": 5, "dropout": 0.5},
        "small": {"project": 64, "ffn": 128, "fusion_m": 1, "head_hidden": 64},
    },
    build=M2FNet,
    pair_bytes=_pair_bytes,
    widths={"text": 1024, "audio": 300, "visual": 600},
    recipes={
        "paper": {**RECIPE, "batch": 32, "weight_decay": 5e-4},
        "paper_iemocap": {**RECIPE, "batch": 16, "weight_decay": 5e-5},
    },
)

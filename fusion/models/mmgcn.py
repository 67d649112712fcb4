"""MMGCN: a deep graph network; each dialogue is a graph with one node for every modality of every utterance."""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusion.data.batches import Batch
from fusion.models.base import ModelEntry, Widths, in_order

SPEAKERS = 16  # speaker embeddings; further speakers of a dialogue share the last
NEAREST = 1 - 1e-5  # greatest cosine: arccos has no finite derivative at 1


class MmgcnConfig(BaseModel):
    """Switches of MMGCN: the settings under `config` of an experiment in params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hidden: int = Field(200, ge=2, multiple_of=2, description="width of a node")
    layers: int = Field(4, ge=1, description="graph layers")
    alpha: float = Field(0.1, ge=0, le=1, description="share of the first layer's input in every layer")
    eta: float = Field(0.5, gt=0, description="eta in beta_l = log(eta / l + 1), the share of W_l in layer l")
    speakers: bool = Field(True, description="add an embedding of the speaker to the nodes")
    input_skip: bool = Field(True, description="the head also sees the nodes before the graph")
    dropout: float = Field(0.4, ge=0, lt=1, description="before every layer and the head")


class Mmgcn(nn.Module):
    """The model of "MMGCN: Multimodal Fusion via Deep Graph Convolution Network" (Hu et al., ACL 2021).

    All nodes of one modality are linked, and so are the nodes of one utterance. An edge has the weight
    1 - arccos(cosine similarity) / pi. An absent modality has no node (our choice).
    """

    def __init__(self, widths: Widths, classes: int, config: MmgcnConfig) -> None:
        super().__init__()
        self.config, self.names, d = config, in_order(widths), config.hidden
        self.enter = nn.ModuleDict({m: nn.Linear(widths[m], d) for m in self.names})
        self.context = (
            nn.LSTM(d, d // 2, bidirectional=True, batch_first=True) if "text" in self.names else None
        )
        self.speaker = nn.Embedding(SPEAKERS, d) if config.speakers else None
        self.W_0 = nn.Linear(d, d)
        self.W = nn.ModuleList(nn.Linear(d, d, bias=False) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(len(self.names) * d * (2 if config.input_skip else 1), classes)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        h = self.nodes(batch)  # [B, M, L, d]
        B, M, L, d = h.shape
        here = torch.stack([batch.present[m] & batch.mask for m in self.names], dim=1)  # [B, M, L]
        P = graph(h.flatten(1, 2), edges(here))
        H = H_0 = self.W_0(self.dropout(h.flatten(1, 2))).relu()
        for rank, W in enumerate(self.W, start=1):
            beta = math.log(self.config.eta / rank + 1)
            mixed = (1 - self.config.alpha) * (P @ self.dropout(H)) + self.config.alpha * H_0
            H = ((1 - beta) * mixed + beta * W(mixed)).relu()
        g = H.view(B, M, L, d)
        e = torch.cat([h, g], dim=-1) if self.config.input_skip else g
        e = (e * here.unsqueeze(-1)).movedim(1, 2).flatten(2)
        logits: Tensor = self.out(self.dropout(e.relu()))
        return logits

    def nodes(self, batch: Batch) -> Tensor:
        """Compute the input of the graph layers: one node vector for each modality of each utterance, [B, M, L, d].

        B dialogues, M modalities, L utterances, d features.
        """
        found = []
        for m in self.names:
            x = self.enter[m](batch.features[m])
            if m == "text" and self.context is not None:
                lengths = batch.mask.sum(1).cpu()
                packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
                x, _ = pad_packed_sequence(self.context(packed)[0], batch_first=True, total_length=x.shape[1])
            found.append(x)
        h = torch.stack(found, dim=1)
        if self.speaker is not None:
            h = h + self.speaker(batch.speakers.where(batch.mask, 0).clamp(max=SPEAKERS - 1)).unsqueeze(1)
        return h


def edges(here: Tensor) -> Tensor:
    """Return which pairs of graph nodes are linked: nodes of the same modality, and nodes of the same utterance.

    Args:
        here: bool [B, M, L] for B dialogues, M modalities and L utterances; whether the utterance has the modality, and
            so a node for it.

    Returns:
        bool [B, M * L, M * L]; True for linked pairs.
    """
    B, M, L = here.shape
    nodes = torch.arange(M * L, device=here.device)
    modality, utterance = nodes // L, nodes % L
    linked = (modality[:, None] == modality) | (utterance[:, None] == utterance)
    flat = here.view(B, M * L)
    return linked & flat[:, :, None] & flat[:, None, :]


def graph(h: Tensor, linked: Tensor) -> Tensor:
    """Compute the normalised adjacency matrix D^-1/2 A D^-1/2 of each dialogue's graph, [B, N, N], for B dialogues.

    A is 1 - arccos(cosine similarity) / pi for linked nodes and 0 for others; D is the diagonal matrix of row sums.

    Args:
        h: vectors of size d of the N nodes, [B, N, d].
        linked: bool [B, N, N]; whether two nodes are linked.
    """
    unit = F.normalize(h, dim=-1)
    cosine = (unit @ unit.mT).clamp(-NEAREST, NEAREST)
    A = (1 - cosine.arccos() / math.pi) * linked
    scale = A.sum(-1).clamp(min=1e-6).rsqrt()
    return scale.unsqueeze(2) * A * scale.unsqueeze(1)


ENTRY = ModelEntry(
    key="mmgcn",
    paper="MMGCN: Multimodal Fusion via Deep Graph Convolution Network (Hu et al., ACL 2021)",
    tasks=("erc", "epc"),
    modalities=("text", "audio", "visual"),
    config=MmgcnConfig,
    presets={"small": {"hidden": 64, "layers": 2}, "large": {}},
    build=Mmgcn,
    pair_bytes=lambda _, modalities: 40 * modalities**2,
)

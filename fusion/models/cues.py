"""Cues: Emotional Cues Extraction and Fusion for Multi-modal Emotion Prediction and Recognition in Conversation.

Text and speech of a window of utterances, for the emotion of its last utterance (ERC) or of the one after it (EPC).
Equations and readings: specs/cues.md. What comes from caches is frozen: RoBERTa's states with the rows of its speaker
tokens as they were made (`cache_text` of the page), WavLM's frames, and the mel picture in the lower layers of ViT.
"""

from dataclasses import dataclass
from typing import Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.errors import UsageError
from fusion.batches import Batch
from fusion.layers.bridges import Bridges
from fusion.layers.masked import askable, average, within
from fusion.layers.prosody import Prosody
from fusion.losses import Loss
from fusion.models.base import ModelEntry, Widths
from fusion.sequences import placed

SPAN: Final = 3  # numbers of a word: its first token, the one after its last, its utterance
SCORES: Final = 512  # words at most, for the square map of scores


class CuesConfig(BaseModel):
    """Switches of Cues; where the paper is silent, the readings of specs/cues.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    context_utterances: int = Field(3, ge=1, description="utterances of a window of speech (A3)")
    width: int = Field(1024, ge=64, multiple_of=64, description="of the model (A1)")
    heads: int = Field(8, ge=1, description="attention heads")
    layers: int = Field(2, ge=1, description="of each transformer")
    ffn: int = Field(2048, ge=1, description="width inside a layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="in transformer layers")
    kwrt: bool = Field(
        True,
        description="weigh words by their relations (Eq. 1)",
        json_schema_extra={"paper_row": "w/o KWRT"},
    )
    squeeze: Literal["sum", "mean", "max"] = Field("sum", description="a word's score from its row (A5)")
    kwrt_linear: Literal["scalar", "full"] = Field("scalar", description="map from scores to gates (A5)")
    kwrt_symmetric: bool = Field(True, description="whole matrix, or its upper triangle (A6)")
    text_granularity: Literal["word", "token"] = Field("word", description="rows of the text (A5)")
    pe: bool = Field(
        True, description="prosody enhancement (Eq. 2)", json_schema_extra={"paper_row": "w/o PE"}
    )
    prosody_width: Literal["wide", "narrow"] = Field(
        "wide", description="hidden sizes of the prosody encoder (A2)"
    )
    mfm_blocks: int = Field(
        2, ge=0, description="blocks of the second fusion step", json_schema_extra={"paper_row": "w/o TMF"}
    )
    mfm_size: Literal["large", "base"] = Field("large", description="networks of that step (A9)")
    mfm_layers: Literal["last", "first"] = Field("last", description="which of their layers (A9)")
    bridge_len: int = Field(4, ge=1, description="rows of a bridge")
    bridge_direction: Literal["both", "m2ta", "ta2m"] = Field("both", description="which way bridges lead")
    share_bridge: bool = Field(False, description="one pair of bridges for all blocks")
    ta_pool: Literal["mean", "first"] = Field("mean", description="over the frames, at the end (A8)")
    loss: Literal["avg_logits", "mean_ce"] = Field(
        "avg_logits", description="of the averaged logits, or of each head"
    )


@dataclass(frozen=True)
class Heard:
    """A sequence for each of N windows: [N, T, ...], lengths [N], and which steps are of the last utterance, [N, T]."""

    values: Tensor
    lengths: Tensor
    last: Tensor

    @property
    def mask(self) -> Tensor:
        """Valid steps, bool [N, T]."""
        return within(self.lengths, self.values.shape[1])


class CrossLayer(nn.Module):
    """x <- LN(x + MHA(x, kv, kv)), x <- LN(x + FFN(x)) (4.4)."""

    def __init__(self, c: CuesConfig) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(c.width, c.heads, c.dropout, batch_first=True)
        self.ffn = nn.Sequential(
            nn.Linear(c.width, c.ffn), nn.ReLU(), nn.Dropout(c.dropout), nn.Linear(c.ffn, c.width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(c.width) for _ in range(2))
        self.drop = nn.Dropout(c.dropout)

    def forward(self, x: Tensor, kv: Tensor, keys: Tensor) -> Tensor:
        """[N, T, width] asks [N, K, width]; keys bool [N, K]. Nothing is added where there is no key."""
        some = keys.any(1)
        found = self.attention(x, kv, kv, key_padding_mask=~askable(keys), need_weights=False)[0]
        x = self.norms[0](x + self.drop(found * some[:, None, None]))
        y: Tensor = self.norms[1](x + self.drop(self.ffn(x)))
        return y


class Features(nn.Module):
    """The feature extraction of one modality: a linear map and a transformer over the window (4.1)."""

    def __init__(self, i: int, c: CuesConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(i, c.width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(c.width, c.heads, c.ffn, c.dropout, batch_first=True)
            for _ in range(c.layers)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[N, T, i], bool [N, T] to [N, T, width], 0 on padding."""
        h: Tensor = self.enter(x)
        for layer in self.layers:
            h = layer(h, src_key_padding_mask=~askable(mask))
        return h * mask.unsqueeze(-1)


class Relations(nn.Module):
    """Gates of the words from the matrix of their relations: F_t = h_t * Linear(Squeeze(M)) (Eq. 1)."""

    def __init__(self, c: CuesConfig) -> None:
        super().__init__()
        self.squeeze, self.symmetric = c.squeeze, c.kwrt_symmetric
        self.full = nn.Linear(SCORES, SCORES) if c.kwrt_linear == "full" else None
        if self.full is None:
            self.w, self.b = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(1.0))

    def scores(self, matrix: Tensor, words: Tensor, longest: int) -> Tensor:
        """s of section 4.2: matrices row by row [N, M] of windows with `words` [N] words, to [N, longest]."""
        size = words[:, None].clamp(min=1)
        place = torch.arange(matrix.shape[1], device=matrix.device).expand_as(matrix)
        row, column = place // size, place % size
        valid = place < words[:, None] ** 2
        if not self.symmetric:
            valid = valid & (column > row)
        told = matrix.float() * valid
        row = row.clamp(max=longest - 1)
        empty = told.new_zeros(len(matrix), longest)
        if self.squeeze == "max":
            return empty.scatter_reduce(1, row, told, "amax")
        total = empty.scatter_add(1, row, told)
        return total / size if self.squeeze == "mean" else total

    def forward(self, scores: Tensor) -> Tensor:
        """Gates [N, K]."""
        if self.full is None:
            return self.w * scores + self.b
        if scores.shape[1] > SCORES:
            raise UsageError(
                f"a window of {scores.shape[1]} words", hint=f"kwrt_linear: full takes {SCORES} at most"
            )
        gates: Tensor = self.full(F.pad(scores, (0, SCORES - scores.shape[1])))
        return gates[:, : scores.shape[1]]


class Cues(nn.Module):
    """Windows of text tokens and speech frames to logits; T, S and T+S by what widths name (4.7)."""

    def __init__(self, widths: Widths, classes: int, config: CuesConfig) -> None:
        super().__init__()
        c = self.config = config
        self.text, self.speech = "text" in widths, "audio" in widths
        self.words = self.text and "words" in widths
        if self.text:
            self.extract_text = Features(widths["text"], c)
            if self.words and c.kwrt and "matrix" in widths:
                self.relations = Relations(c)
        if self.speech:
            self.extract_speech = Features(widths["audio"], c)
            if c.pe:
                self.prosody = Prosody(c.width, c.prosody_width)
        self.step1 = nn.ModuleList(CrossLayer(c) for _ in range(c.layers))
        width = c.width
        self.bridges: Bridges | None = None
        if self.speech and c.mfm_blocks and "mel" not in widths:
            raise UsageError(
                "cues: the second fusion step needs the mel picture, and no feature is named for it",
                hint="name one after that of the speech (cues_mel_target:tokens), or say `mfm_blocks: 0`",
            )
        if self.speech and c.mfm_blocks:
            self.bridges = Bridges(
                width,
                c.mfm_size,
                c.mfm_blocks,
                c.bridge_len,
                c.bridge_direction,
                c.mfm_layers,
                c.share_bridge,
            )
            width = self.bridges.width
            self.head2 = nn.Linear(width, classes)
        self.head1 = nn.Linear(width, classes)

    def begin(self, epoch: int) -> None:
        """Before the first epoch the frozen layers take the tensors of their checkpoints.

        Raises:
            WeightsError: one is absent; names the switch `mfm_blocks: 0`.
        """
        if epoch == 0 and self.bridges is not None:
            self.bridges.load()

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, L, C] where a window ends; those of a window of nothing are the bias of the heads."""
        places, logits = self.logits(batch)
        averaged = torch.stack(logits).mean(0)
        bias = torch.stack([head.bias for head in self._heads()]).mean(0)
        return placed(averaged, places, batch.mask, bias)

    def objective(self, batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        """The experiment's loss, of the averaged logits or the mean of that of each head."""
        if self.config.loss == "avg_logits" or self.bridges is None:
            return measure(self(batch), batch.labels)
        places, logits = self.logits(batch)
        labels = batch.labels.flatten(0, 1)[places].unsqueeze(0)
        told = [measure(each.unsqueeze(0), labels) for each in logits]
        return torch.stack([loss for loss, _ in told]).mean(), told[0][1]

    def logits(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Places [N] in the grid where a window ends that holds anything, and the logits [N, C] of each head."""
        places = self._ends(batch)
        text = self._text(batch, places) if self.text else None
        speech = self._speech(batch, places) if self.speech else None
        x, keys = self._fused(text, speech)
        for layer in self.step1:
            x = Heard(layer(x.values, keys.values, keys.mask), x.lengths, x.last)
        return places, self._told(batch, places, x)

    def _told(self, batch: Batch, places: Tensor, x: Heard) -> list[Tensor]:
        if self.bridges is None:
            return [self.head1(self._pooled(x.values, x, batch))]
        F_m, drawn = _at(batch, "mel", places)
        after, picture = self.bridges(x.values, x.mask, F_m.values, F_m.mask)
        first = self.head1(self._pooled(after, x, batch))
        second = self.head2(picture[:, 0])
        return [
            first,
            torch.where(drawn[:, None], second, first),
        ]  # without a picture the first head speaks alone

    def _pooled(self, values: Tensor, x: Heard, batch: Batch) -> Tensor:
        """p_1 (4.6): over all steps in prediction, in recognition over those of the last utterance if there are any."""
        mask = x.mask
        if batch.heard is None:
            own = mask & x.last
            mask = torch.where(own.any(1, keepdim=True), own, mask)
        if self.config.ta_pool == "mean":
            return average(values, mask)
        first = mask.int().argmax(1)
        return values[torch.arange(len(values)), first] * mask.any(1, keepdim=True)

    def _fused(self, text: Heard | None, speech: Heard | None) -> tuple[Heard, Heard]:
        """Queries and keys of step 1: speech asks text; alone, or where there is no speech, a side asks itself."""
        if text is None or speech is None:
            alone = speech if text is None else text
            assert alone is not None
            return alone, alone
        if (speech.lengths > 0).all():
            return speech, text
        longest = max(text.values.shape[1], speech.values.shape[1])
        mute = speech.lengths == 0
        a, b = (_padded(x, longest) for x in (speech, text))
        values = torch.where(mute[:, None, None], b.values, a.values)
        return Heard(
            values, torch.where(mute, b.lengths, a.lengths), torch.where(mute[:, None], b.last, a.last)
        ), text

    def _ends(self, batch: Batch) -> Tensor:
        """Where windows end: in prediction at the last utterance that was heard, else at every one."""
        mask = batch.mask
        if batch.heard is not None:
            position = torch.arange(mask.shape[1], device=mask.device)
            mask = mask & (position == mask.sum(1, keepdim=True) - 1)
        return mask.flatten().nonzero().flatten()

    def _text(self, batch: Batch, places: Tensor) -> Heard:
        """F_t: rows are words (or tokens), weighed by their relations."""
        tokens, _ = _at(batch, "text", places)
        h = self.extract_text(tokens.values, tokens.mask)
        if not self.words:
            return Heard(h, tokens.lengths, tokens.mask)
        words, _ = _at(batch, "words", places)
        scores = None
        if hasattr(self, "relations"):
            matrix, _ = _at(batch, "matrix", places)
            scores = self.relations.scores(matrix.values, words.lengths, words.values.shape[1])
        spans = words.values.long()
        if self.config.text_granularity == "token":
            return self._weighed_tokens(h, tokens, spans, words.mask, scores)
        rows = spoken_words(h, spans) * words.mask.unsqueeze(-1)
        if scores is not None:
            rows = rows * self.relations(scores).unsqueeze(-1)
        return Heard(rows, words.lengths, words.mask & (spans[..., 2] == 0))

    def _weighed_tokens(
        self, h: Tensor, tokens: Heard, spans: Tensor, words: Tensor, scores: Tensor | None
    ) -> Heard:
        """Rows are tokens: each has the largest score of its words, 0 outside of words."""
        position = torch.arange(h.shape[1], device=h.device)
        inside = (spans[..., 0, None] <= position) & (position < spans[..., 1, None]) & words.unsqueeze(-1)
        last = (inside & (spans[..., 2, None] == 0)).any(1) & tokens.mask
        if scores is not None:
            best = torch.where(inside, scores.unsqueeze(-1), 0.0).amax(1)
            h = h * self.relations(best).unsqueeze(-1)
        return Heard(h, tokens.lengths, last)

    def _speech(self, batch: Batch, places: Tensor) -> Heard:
        """F_a of the frames of all utterances of each window, one after the other."""
        x = window_of(batch, "audio", places, self.config.context_utterances)
        h = self.extract_speech(x.values, x.mask)
        return Heard(self.prosody(h, x.lengths) if self.config.pe else h, x.lengths, x.last)

    def _heads(self) -> list[nn.Linear]:
        return [self.head1] if self.bridges is None else [self.head1, self.head2]


def _at(batch: Batch, role: str, places: Tensor) -> tuple[Heard, Tensor]:
    """The steps of a role at some places [N], and which of them have any."""
    steps = batch.steps[role]
    rank = _ranks(steps.at, batch.mask.numel())[places]
    has = rank >= 0
    if not len(steps.at):
        empty = steps.values.new_zeros(len(places), *steps.values.shape[1:])
        return Heard(
            empty, rank.new_zeros(len(places)), empty.new_zeros(empty.shape[:2], dtype=torch.bool)
        ), has
    held = rank.clamp(min=0)
    mask = steps.mask[held] & has[:, None]
    values = steps.values[held]
    values = values * mask.view(*mask.shape, *[1] * (values.dim() - 2))
    return Heard(values, mask.sum(1), mask), has


def window_of(batch: Batch, role: str, places: Tensor, utterances: int) -> Heard:
    """The steps of the last utterances up to each place, oldest first, without those that have none."""
    column = places % batch.mask.shape[1]
    parts = []
    for back in range(min(utterances, batch.mask.shape[1]) - 1, -1, -1):
        part, _ = _at(batch, role, (places - back).clamp(min=0))
        own = part.mask & (column >= back)[:, None]  # not those of the dialogue before it in the batch
        parts.append((part.values, own, own if back == 0 else torch.zeros_like(own)))
    values, mask, last = (torch.cat(held, 1) for held in zip(*parts, strict=True))
    order = torch.argsort((~mask).int(), dim=1, stable=True)[:, : max(1, int(mask.sum(1).max()))]
    picked = values.gather(1, order.unsqueeze(-1).expand(-1, -1, values.shape[2]))
    return Heard(picked, mask.sum(1), last.gather(1, order))


def spoken_words(h: Tensor, spans: Tensor) -> Tensor:
    """Mean of the tokens of each word: [N, T, width] and [N, K, 3] to [N, K, width]; 0 for a word of none."""
    position = torch.arange(h.shape[1], device=h.device)
    inside = ((spans[..., 0, None] <= position) & (position < spans[..., 1, None])).to(h.dtype)
    return inside @ h / inside.sum(-1, keepdim=True).clamp(min=1)


def _padded(x: Heard, longest: int) -> Heard:
    more = longest - x.values.shape[1]
    return Heard(F.pad(x.values, (0, 0, 0, more)), x.lengths, F.pad(x.last, (0, more)))


def _ranks(at: Tensor, size: int) -> Tensor:
    """Place in a grid -> rank among the utterances that have steps, or -1."""
    return at.new_full((size,), -1).index_copy(0, at, torch.arange(len(at), device=at.device))


ENTRY = ModelEntry(
    key="cues",
    paper="Emotional Cues Extraction and Fusion for Multi-modal Emotion Prediction and Recognition (Cues)",
    tasks=("erc", "epc"),
    modalities=("text", "audio"),
    config=CuesConfig,
    presets={
        "paper": {},
        "small": {
            "width": 64,
            "heads": 4,
            "layers": 1,
            "ffn": 128,
            "dropout": 0.3,
            "prosody_width": "narrow",
            "mfm_blocks": 0,
        },
    },
    build=Cues,
    widths={"text": 768, "words": SPAN, "matrix": 1, "audio": 768, "mel": 1024},
    classes=7,
    paper_encoders={
        "text": "text/kwrt",
        "words": "text/kwrt",
        "matrix": "text/kwrt",
        "audio": "audio/wavlm-base-plus",
        "mel": "audio/mel-vit",
    },
    paper_training={
        "paper": {
            "epochs": 50,
            "patience": 8,
            "batch": 32,
            "optimizer": "adam",
            "lr": 1e-4,
            "weight_decay": 0.0,
            "schedule": "constant",
            "standardize": False,
        }
    },
    roles={"text": ("text", "words", "matrix"), "audio": ("audio", "mel")},
)

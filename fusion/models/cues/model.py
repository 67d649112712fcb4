"""Cues: Emotional Cues Extraction and Fusion for Multi-modal Emotion Prediction and Recognition in Conversation.

Text and speech of a window of utterances, for the emotion of its last utterance (ERC) or of the one after it (EPC).
Equations and choices: docs/papers/cues.md. What comes from caches is frozen: RoBERTa's states with the rows of its
speaker tokens as they were made (`cache_text`), WavLM's frames, and the mel picture in the lower layers of ViT.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from ercache.errors import UsageError, WeightsError
from fusion.data.batches import Batch
from fusion.data.ragged import placed
from fusion.layers.length_buckets import each_alike
from fusion.layers.losses import Loss
from fusion.layers.masked import askable, average
from fusion.models.base import ModelEntry, Widths
from fusion.models.cues.bridges import Bridges
from fusion.models.cues.prosody import BANDS, Prosody
from fusion.models.cues.relations import Relations, spoken_words
from fusion.models.cues.sound_reader import SoundReader
from fusion.models.cues.text_reader import TextReader
from fusion.models.cues.windows import Heard, Reach, reach_of, since, steps_at, steps_in, window_of

SPAN: Final = 3  # numbers of a word: its first token, the one after its last, its utterance


def _is(usual: object) -> Callable[[object], bool]:
    return lambda value: value == usual


class CuesConfig(BaseModel):
    """Switches of Cues; where the paper is silent, see docs/papers/cues.md, section 10.

    Those with `exclude_if` are newer than some runs, whose record they leave alone: it lacks them where they are usual.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    context_utterances: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        3, description="utterances of a window of speech, with its last one (A3)"
    )
    erc_future_context: int = Field(
        0, exclude_if=_is(0), ge=0, description="utterances after the one that is recognised"
    )
    window_frames: int = Field(
        1500,
        exclude_if=_is(1500),
        ge=1,
        description="frames of speech of a window at most, 30 s of WavLM's; the oldest go",
    )
    cache_text: bool = Field(
        True,
        exclude_if=_is(True),
        description="text from cached states; else RoBERTa is part of the model, its speakers' rows trained (A12)",
    )
    finetune_roberta: bool = Field(
        False, exclude_if=_is(False), description="train all of RoBERTa, as part of the model"
    )
    finetune_wavlm: bool = Field(
        False, exclude_if=_is(False), description="train WavLM, as part of the model, on samples"
    )
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
    prosody_input: Literal["h_a", "mel_f0"] = Field(
        "h_a", exclude_if=_is("h_a"), description="what it reads: speech frames, or pitch and mel bands (A2)"
    )
    prosody_init: Literal["random", "released"] = Field(
        "random",
        exclude_if=_is("random"),
        description="its first weights: random, or those published with it, as far as they fit",
    )
    prosody_resample: bool = Field(
        False, exclude_if=_is(False), description="changes of tempo inside it, in training"
    )
    mfm_blocks: int = Field(
        2, ge=0, description="blocks of the second fusion step", json_schema_extra={"paper_row": "w/o TMF"}
    )
    mfm_size: Literal["large", "base"] = Field("large", description="networks of that step (A9)")
    mfm_layers: Literal["last", "first"] = Field("last", description="which of their layers (A9)")
    vit_lower_layers: bool = Field(
        True,
        exclude_if=_is(True),
        description="the picture comes out of lower layers; else it meets the first ones (A10)",
    )
    bridge_len: int = Field(4, ge=1, description="rows of a bridge")
    bridge_direction: Literal["both", "m2ta", "ta2m"] = Field("both", description="which way bridges lead")
    share_bridge: bool = Field(False, description="one pair of bridges for all blocks")
    ta_pool: Literal["mean", "first"] = Field("mean", description="over the frames, at the end (A8)")
    loss: Literal["avg_logits", "mean_ce"] = Field(
        "avg_logits", description="of the averaged logits, or of each head"
    )

    @model_validator(mode="after")
    def _released_encoders_have_one_size(self) -> Self:
        if self.prosody_init == "released" and (self.prosody_width, self.width) != ("wide", 1024):
            raise ValueError("prosody_init: released needs prosody_width: wide and width: 1024")
        return self

    @model_validator(mode="after")
    def _tunes_what_it_holds(self) -> Self:
        if self.finetune_roberta and self.cache_text:
            raise ValueError("finetune_roberta: true needs cache_text: false")
        return self

    @property
    def past(self) -> int | None:
        """Utterances of a window before its last one; None for all."""
        return None if self.context_utterances == "all" else self.context_utterances - 1


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


class Cues(nn.Module):
    """Windows of text tokens and speech frames to logits; T, S and T+S by what widths name (4.7)."""

    def __init__(self, widths: Widths, classes: int, config: CuesConfig) -> None:
        super().__init__()
        c = self.config = config
        self.text, self.speech = "text" in widths, "audio" in widths
        self.words = self.text and "words" in widths
        _refuse_what_lacks(widths, c)
        self.reader: TextReader | None = None
        self.hearer: SoundReader | None = None
        if self.text:
            if not c.cache_text:
                self.reader = TextReader(c.finetune_roberta)
            self.extract_text = Features(self.reader.width if self.reader else widths["text"], c)
            if self.words and c.kwrt and "matrix" in widths:
                self.relations = Relations(c.squeeze, c.kwrt_linear, c.kwrt_symmetric)
        if self.speech:
            if c.finetune_wavlm:
                self.hearer = SoundReader()
            self.extract_speech = Features(self.hearer.width if self.hearer else widths["audio"], c)
            if c.pe:
                tracks = c.prosody_input == "mel_f0"
                self.prosody = Prosody(c.width, c.prosody_width, tracks, c.prosody_resample)
        self.step1 = nn.ModuleList(CrossLayer(c) for _ in range(c.layers))
        width = c.width
        self.bridges: Bridges | None = None
        if self.speech and c.mfm_blocks:
            self.bridges = Bridges(
                width,
                c.mfm_size,
                c.mfm_blocks,
                c.bridge_len,
                c.bridge_direction,
                c.mfm_layers,
                c.share_bridge,
                c.vit_lower_layers,
            )
            width = self.bridges.width
            self.head2 = nn.Linear(width, classes)
        self.head1 = nn.Linear(width, classes)

    def on_epoch_start(self, epoch: int) -> None:
        """Before the first epoch frozen layers and published encoders take the tensors of their checkpoints.

        Raises:
            WeightsError: one is absent; names the switch that does without.
        """
        if epoch > 0:
            return
        for part in (self.bridges, self.reader, self.hearer):
            if part is not None:
                part.load()
        if self.speech and self.config.pe and self.config.prosody_init == "released":
            try:
                self.prosody.load()
            except WeightsError as error:
                hint = f"{error.hint}; or train these encoders from scratch with `prosody_init: random`"
                raise WeightsError(error.message, details=error.details, hint=hint) from error

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
        places, c = self._ends(batch), self.config
        if self.hearer is not None:
            batch = replace(batch, steps={**batch.steps, "audio": self.hearer(batch.steps["audio"])})
        reach, lengths = None, torch.zeros_like(places)
        if self.text:
            lengths = lengths + steps_in(batch, "text", places)
        if self.speech:
            reach = reach_of(batch, "audio", places, c.past, c.erc_future_context, c.window_frames)
            lengths = lengths + steps_in(batch, "audio", places, reach)

        def of_windows(ranks: Tensor) -> list[Tensor]:
            return self._of_windows(batch, places[ranks], reach and reach.at(ranks))

        return places, each_alike(lengths, of_windows)

    def _of_windows(self, batch: Batch, places: Tensor, reach: Reach | None) -> list[Tensor]:
        text = self._text(batch, places, reach) if self.text else None
        speech = self._speech(batch, places, reach) if reach else None
        x, keys = self._fused(text, speech)
        for layer in self.step1:
            x = Heard(layer(x.values, keys.values, keys.mask), x.lengths, x.last)
        if self.bridges is None:
            return [self.head1(self._pooled(x.values, x, batch))]
        F_m, drawn = steps_at(batch, "mel", places)
        after, picture = self.bridges(x.values, x.mask, F_m.values, F_m.mask)
        first = self.head1(self._pooled(after, x, batch))
        second = self.head2(picture[:, 0])
        # Without a picture the first head speaks alone.
        return [first, torch.where(drawn[:, None], second, first)]

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
        a, b = (x.padded(longest) for x in (speech, text))
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

    def _text(self, batch: Batch, places: Tensor, reach: Reach | None) -> Heard:
        """F_t: rows are words (or tokens), weighed by their relations, without what the bound on speech dropped."""
        tokens, _ = steps_at(batch, "text", places)
        if not self.words:
            return Heard(self._states(tokens), tokens.lengths, tokens.mask)
        words, _ = steps_at(batch, "words", places)
        said, gone = words.lengths, torch.zeros_like(words.lengths)
        if reach is not None:
            tokens, words, gone = since(reach.oldest, tokens, words)
        h = self._states(tokens)
        scores = None
        if hasattr(self, "relations"):
            matrix, _ = steps_at(batch, "matrix", places)
            scores = self.relations.scores(matrix.values, said, words.values.shape[1], gone)
        spans = words.values.long()
        if self.config.text_granularity == "token":
            return self._weighed_tokens(h, tokens, spans, words.mask, scores)
        rows = spoken_words(h, spans) * words.mask.unsqueeze(-1)
        if scores is not None:
            rows = rows * self.relations(scores).unsqueeze(-1)
        return Heard(rows, words.lengths, words.mask & (spans[..., 2] == 0))

    def _states(self, tokens: Heard) -> Tensor:
        """h_t before words, [N, T, width], of states or, where the model reads itself, of ids."""
        read = self.reader(tokens.values, tokens.mask) if self.reader is not None else tokens.values
        h: Tensor = self.extract_text(read, tokens.mask)
        return h

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

    def _speech(self, batch: Batch, places: Tensor, reach: Reach) -> Heard:
        """F_a of the frames of all utterances of each window, one after the other."""
        x = window_of(batch, "audio", places, reach)
        h = self.extract_speech(x.values, x.mask)
        if not self.config.pe:
            return Heard(h, x.lengths, x.last)
        tracks = None
        if self.config.prosody_input == "mel_f0":
            tracks = (
                window_of(batch, "pitch", places, reach),
                window_of(batch, "bands", places, reach),
            )
        return Heard(self.prosody(h, x.lengths, tracks), x.lengths, x.last)

    def _heads(self) -> list[nn.Linear]:
        return [self.head1] if self.bridges is None else [self.head1, self.head2]


def _refuse_what_lacks(widths: Widths, c: CuesConfig) -> None:
    for role, reads, switch, wanted, states in (
        ("text", not c.cache_text, "cache_text: false", "cues_kwrt:ids", "cues_kwrt:tokens"),
        ("audio", c.finetune_wavlm, "finetune_wavlm: true", "an audio/samples", "cues_wavlm"),
    ):
        if role in widths and reads != (widths[role] == 1):
            told = "needs" if reads else "is the switch for"
            raise UsageError(
                f"cues: a step of the {role} has {widths[role]} numbers; {switch} {told} ids or samples, of 1",
                hint=f"name {wanted if reads else states} first, or change the switch",
            )
    if "audio" not in widths:
        return
    if c.mfm_blocks and "mel" not in widths:
        raise UsageError(
            "cues: the second fusion step needs the mel picture, and no feature is named for it",
            hint="name one after that of the speech (cues_mel_target:tokens), or say `mfm_blocks: 0`",
        )
    if c.pe and c.prosody_input == "mel_f0" and widths.get("bands") != BANDS:
        raise UsageError(
            f"cues: prosody_input: mel_f0 needs pitch classes and {BANDS} mel bands; no features are named for them",
            hint="name FEATURE:classes and FEATURE:bands of an audio/pitch-mel after the speech and the mel picture",
        )


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
    widths={"text": 768, "words": SPAN, "matrix": 1, "audio": 768, "mel": 1024, "pitch": 1, "bands": BANDS},
    classes=7,
    paper_encoders={
        "text": "text/kwrt",
        "words": "text/kwrt",
        "matrix": "text/kwrt",
        "audio": "audio/wavlm-base-plus",
        "mel": "audio/mel-vit",
        "pitch": "audio/pitch-mel",
        "bands": "audio/pitch-mel",
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
    roles={"text": ("text", "words", "matrix"), "audio": ("audio", "mel", "pitch", "bands")},
)

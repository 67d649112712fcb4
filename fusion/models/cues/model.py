"""Cues: Emotional Cues Extraction and Fusion for Multi-modal Emotion Prediction and Recognition in Conversation.

The model sees text and speech of a window of utterances. It labels the last utterance (ERC) or the next one (EPC).
Features from caches are frozen: states of RoBERTa (`cache_text`), frames of WavLM, and states of ViT for the picture of
the mel spectrogram. Numbers of equations, sections and choices (A1, A2, ...) are those of docs/papers/cues.md.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn

from ercache.errors import UsageError, WeightsError
from fusion.data.batches import Batch
from fusion.data.ragged import scatter_to_grid
from fusion.layers.label_losses import Loss
from fusion.layers.length_buckets import map_by_bucket
from fusion.layers.masked import masked_mean
from fusion.models.base import ModelEntry, Widths
from fusion.models.cues import sound_reader, text_reader
from fusion.models.cues.bridges import SIZES, Bridges
from fusion.models.cues.config import RECIPES, CuesConfig, idle_switches
from fusion.models.cues.prosody import BANDS, RELEASED, Prosody
from fusion.models.cues.relations import Relations, mean_word_states
from fusion.models.cues.sound_reader import SoundReader
from fusion.models.cues.text_reader import TextReader
from fusion.models.cues.transformers import CrossLayer, FeatureExtractor
from fusion.models.cues.windows import (
    WindowedSequence,
    WindowExtent,
    count_steps,
    drop_oldest_words,
    gather_window,
    steps_of_places,
    window_extent,
)

SPAN: Final = 3  # numbers of a word: first token, last token + 1, utterance (0 for the window's last one)


class Cues(nn.Module):
    """The Cues model: classifies a window of utterances from text tokens, speech frames, or both (section 4.7)."""

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
            self.extract_text = FeatureExtractor(self.reader.width if self.reader else widths["text"], c)
            if self.words and c.kwrt and "matrix" in widths:
                self.relations = Relations(c.squeeze, c.kwrt_linear, c.kwrt_symmetric)
        if self.speech:
            if c.finetune_wavlm:
                self.hearer = SoundReader()
            self.extract_speech = FeatureExtractor(self.hearer.width if self.hearer else widths["audio"], c)
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
        """Before the first epoch, load published weights: frozen layers of BERT and ViT, and what the switches name.

        Depending on the switches, these are RoBERTa, WavLM and the encoders of pitch and rhythm.

        Raises:
            WeightsError: a checkpoint is missing. The hint names a switch that avoids this checkpoint.
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
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes.

        An utterance where a window ends gets the logits of the classifiers (one or two heads), averaged. All other
        utterances, and empty windows, get the mean bias of the heads.
        """
        places, logits = self.logits(batch)
        averaged = torch.stack(logits).mean(0)
        bias = torch.stack([head.bias for head in self._heads()]).mean(0)
        return scatter_to_grid(averaged, places, batch.mask, bias)

    def objective(self, batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        """Compute the experiment's loss of a batch, and the number of labels.

        By default, it is the loss of the mean logits of the classifiers (heads). With `loss: mean_ce` and two heads, it
        is the mean of the two heads' losses.
        """
        if self.config.loss == "avg_logits" or self.bridges is None:
            return measure(self(batch), batch.labels)
        places, logits = self.logits(batch)
        labels = batch.labels.flatten(0, 1)[places].unsqueeze(0)
        losses = [measure(each.unsqueeze(0), labels) for each in logits]
        return torch.stack([loss for loss, _ in losses]).mean(), losses[0][1]

    def logits(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Compute the logits of all N windows of a batch.

        Returns:
            Two values: int [N], the position of the utterance where each window ends, in the flattened batch [B * L] of
            B dialogues with L utterances; a list with the logits [N, C] for C classes of each classifier (head).
        """
        places, c = self._ends(batch), self.config
        if self.hearer is not None:
            batch = replace(batch, steps={**batch.steps, "audio": self.hearer(batch.steps["audio"])})
        extent, lengths = None, torch.zeros_like(places)
        if self.text:
            lengths = lengths + count_steps(batch, "text", places)
        if self.speech:
            extent = window_extent(batch, "audio", places, c.past, c.erc_future_context, c.window_frames)
            lengths = lengths + count_steps(batch, "audio", places, extent)

        def of_windows(ranks: Tensor) -> list[Tensor]:
            return self._of_windows(batch, places[ranks], extent and extent.select(ranks))

        return places, map_by_bucket(lengths, of_windows)

    def _of_windows(self, batch: Batch, places: Tensor, extent: WindowExtent | None) -> list[Tensor]:
        text = self._text(batch, places, extent) if self.text else None
        speech = self._speech(batch, places, extent) if extent else None
        x, keys = self._fused(text, speech)
        for layer in self.step1:
            x = WindowedSequence(layer(x.values, keys.values, keys.mask), x.lengths, x.last)
        if self.bridges is None:
            return [self.head1(self._pooled(x.values, x, batch))]
        F_m, has_picture = steps_of_places(batch, "mel", places)
        after, picture = self.bridges(x.values, x.mask, F_m.values, F_m.mask)
        first = self.head1(self._pooled(after, x, batch))
        second = self.head2(picture[:, 0])
        # Without a mel picture only the first head counts.
        return [first, torch.where(has_picture[:, None], second, first)]

    def _pooled(self, values: Tensor, x: WindowedSequence, batch: Batch) -> Tensor:
        """Pool the steps of each of N windows into one vector p_1 (section 4.6), [N, width].

        In prediction (EPC), all steps are pooled. In recognition (ERC), only the steps of the last utterance are
        pooled, or all steps if this utterance has none.
        """
        mask = x.mask
        if batch.prior_labels is None:
            own = mask & x.last
            mask = torch.where(own.any(1, keepdim=True), own, mask)
        if self.config.ta_pool == "mean":
            return masked_mean(values, mask)
        first = mask.int().argmax(1)
        return values[torch.arange(len(values)), first] * mask.any(1, keepdim=True)

    def _fused(
        self, text: WindowedSequence | None, speech: WindowedSequence | None
    ) -> tuple[WindowedSequence, WindowedSequence]:
        """Choose the two sequences of the first fusion step: speech as queries, text as keys and values.

        A single modality serves as both sequences. In a window without speech, text serves as both.
        """
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
        return WindowedSequence(
            values, torch.where(mute, b.lengths, a.lengths), torch.where(mute[:, None], b.last, a.last)
        ), text

    def _ends(self, batch: Batch) -> Tensor:
        """Return the positions of the utterances at which windows end, in the flattened batch.

        In prediction (EPC), a dialogue has one window, which ends at the last utterance of the context. In recognition
        (ERC), one window ends at every utterance.
        """
        mask = batch.mask
        if batch.prior_labels is not None:
            position = torch.arange(mask.shape[1], device=mask.device)
            mask = mask & (position == mask.sum(1, keepdim=True) - 1)
        return mask.flatten().nonzero().flatten()

    def _text(self, batch: Batch, places: Tensor, extent: WindowExtent | None) -> WindowedSequence:
        """Compute the text features F_t of each window: states of words (or tokens), weighted by the words' relations.

        Utterances that do not fit into the speech window (`window_frames`) are dropped from the text, too.
        """
        tokens, _ = steps_of_places(batch, "text", places)
        if not self.words:
            return WindowedSequence(self._states(tokens), tokens.lengths, tokens.mask)
        words, _ = steps_of_places(batch, "words", places)
        said, removed = words.lengths, torch.zeros_like(words.lengths)
        if extent is not None:
            tokens, words, removed = drop_oldest_words(extent.oldest, tokens, words)
        h = self._states(tokens)
        scores = None
        if hasattr(self, "relations"):
            matrix, _ = steps_of_places(batch, "matrix", places)
            scores = self.relations.scores(matrix.values, said, words.values.shape[1], removed)
        spans = words.values.long()
        if self.config.text_granularity == "token":
            return self._weighed_tokens(h, tokens, spans, words.mask, scores)
        rows = mean_word_states(h, spans) * words.mask.unsqueeze(-1)
        if scores is not None:
            rows = rows * self.relations(scores).unsqueeze(-1)
        return WindowedSequence(rows, words.lengths, words.mask & (spans[..., 2] == 0))

    def _states(self, tokens: WindowedSequence) -> Tensor:
        """Encode the tokens of N windows as states h_t, [N, T, width] for T tokens.

        The input is cached RoBERTa states, or token ids, which the model's own RoBERTa turns into states.
        """
        read = self.reader(tokens.values, tokens.mask) if self.reader is not None else tokens.values
        h: Tensor = self.extract_text(read, tokens.mask)
        return h

    def _weighed_tokens(
        self, h: Tensor, tokens: WindowedSequence, spans: Tensor, words: Tensor, scores: Tensor | None
    ) -> WindowedSequence:
        """Multiply each token state by a gate, computed from the score of the word that the token belongs to.

        If several words share a token, the largest of their scores counts; a token of no word has the score 0.
        """
        position = torch.arange(h.shape[1], device=h.device)
        inside = (spans[..., 0, None] <= position) & (position < spans[..., 1, None]) & words.unsqueeze(-1)
        last = (inside & (spans[..., 2, None] == 0)).any(1) & tokens.mask
        if scores is not None:
            best = torch.where(inside, scores.unsqueeze(-1), 0.0).amax(1)
            h = h * self.relations(best).unsqueeze(-1)
        return WindowedSequence(h, tokens.lengths, last)

    def _speech(self, batch: Batch, places: Tensor, extent: WindowExtent) -> WindowedSequence:
        """Compute the speech features F_a of each window: encoded speech frames.

        If the config switch `pe` (prosody enhancement) is on, encoded pitch and rhythm are added to the frames.
        """
        x = gather_window(batch, "audio", places, extent)
        h = self.extract_speech(x.values, x.mask)
        if not self.config.pe:
            return WindowedSequence(h, x.lengths, x.last)
        tracks = None
        if self.config.prosody_input == "mel_f0":
            tracks = (
                gather_window(batch, "pitch", places, extent),
                gather_window(batch, "bands", places, extent),
            )
        return WindowedSequence(self.prosody(h, x.lengths, tracks), x.lengths, x.last)

    def _heads(self) -> list[nn.Linear]:
        return [self.head1] if self.bridges is None else [self.head1, self.head2]


def _refuse_what_lacks(widths: Widths, c: CuesConfig) -> None:
    for role, reads, switch, wanted, states in (
        ("text", not c.cache_text, "cache_text: false", "cues_kwrt:ids", "cues_kwrt:tokens"),
        ("audio", c.finetune_wavlm, "finetune_wavlm: true", "an audio/samples", "cues_wavlm"),
    ):
        if role in widths and reads != (widths[role] == 1):
            relation = f"`{switch}` takes only" if reads else f"only `{switch}` takes"
            raise UsageError(
                f"cues: the first {role} feature has {widths[role]} values in each step; {relation} one value "
                "(an id or sample)",
                hint=f"name {wanted if reads else states} as the first {role} feature, or change the switch",
            )
    if "audio" not in widths:
        return
    if c.mfm_blocks and "mel" not in widths:
        raise UsageError(
            "cues: the second fusion step needs the mel picture, but the experiment names no feature for it",
            hint="add cues_mel_target:tokens after the speech feature, or set `mfm_blocks: 0`",
        )
    if c.pe and c.prosody_input == "mel_f0" and widths.get("bands") != BANDS:
        raise UsageError(
            f"cues: `prosody_input: mel_f0` needs features with pitch classes and {BANDS} mel bands, but the "
            "experiment names none",
            hint="after the speech feature and the mel picture, add FEATURE:classes and FEATURE:bands, where FEATURE "
            "is a feature of the encoder audio/pitch-mel",
        )


def _checkpoints(config: CuesConfig, modalities: Collection[str]) -> list[str]:
    sizes = SIZES[config.mfm_size]
    of_sound = {
        sizes["bert"]: config.mfm_blocks > 0,
        sizes["vit"]: config.mfm_blocks > 0,
        sound_reader.CHECKPOINT: config.finetune_wavlm,
        RELEASED: config.prosody_init == "released",
    }
    of_text = {text_reader.CHECKPOINT: not config.cache_text}
    wanted = {**(of_sound if "audio" in modalities else {}), **(of_text if "text" in modalities else {})}
    return [key for key, used in wanted.items() if used]


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
    recipes=RECIPES,
    idle=idle_switches,
    roles={"text": ("text", "words", "matrix"), "audio": ("audio", "mel", "pitch", "bands")},
    checkpoints=_checkpoints,
)

"""DialogueRNN: GRUs that update a global state, a state for each party (speaker) and an emotion state at every turn."""

from collections.abc import Callable

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.data.batches import Batch
from fusion.layers.cells import (
    gru_step,
    project_inputs,
    recurrent_weights,
    run_gru,
    split_inputs,
    stack_weights,
)
from fusion.layers.history import attend_to_history
from fusion.layers.turns import participants, reversal_rows, to_direction_time
from fusion.models.base import ModelEntry, Widths, join_features, joined_width


class DialogueRnnConfig(BaseModel):
    """Switches of DialogueRNN: the settings under `config` of an experiment in params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    D_g: int = Field(150, ge=1, description="global state")
    D_p: int = Field(150, ge=1, description="party states")
    D_e: int = Field(100, ge=1, description="emotion state")
    D_h: int = Field(100, ge=1, description="hidden layer of the head")
    dropout: float = Field(0.3, ge=0, lt=1, description="of the inputs and of the hidden layer")
    state_dropout: float = Field(0.1, ge=0, lt=1, description="of the global and the party states")
    bidirectional: bool = Field(True, description="BiDialogueRNN; False: past utterances only")
    emotion_attention: bool = Field(
        True, description="+Att: attention over the emotion states of the whole dialogue, later ones included"
    )
    listener: bool = Field(
        False, description="a cell updates the states of listeners too; False: they do not change"
    )
    presence: bool = Field(True, description="one 0/1 input a modality: whether the utterance has it (ours)")


class DialogueRnn(nn.Module):
    """The model of "DialogueRNN: An Attentive RNN for Emotion Detection in Conversations" (Majumder et al., AAAI 2019).

    The four GRUs are `GRU_G` (global state), `GRU_P` (state of the party who speaks), `GRU_L` (listeners) and `GRU_E`
    (emotion). Each is a list with one `nn.GRUCell` for each direction of time.
    """

    def __init__(self, widths: Widths, classes: int, config: DialogueRnnConfig) -> None:
        super().__init__()
        self.config = c = config
        self.directions = 2 if c.bidirectional else 1
        self.D_m = D_m = joined_width(widths, c.presence)
        self.GRU_G = self._cells(D_m + c.D_p, c.D_g)
        self.GRU_P = self._cells(D_m + c.D_g, c.D_p)
        self.GRU_L = self._cells(D_m + c.D_p, c.D_p) if c.listener else None
        self.GRU_E = self._cells(c.D_p, c.D_e)
        self.W_alpha = nn.Linear(D_m, self.directions * c.D_g, bias=False)
        D_e = self.directions * c.D_e
        self.W_beta = nn.Linear(D_e, D_e, bias=False) if c.emotion_attention else None
        self.dropout, self.state_dropout = nn.Dropout(c.dropout), nn.Dropout(c.state_dropout)
        self.W_l = nn.Linear(D_e, c.D_h)
        self.W_smax = nn.Linear(c.D_h, classes)

    def _cells(self, width: int, state: int) -> nn.ModuleList:
        return nn.ModuleList(nn.GRUCell(width, state) for _ in range(self.directions))

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        u = self.dropout(join_features(batch.features, batch.present, self.config.presence))
        e = torch.cat(self.emotions(u, batch.speakers, batch.mask).unbind(0), dim=-1)
        if self.W_beta is not None:
            keys = batch.mask.unsqueeze(1)
            e = F.scaled_dot_product_attention(self.W_beta(e), e, e, attn_mask=keys, scale=1.0)
        logits: Tensor = self.W_smax(self.dropout(self.W_l(e).relu()))
        return logits

    def emotions(self, u: Tensor, speakers: Tensor, mask: Tensor) -> Tensor:
        """Compute the emotion states e, [R, B, L, D_e], with the turns in the order of the dialogue.

        Sizes: R directions, B dialogues, L turns, emotion states of size D_e.

        Args:
            u: joined features of the utterances, [B, L, D_m] with D_m features.
            speakers: int [B, L]; speaker index of each utterance.
            mask: bool [B, L]; False for padding.
        """
        back = reversal_rows(mask)
        who = to_direction_time(speakers.where(mask, 0).expand(self.directions, *speakers.shape), back)
        parties = participants(speakers, mask).shape[1]
        return to_direction_time(run_gru(self.GRU_E, self._parties(u, back, who, parties)), back)

    def _parties(self, u: Tensor, back: Tensor, who: Tensor, parties: int) -> Tensor:
        """Run the GRUs of the global state and of the parties (speakers) turn by turn.

        Returns:
            The state q_s of the current speaker after each turn, [R, B, L, D_p]: R directions, B dialogues, L turns,
            states of size D_p. The backward direction has its turns in reverse order.
        """
        c, (R, B, L), D_m = self.config, who.shape, u.shape[-1]
        G_u, G_q = split_inputs(self.GRU_G, D_m, c.D_p)
        P_u, P_c = split_inputs(self.GRU_P, D_m, c.D_g)
        known_G = to_direction_time(project_inputs(self.GRU_G, G_u, u), back).unbind(2)
        known_P = to_direction_time(project_inputs(self.GRU_P, P_u, u), back).unbind(2)
        listeners = self._listeners(u, back, B * parties)
        query = to_direction_time(self.W_alpha(u).unflatten(-1, (R, c.D_g)).movedim(2, 0), back).unbind(2)
        (W_G, b_G), (W_P, b_P) = recurrent_weights(self.GRU_G, B), recurrent_weights(self.GRU_P, B)
        W_q, W_c = stack_weights(G_q), stack_weights(P_c)
        slot = who[..., None, None].expand(R, B, L, 1, c.D_p).unbind(2)
        g, bank = u.new_zeros(R, B, c.D_g), u.new_zeros(R, B, parties, c.D_p)
        past: list[Tensor] = []
        found = []
        for t in range(L):
            before = bank.gather(2, slot[t]).squeeze(2)
            c_t = attend_to_history(past, past, query[t]) if past else None  # over g_1 .. g_{t-1}
            g = gru_step(torch.baddbmm(known_G[t], before, W_q), torch.baddbmm(b_G, g, W_G), g)
            g = self.state_dropout(g)
            gi = known_P[t] if c_t is None else torch.baddbmm(known_P[t], c_t, W_c)
            q_s = gru_step(gi, torch.baddbmm(b_P, before, W_P), before)
            q_s = self.state_dropout(q_s)
            listened = bank if listeners is None else listeners(t, q_s, bank)
            bank = listened.scatter(2, slot[t], q_s.unsqueeze(2))
            past.append(g)
            found.append(q_s)
        return torch.stack(found, dim=2)

    def _listeners(
        self, u: Tensor, back: Tensor, rows: int
    ) -> Callable[[int, Tensor, Tensor], Tensor] | None:
        """Make the function that updates the states of all P parties as listeners; None without a listener cell.

        The function takes three values: the index of the turn, the speaker's new state q_s [R, B, D_p], and the states
        [R, B, P, D_p] of all parties. It returns the updated states. Sizes: R directions, B dialogues, states of size
        D_p.
        """
        if self.GRU_L is None:
            return None
        L_u, L_q = split_inputs(self.GRU_L, self.D_m, self.config.D_p)
        known = to_direction_time(project_inputs(self.GRU_L, L_u, u), back).unbind(2)
        W_q, (W_L, b_L) = stack_weights(L_q), recurrent_weights(self.GRU_L, rows)

        def listen(t: int, q_s: Tensor, bank: Tensor) -> Tensor:
            gi = torch.baddbmm(known[t], q_s, W_q).unsqueeze(2)
            gh = torch.baddbmm(b_L, bank.flatten(1, 2), W_L).view(*bank.shape[:3], -1)
            after: Tensor = self.state_dropout(gru_step(gi, gh, bank))
            return after

        return listen


ENTRY = ModelEntry(
    key="dialogue_rnn",
    paper="DialogueRNN: An Attentive RNN for Emotion Detection in Conversations (Majumder et al., AAAI 2019)",
    tasks=("erc", "epc"),
    modalities=("text", "audio", "visual"),
    config=DialogueRnnConfig,
    presets={
        "small": {"D_g": 64, "D_p": 64, "D_e": 48, "D_h": 48, "emotion_attention": False},
        "meld": {},
        "iemocap": {"D_g": 500, "D_p": 500, "D_e": 300, "D_h": 300},
    },
    build=DialogueRnn,
    pair_bytes=lambda config, _: (
        5 * config.D_g * (1 + config.bidirectional)
    ),  # the past is held anew at every turn
)

"""The recurrent part of AVAFN: states of context, speaker, listeners and emotion (Eqs. 8 to 12).

Source: docs/papers/avafn.md.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.layers.cells import (
    cell_parameters,
    gru_step,
    project_inputs,
    recurrent_weights,
    run_gru,
    split_inputs,
    stack_weights,
)
from fusion.layers.history import attend_to_history
from fusion.layers.turns import participants, reversal_rows, to_direction_time
from fusion.models.avafn.config import AvafnConfig


@dataclass(frozen=True)
class States:
    """The states of AVAFN's GRUs at every turn.

    Sizes: R directions of time, B dialogues, L turns; D_c, D_q and D_e are the state sizes in the model's config.

    Attributes:
        C: context state, [R, B, L, D_c]; None if switched off.
        q_i: state of the current speaker, [R, B, L, D_q]; None if switched off.
        qL: pooled states of the listeners, [R, B, L, D_q]; None if switched off.
        E: emotion state, [R, B, L, D_e].
        bank: states of all P participants after each turn, [R, B, L, P, D_q]. In the backward direction its turns are
            reversed; the turns of the other fields are in the order of the dialogue.
    """

    C: Tensor | None
    q_i: Tensor | None
    qL: Tensor | None
    E: Tensor
    bank: Tensor


class Recurrence(nn.Module):
    """The four coupled GRUs of AVAFN (Eq. 8 to 12): context, speaker, listener and emotion.

    Each GRU is a list with one `nn.GRUCell` for each direction of time. One step computes a turn for both directions
    and all participants at once. Listener pooling and emotion states do not influence the other states, so they are
    computed after the last turn.
    """

    def __init__(self, width: int, config: AvafnConfig) -> None:
        super().__init__()
        self.config = c = config
        self.directions = 2 if c.bidirectional else 1
        D_c, D_q = c.D_c if c.use_acm else 0, c.D_q if c.use_ssm else 0
        heard = width + (c.d_model if c.listener_input == "v_u" else 0)
        said = D_c + D_q + (c.D_q if c.use_ilm else 0)
        self.GRU_C = self._cells(width + D_q, c.D_c, c.use_acm)
        self.GRU_S = self._cells(D_c + width, c.D_q, c.use_ssm)
        self.GRU_L = self._cells(heard, c.D_q, c.use_ilm)
        self.GRU_E = self._cells(said, c.D_e, True)
        scored = {"scalar_tanh": 1, "dot_query": width, "vector": c.D_c}[c.context_attention]
        attends = c.use_acm and c.use_context_attention
        self.W = nn.ModuleList(nn.Linear(c.D_c, scored) for _ in range(self.directions if attends else 0))

    def _cells(self, width: int, state: int, used: bool) -> nn.ModuleList:
        return nn.ModuleList(nn.GRUCell(width, state) for _ in range(self.directions if used else 0))

    def forward(self, u: Tensor, v: Tensor, speakers: Tensor, mask: Tensor) -> States:
        """Run the context, speaker, listener and emotion GRUs over all turns of each dialogue.

        Args:
            u: fused features of the utterances, [B, L, width]: B dialogues, L turns.
            v: video features, an additional input of the listener GRU, [B, L, d] with d features.
            speakers: int [B, L]; speaker index of each utterance.
            mask: bool [B, L]; False for padding.

        Returns:
            The states after each turn, [R, B, L, width of the GRU]; R is the number of directions.
        """
        here, back = participants(speakers, mask), reversal_rows(mask)
        who = speakers.where(mask, 0).expand(self.directions, *speakers.shape)
        who = to_direction_time(who, back)  # [R, B, L]
        speaking = F.one_hot(who, here.shape[1]).bool()  # [R, B, L, P]
        C, banks = self._turns(u, v, back, who, speaking)
        slot = who[..., None, None].expand(*who.shape, 1, self.config.D_q)
        q_i = banks.gather(3, slot).squeeze(3) if self.GRU_S else None
        listening = here[:, None] & ~speaking
        qL = self._pooled(banks, listening) if self.GRU_L else None
        said = torch.cat([x for x in (C, q_i, qL) if x is not None], dim=-1)
        E = run_gru(self.GRU_E, said, who if self.config.emotion_chain == "speaker" else None, here.shape[1])
        C, q_i, qL = (None if x is None else to_direction_time(x, back) for x in (C, q_i, qL))
        return States(C=C, q_i=q_i, qL=qL, E=to_direction_time(E, back), bank=banks)

    def _turns(
        self, u: Tensor, v: Tensor, back: Tensor, who: Tensor, speaking: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Run the context, speaker and listener GRUs turn by turn.

        Returns:
            Two tensors: context states, [R, B, L, D_c] (None if switched off); states of all P participants after each
            turn, [R, B, L, P, D_q]. R directions, B dialogues, L turns; D_c and D_q are the state sizes. The turns of
            the backward direction are in reverse order.
        """
        c, (R, B, L, P) = self.config, speaking.shape
        D_c, D_q = c.D_c if self.GRU_C else 0, c.D_q if self.GRU_S else 0
        known: dict[str, tuple[Tensor, ...]] = {}
        C_q = S_ac = None
        if self.GRU_C:
            C_u, C_parts = split_inputs(self.GRU_C, u.shape[-1], D_q)
            known["C"] = to_direction_time(project_inputs(self.GRU_C, C_u, u), back).unbind(2)
            C_q = stack_weights(C_parts) if D_q else None
        if self.GRU_S:
            S_parts, S_u = split_inputs(self.GRU_S, D_c, u.shape[-1])
            known["S"] = to_direction_time(project_inputs(self.GRU_S, S_u, u), back).unbind(2)
            S_ac = stack_weights(S_parts) if D_c else None
        if self.GRU_L:
            vu = torch.cat([v, u], dim=-1) if c.listener_input == "v_u" else u
            known["L"] = to_direction_time(
                project_inputs(self.GRU_L, cell_parameters(self.GRU_L, "weight_ih"), vu), back
            ).unbind(2)
        W_C, b_C = recurrent_weights(self.GRU_C, B) if self.GRU_C else (None, None)
        update = StateUpdate(self.GRU_S, self.GRU_L, B * P)
        memory = ContextAttention(self.W, c.context_attention, to_direction_time(u.expand(R, *u.shape), back))
        C, bank = u.new_zeros(R, B, c.D_c), u.new_zeros(R, B, P, c.D_q)
        slot = who[..., None, None].expand(R, B, L, 1, c.D_q).unbind(2)
        turn = speaking.unsqueeze(-1).unbind(2)
        contexts, banks = [], []
        for t in range(L):
            ac = None
            if W_C is not None and b_C is not None:
                gi = known["C"][t]
                if C_q is not None:
                    gi = torch.baddbmm(gi, bank.gather(2, slot[t]).squeeze(2), C_q)
                ac = memory.read(t)  # Eq. 9, over the contexts before this turn
                C = gru_step(gi, torch.baddbmm(b_C, C, W_C), C)  # Eq. 8
                memory.add(C)
                contexts.append(C)
            said = known["S"][t] if self.GRU_S else None
            if said is not None and ac is not None and S_ac is not None:
                said = torch.baddbmm(said, ac, S_ac)
            bank = update(bank, turn[t], said, known["L"][t] if self.GRU_L else None)  # Eq. 10 and 11
            banks.append(bank)
        return torch.stack(contexts, dim=2) if contexts else None, torch.stack(banks, dim=2)

    def _pooled(self, banks: Tensor, listening: Tensor) -> Tensor:
        """Pool the states of all listeners at a turn into one vector: maximum, mean or sum; 0 without a listener.

        Args:
            banks: states of all P participants after each turn, [R, B, L, P, D_q]: R directions, B dialogues, L turns,
                states of size D_q.
            listening: bool [R, B, L, P]; True for participants who listen at this turn.

        Returns:
            Pooled states, [R, B, L, D_q].
        """
        kind, some = self.config.listener_pool, listening.unsqueeze(-1)
        if kind == "max":
            return banks.masked_fill(~some, -math.inf).amax(3).where(some.any(3), 0)
        total = (banks * some).sum(3)
        return total if kind == "sum" else total / some.sum(3).clamp(min=1)


class StateUpdate:
    """Updates the states of all participants at a turn: the speaker by GRU_S, the listeners by GRU_L (Eq. 10, 11).

    The two GRUs have states of the same size, so one batched step updates the speaker and the listeners together.
    """

    def __init__(self, speaker: nn.ModuleList, listener: nn.ModuleList, rows: int) -> None:
        cells = [recurrent_weights(cell, rows) for cell in (speaker, listener) if cell]
        self.weight = torch.cat([W for W, _ in cells], dim=-1) if cells else None
        self.bias = torch.cat([b for _, b in cells], dim=-1) if cells else None

    def __call__(self, bank: Tensor, turn: Tensor, said: Tensor | None, heard: Tensor | None) -> Tensor:
        """Return the states of all participants after a turn, [R, B, P, D_q].

        Sizes: R directions, B dialogues, P participants, states of size D_q.

        Args:
            bank: states of the participants before the turn, [R, B, P, D_q].
            turn: bool [R, B, P, 1]; True for the participant who speaks.
            said: projected input of the speaker GRU, [R, B, 3 D_q]; None if this GRU is switched off.
            heard: projected input of the listener GRU, [R, B, 3 D_q]; None if this GRU is switched off.
        """
        if self.weight is None or self.bias is None:
            return bank
        gh = torch.baddbmm(self.bias, bank.flatten(1, 2), self.weight).view(*bank.shape[:3], -1)
        if said is not None and heard is not None:
            gh_S, gh_L = gh.chunk(2, dim=-1)
            gi = torch.where(turn, said.unsqueeze(2), heard.unsqueeze(2))
            return gru_step(gi, torch.where(turn, gh_S, gh_L), bank)
        known = said if said is not None else heard
        assert known is not None
        after = gru_step(known.unsqueeze(2), gh, bank)
        return torch.where(turn if said is not None else ~turn, after, bank)


class ContextAttention:
    """Soft attention over the context states of the earlier turns (Eq. 9): call `read` at a turn, then `add`.

    With the switch `context_attention: dot_query`, the score of a context state depends on the current utterance. With
    other values it does not: the sums of Eq. 9b and 9c are then updated turn by turn, so that a turn costs the same in
    short and long dialogues.
    """

    def __init__(self, W: nn.ModuleList, kind: str, u: Tensor) -> None:
        self.kind, self.u = kind, u
        self.weight = torch.stack([x.T for x in cell_parameters(W, "weight")]) if W else None
        self.bias = torch.stack(cell_parameters(W, "bias")).unsqueeze(1) if W else None
        self.contexts: list[Tensor] = []
        self.keys: list[Tensor] = []
        self.total: Tensor | None = None
        self.weighted: Tensor | None = None

    def read(self, t: int) -> Tensor | None:
        """Return the attended context ac_t at turn t: a weighted mean of the context states of the earlier turns.

        Returns:
            [R, B, D_c] for R directions, B dialogues and context states of size D_c. None stands for 0: at the first
            turn, or if the attention is switched off.
        """
        if self.weighted is not None and self.total is not None:
            return self.weighted / self.total
        if not self.keys:
            return None
        return attend_to_history(self.keys, self.contexts, self.u[:, :, t])

    def add(self, C: Tensor) -> None:
        """Store the context state of the turn that has just ended, so that later turns can attend to it.

        Args:
            C: context state, [R, B, D_c]: R directions, B dialogues, states of size D_c.
        """
        if self.weight is None or self.bias is None:
            return
        s = torch.baddbmm(self.bias, C, self.weight).tanh()
        if self.kind == "dot_query":
            self.contexts.append(C)
            self.keys.append(s)
            return
        e = s.exp()
        self.total = e if self.total is None else self.total + e
        self.weighted = e * C if self.weighted is None else torch.addcmul(self.weighted, e, C)

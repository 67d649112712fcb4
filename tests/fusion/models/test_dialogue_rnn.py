"""DialogueRNN compared with its equations, written out for one dialogue with loops over turns and parties."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fusion.data.batches import Batch
from fusion.models.dialogue_rnn import ENTRY, DialogueRnn
from tests.support.literal_avafn import gru_cell

WIDTHS = {"text": 6, "audio": 4}


def build(**switches: Any) -> DialogueRnn:
    torch.manual_seed(0)
    sizes = {"D_g": 5, "D_p": 6, "D_e": 4, "D_h": 5, "presence": False}
    model = DialogueRnn(WIDTHS, 3, ENTRY.resolve("meld", {**sizes, **switches}))  # type: ignore[arg-type]
    return model.double().eval()


def dialogues(lengths: tuple[int, ...] = (6, 2, 4, 1)) -> Batch:
    draw = torch.Generator().manual_seed(3)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    features = {
        m: torch.randn(*mask.shape, w, generator=draw, dtype=torch.float64) for m, w in WIDTHS.items()
    }
    speakers = torch.randint(3, mask.shape, generator=draw)
    return Batch(features, dict.fromkeys(WIDTHS, mask), mask, speakers, torch.zeros_like(speakers))


def literal(model: DialogueRnn, u: Tensor, speakers: list[int]) -> Tensor:
    """Logits [N, C] of one dialogue."""
    e = [emotions(model, 0, u, speakers)]
    if model.directions == 2:
        e.append(emotions(model, 1, u.flip(0), speakers[::-1]).flip(0))
    joint = torch.cat(e, dim=1)
    if model.W_beta is not None:
        looks = [torch.softmax(torch.stack([model.W_beta(x) @ y for y in joint]), 0) for x in joint]
        joint = torch.stack(
            [sum((b * y for b, y in zip(beta, joint, strict=True)), 0 * joint[0]) for beta in looks]
        )
    return model.W_smax(torch.relu(model.W_l(joint)))


def emotions(model: DialogueRnn, r: int, u: Tensor, speakers: list[int]) -> Tensor:
    c = model.config
    W_alpha = model.W_alpha.weight.chunk(model.directions)[r]
    g, e = u.new_zeros(c.D_g), u.new_zeros(c.D_e)
    q = {j: u.new_zeros(c.D_p) for j in speakers}
    history: list[Tensor] = []
    found = []
    for t, s in enumerate(speakers):
        context = u.new_zeros(c.D_g)
        if history:
            alpha = torch.softmax(torch.stack([(W_alpha @ u[t]) @ past for past in history]), 0)
            context = sum((a * past for a, past in zip(alpha, history, strict=True)), context)
        g = gru_cell(model.GRU_G[r], torch.cat([u[t], q[s]]), g)
        said = gru_cell(model.GRU_P[r], torch.cat([u[t], context]), q[s])
        if model.GRU_L is not None:
            q = {j: gru_cell(model.GRU_L[r], torch.cat([u[t], said]), state) for j, state in q.items()}
        q[s] = said
        e = gru_cell(model.GRU_E[r], said, e)
        history.append(g)
        found.append(e)
    return torch.stack(found)


@torch.no_grad()
@pytest.mark.parametrize(
    "switches",
    [{}, {"listener": True}, {"emotion_attention": False}, {"bidirectional": False, "listener": True}],
    ids=str,
)
def test_the_fast_network_is_the_equations_written_out(switches: dict[str, Any]) -> None:
    model, x = build(**switches), dialogues()
    fast = model(x)
    for d, n in enumerate(x.mask.sum(1).tolist()):
        u = torch.cat([x.features["text"][d, :n], x.features["audio"][d, :n]], dim=1)
        slow = literal(model, u, x.speakers[d, :n].tolist())
        assert (fast[d, :n] - slow).abs().max() < 1e-10

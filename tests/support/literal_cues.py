"""Cues, written literally from the equations of docs/papers/cues.md, for one window of utterances.

It uses loops over steps, heads and segments. It shares only the tensors with the fast model that the tests check (T+S,
eval mode, here in float64).
"""

import math

import torch
from torch import Tensor

from fusion.models.cues.model import Cues

State = dict[str, Tensor]


def logits(model: Cues, window: list[dict[str, Tensor]], epc: bool) -> Tensor:
    """Averaged logits [C] of a window of utterances (4.6). The last utterance holds the text and the mel picture."""
    s = {name: value.double() for name, value in model.state_dict().items()}
    c, last = model.config, window[-1]
    h_t = extracted(s, "extract_text", last["text"].double(), c.heads, c.layers)
    F_t = weighed_words(s, h_t, last["words"].tolist(), last["matrix"])
    h_a = extracted(s, "extract_speech", torch.cat([u["audio"] for u in window]).double(), c.heads, c.layers)
    F_a = enhanced(s, h_a)
    F_ta = F_a
    for n in range(c.layers):
        F_ta = crossed(s, f"step1.{n}", F_ta, F_t, c.heads)
    F_m = last["mel"].double()
    if model.bridges is not None:
        F_ta, F_m = exchanged(s, F_ta, F_m, model)
    own = F_ta if epc else F_ta[-len(last["audio"]) :]
    p_1 = sum(own, start=own.new_zeros(own.shape[1])) / len(own)
    first = s["head1.weight"] @ p_1 + s["head1.bias"]
    if model.bridges is None:
        return first
    p_2 = norm(F_m, s["bridges.vision.layernorm.weight"], s["bridges.vision.layernorm.bias"], 1e-12)[0]
    return (first + s["head2.weight"] @ p_2 + s["head2.bias"]) / 2


def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Layer norm, row by row."""
    rows = [(row - row.mean()) / ((row - row.mean()).square().mean() + eps).sqrt() for row in x]
    return torch.stack(rows) * weight + bias


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Multi-head attention softmax(Q K^T / sqrt(head width)) V, computed head by head and query by query."""
    size = q.shape[1] // heads
    parts = []
    for h in range(heads):
        Q, K, V = (x[:, h * size : (h + 1) * size] for x in (q, k, v))
        rows = []
        for query in Q:
            e = torch.stack([math.e ** (query @ key / size**0.5) for key in K])
            rows.append((e / e.sum()) @ V)
        parts.append(torch.stack(rows))
    return torch.cat(parts, 1)


def asked(s: State, at: str, x: Tensor, kv: Tensor, heads: int) -> Tensor:
    """Multi-head attention with projections, whose tensors have torch's names."""
    W, b = s[f"{at}.in_proj_weight"].chunk(3), s[f"{at}.in_proj_bias"].chunk(3)
    q, k, v = x @ W[0].T + b[0], kv @ W[1].T + b[1], kv @ W[2].T + b[2]
    return linear(s, f"{at}.out_proj", attended(q, k, v, heads))


def linear(s: State, at: str, x: Tensor) -> Tensor:
    """Linear layer with weight and bias, whose tensors have torch's names."""
    return x @ s[f"{at}.weight"].T + s[f"{at}.bias"]


def normed(s: State, at: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    """Layer norm, whose tensors have torch's names."""
    return norm(x, s[f"{at}.weight"], s[f"{at}.bias"], eps)


def extracted(s: State, at: str, x: Tensor, heads: int, layers: int) -> Tensor:
    """Feature extraction: a linear map and post-norm layers (4.1)."""
    h = linear(s, f"{at}.enter", x)
    for n in range(layers):
        layer = f"{at}.layers.{n}"
        h = normed(s, f"{layer}.norm1", h + asked(s, f"{layer}.self_attn", h, h, heads))
        inner = linear(s, f"{layer}.linear1", h).clamp(min=0)
        h = normed(s, f"{layer}.norm2", h + linear(s, f"{layer}.linear2", inner))
    return h


def weighed_words(s: State, h: Tensor, words: list[list[int]], matrix: Tensor) -> Tensor:
    """Word features F_t = h_t * Linear(Squeeze(M)) (Eq. 1). h_t is the mean of the tokens of each word."""
    K = len(words)
    rows = []
    for i, (begin, end, _) in enumerate(words):
        score = sum(int(matrix[i * K + j]) for j in range(K))
        rows.append(h[begin:end].mean(0) * (s["relations.w"] * score + s["relations.b"]))
    return torch.stack(rows)


def enhanced(s: State, h: Tensor) -> Tensor:
    """Prosody-enhanced audio F_a = h_a + LN(Enc(h_a)) (Eq. 2)."""
    codes = torch.cat([branch(s, "prosody.pitch", h, 16), branch(s, "prosody.rhythm", h, 8)], 1)
    return h + normed(s, "prosody.norm", linear(s, "prosody.out", codes))


def branch(s: State, at: str, x: Tensor, groups: int) -> Tensor:
    """One branch of the prosody encoder: one code for every eight frames, repeated for each of these frames (4.3)."""
    T, number = len(x), 0
    while f"{at}.convs.{number}.weight" in s:
        kernel, bias = s[f"{at}.convs.{number}.weight"], s[f"{at}.convs.{number}.bias"]
        edge = x.new_zeros(2, x.shape[1])
        padded = torch.cat([edge, x, edge])
        y = torch.stack([(kernel * padded[t : t + 5].T).sum((1, 2)) + bias for t in range(T)])
        size = y.shape[1] // groups
        for g in range(groups):
            part = y[:, g * size : (g + 1) * size]
            y[:, g * size : (g + 1) * size] = (part - part.mean()) / (
                (part - part.mean()).square().mean() + 1e-5
            ).sqrt()
        x = (y * s[f"{at}.norms.{number}.weight"] + s[f"{at}.norms.{number}.bias"]).clamp(min=0)
        number += 1
    forward = lstm(s, f"{at}.lstm", "", list(x))
    backward = lstm(s, f"{at}.lstm", "_reverse", list(x)[::-1])[::-1]
    return torch.stack(
        [torch.cat([forward[min(t // 8 * 8 + 7, T - 1)], backward[t // 8 * 8]]) for t in range(T)]
    )


def lstm(s: State, at: str, way: str, steps: list[Tensor]) -> list[Tensor]:
    """Hidden states of an LSTM in one direction, computed gate by gate."""
    W, U = s[f"{at}.weight_ih_l0{way}"], s[f"{at}.weight_hh_l0{way}"]
    b = s[f"{at}.bias_ih_l0{way}"] + s[f"{at}.bias_hh_l0{way}"]
    h = cell = U.new_zeros(U.shape[1])
    found = []
    for x in steps:
        i, f, g, o = (W @ x + U @ h + b).chunk(4)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(cell)
        found.append(h)
    return found


def crossed(s: State, at: str, x: Tensor, kv: Tensor, heads: int) -> Tensor:
    """One cross-attention layer of step 1 (4.4)."""
    x = normed(s, f"{at}.norms.0", x + asked(s, f"{at}.attention", x, kv, heads))
    inner = linear(s, f"{at}.ffn.0", x).clamp(min=0)
    return normed(s, f"{at}.norms.1", x + linear(s, f"{at}.ffn.3", inner))


def exchanged(s: State, F_ta: Tensor, F_m: Tensor, model: Cues) -> tuple[Tensor, Tensor]:
    """The MFM blocks, which exchange bridge tokens between the modalities (Eq. 3 to 6)."""
    bridges = model.bridges
    assert bridges is not None
    if "bridges.enter.weight" in s:
        F_ta = linear(s, "bridges.enter", F_ta)
    heads = bridges.heads
    numbers = zip(bridges.language.numbers, bridges.vision.numbers, strict=True)
    for b, (lang, v) in enumerate(numbers):
        T, P = len(F_ta), len(F_m)
        v_hat = vit(s, f"bridges.vision.layers.{v}", with_last(F_m, s["bridges.bridges.m2ta"][b]), heads)[P:]
        F_m_ta = bert(
            s, f"bridges.language.layers.{lang}", with_last(F_ta, mapped(s, "m2ta", b, v_hat)), heads
        )
        w_hat = bert(
            s, f"bridges.language.layers.{lang}", with_last(F_ta, s["bridges.bridges.ta2m"][b]), heads
        )[T:]
        F_ta_m = vit(s, f"bridges.vision.layers.{v}", with_last(F_m, mapped(s, "ta2m", b, w_hat)), heads)
        F_ta, F_m = F_m_ta[:T], F_ta_m[:P]
    return F_ta, F_m


def with_last(rows: Tensor, bridge: Tensor) -> Tensor:
    """Append the bridge tokens to the rows: [rows ; bridge]."""
    return torch.cat([rows, bridge])


def mapped(s: State, way: str, b: int, x: Tensor) -> Tensor:
    """Apply the MLP of a bridge: Linear, ReLU, Linear."""
    return linear(s, f"bridges.maps.{way}.{b}.2", linear(s, f"bridges.maps.{way}.{b}.0", x).clamp(min=0))


def gelu(x: Tensor) -> Tensor:
    """GELU activation: x Phi(x)."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def bert(s: State, at: str, x: Tensor, heads: int) -> Tensor:
    """A layer of BERT: layer norms after attention and after feed-forward (post-norm)."""
    q, k, v = (linear(s, f"{at}.attention.self.{name}", x) for name in ("query", "key", "value"))
    told = linear(s, f"{at}.attention.output.dense", attended(q, k, v, heads))
    x = normed(s, f"{at}.attention.output.LayerNorm", x + told, 1e-12)
    inner = gelu(linear(s, f"{at}.intermediate.dense", x))
    return normed(s, f"{at}.output.LayerNorm", x + linear(s, f"{at}.output.dense", inner), 1e-12)


def vit(s: State, at: str, x: Tensor, heads: int) -> Tensor:
    """A layer of ViT: layer norms before attention and before feed-forward (pre-norm)."""
    y = normed(s, f"{at}.layernorm_before", x, 1e-12)
    q, k, v = (linear(s, f"{at}.attention.{name}_proj", y) for name in "qkv")
    x = x + linear(s, f"{at}.attention.o_proj", attended(q, k, v, heads))
    inner = gelu(linear(s, f"{at}.mlp.fc1", normed(s, f"{at}.layernorm_after", x, 1e-12)))
    return x + linear(s, f"{at}.mlp.fc2", inner)

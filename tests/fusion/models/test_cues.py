"""Cues compared with its page: examples by hand, sizes, invariances, and what the model may not see.

Source: docs/papers/cues.md.

Items of its list that speak of preprocessing, corpora and metrics (1 to 3 in part, 9, 16, 17, 22) are tested with the
encoders, corpora, views and metrics.
"""

import math
from typing import Any

import pytest
import torch
from torch import nn

from ercache.errors import UsageError, WeightsError
from ercache.training.losses import masked_cross_entropy
from fusion.data.batches import Batch
from fusion.models import MODELS
from fusion.models.cues.bridges import Bridges
from fusion.models.cues.config import CuesConfig
from fusion.models.cues.prosody import Prosody
from fusion.models.cues.relations import Relations, mean_word_states
from fusion.models.cues.transformers import CrossLayer
from fusion.papers import read_paper
from tests.support.cues_batches import WIDTHS, batch_of, model_of, utterance


def parameters(preset: str, classes: int, widths: dict[str, int], **switches: Any) -> int:
    entry = MODELS["cues"]
    with torch.device("meta"):
        model = entry.build(widths, classes, entry.resolve(preset, switches))
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_items_3_and_4_gates_from_the_relations_of_the_figure_by_hand() -> None:
    M = torch.tensor(
        [[0, 1, 0, 0, 1], [1, 0, 1, 1, 1], [0, 1, 0, 0, 1], [0, 1, 0, 0, 1], [1, 1, 1, 1, 0]]
    ).flatten()[None]
    K = torch.tensor([5])

    def scores(**switches: Any) -> list[float]:
        return [round(float(s), 6) for s in Relations(**switches).scores(M, K, 5)[0]]

    assert scores() == [2, 4, 2, 2, 4] and scores(squeeze="mean") == [0.4, 0.8, 0.4, 0.4, 0.8]
    assert scores(symmetric=False) == [2, 3, 1, 1, 0] and scores(squeeze="max") == [1] * 5
    gates = Relations()(torch.tensor([[2.0, 4, 2, 2, 4]]))
    assert torch.allclose(gates, torch.tensor([[1.2, 1.4, 1.2, 1.2, 1.4]]))
    h = torch.tensor([[1.0, 5], [2, 4], [3, 3], [4, 2], [5, 1]])
    wanted = [[1.2, 6.0], [2.8, 5.6], [3.6, 3.6], [4.8, 2.4], [7.0, 1.4]]
    assert torch.allclose(h * gates[0, :, None], torch.tensor(wanted))


def test_item_5_a_function_word_adds_a_row_of_nothing_and_windows_of_other_sizes_do_not_matter() -> None:
    relations = Relations()
    M = torch.tensor([[0, 2, 0], [2, 0, 1], [0, 1, 0]])
    wider = torch.zeros(4, 4, dtype=torch.long)
    keep = torch.tensor([0, 1, 3])
    wider[keep[:, None], keep] = M
    both = torch.zeros(2, 16, dtype=torch.long)
    both[0, :9], both[1] = M.flatten(), wider.flatten()
    found = relations.scores(both, torch.tensor([3, 4]), 4)
    assert found[0].tolist() == [2, 3, 1, 0] and found[1].tolist() == [2, 3, 0, 1]


def test_item_6_words_are_means_of_their_tokens_and_share_a_token_that_is_of_both() -> None:
    h = torch.arange(12.0).view(1, 6, 2)
    spans = torch.tensor([[[1, 4, 0], [3, 5, 0]]])
    assert torch.equal(mean_word_states(h, spans)[0], torch.stack([h[0, 1:4].mean(0), h[0, 3:5].mean(0)]))
    silent = utterance(1)
    silent["words"] = torch.tensor([[0, 1, -1]]).int()  # only the mark of the beginning: no word of its own
    silent["matrix"] = torch.zeros(1, dtype=torch.uint8)
    logits = model_of({"text": 6, "words": 3, "matrix": 1})(batch_of([[utterance(2), silent]]))
    assert logits.isfinite().all()


def test_item_7_prosody_is_added_to_the_frames_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    prosody = Prosody(64, "narrow")
    prosody.out, prosody.norm = nn.Identity(), nn.LayerNorm(4)  # type: ignore[assignment]
    monkeypatch.setattr(prosody, "codes", lambda *_: torch.tensor([[[2.0, 0, 0, -2]]]))
    F_a = prosody(torch.tensor([[[1.0, 2, 3, 4]]]), torch.tensor([1]))
    assert torch.allclose(F_a.flatten(), torch.tensor([2.41421, 2, 3, 2.58579]), atol=1e-4)


@torch.no_grad()
def test_item_8_codes_are_shared_by_eight_frames() -> None:
    prosody = Prosody(1024, "wide").eval()
    codes = prosody.codes(torch.randn(1, 20, 1024), torch.tensor([20]))[0]
    assert codes.shape == (20, 132)
    for begin, end in ((0, 8), (8, 16), (16, 20)):
        assert (codes[begin:end] == codes[begin]).all()
    assert len(codes.unique(dim=0)) == 3
    assert prosody(torch.randn(1, 20, 1024), torch.tensor([20])).shape == (1, 20, 1024)
    assert prosody(torch.randn(1, 1, 1024), torch.tensor([1])).isfinite().all()
    assert sum(p.numel() for p in prosody.parameters()) == 2_929_344
    assert sum(p.numel() for p in Prosody(1024, "narrow").parameters()) == 2_770_072


@torch.no_grad()
def test_item_10_the_first_step_by_hand_and_its_length() -> None:
    layer = CrossLayer(CuesConfig(width=64, heads=1, ffn=8, dropout=0.0)).eval()
    attention = nn.MultiheadAttention(2, 1, batch_first=True, bias=False)
    attention.in_proj_weight.copy_(torch.eye(2).repeat(3, 1))
    attention.out_proj.weight.copy_(torch.eye(2))
    q, k, v = (
        torch.tensor([[[1.0, 0]]]),
        torch.tensor([[[1.0, 0], [0, 1]]]),
        torch.tensor([[[2.0, 4], [6, 0]]]),
    )
    assert torch.allclose(attention(q, k, v)[0], torch.tensor([[[3.320954, 2.679046]]]), atol=1e-6)
    for K in (1, 7):
        assert layer(
            torch.randn(2, 5, 64), torch.randn(2, K, 64), torch.ones(2, K, dtype=torch.bool)
        ).shape == (2, 5, 64)


def test_item_11_frozen_layers_are_shared_and_let_gradients_through(tiny: None) -> None:
    model = model_of(mfm_blocks=2, mfm_size="base").train()
    assert model.bridges is not None
    lengths: list[int] = []
    for network in (model.bridges.language, model.bridges.vision):
        assert not network.training and not any(p.requires_grad for p in network.parameters())
        for layer in network.layers.values():
            layer.register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))
    loss, _ = model.objective(batch_of([[utterance(1)]]), masked_cross_entropy)
    loss.backward()  # type: ignore[no-untyped-call]
    assert lengths == [11, 13, 13, 11] * 2  # 7 of the picture or 9 frames, and a bridge of 4
    assert len(model.bridges.language.layers) == len(model.bridges.vision.layers) == 2
    for name, p in model.bridges.named_parameters():
        if p.requires_grad:
            assert p.grad is not None and p.grad.abs().max() > 0, name
        else:
            assert p.grad is None, name
    gradient = model.extract_text.enter.weight.grad
    assert gradient is not None and gradient.abs().max() > 0


@torch.no_grad()
def test_item_12_the_bridge_is_the_only_way_from_one_side_to_the_other(tiny: None) -> None:
    torch.manual_seed(0)
    bridges = Bridges(64, "base", 1, 4)
    F_ta, F_m, valid = torch.randn(2, 5, 64), torch.randn(2, 7, 64), torch.ones(2, 5, dtype=torch.bool)
    drawn = torch.ones(2, 7, dtype=torch.bool)
    for way, side, other in (
        ("m2ta", 0, (F_ta, F_m + torch.randn(2, 7, 64))),
        ("ta2m", 1, (F_ta + torch.randn(2, 5, 64), F_m)),
    ):
        before, after = (
            bridges(F_ta, valid, F_m, drawn)[side],
            bridges(other[0], valid, other[1], drawn)[side],
        )
        assert not torch.allclose(before, after, atol=1e-6)
        closed = Bridges(64, "base", 1, 4)
        closed.load_state_dict(bridges.state_dict())
        for part in closed.maps[way]:
            part[-1].weight.zero_()
        before, after = closed(F_ta, valid, F_m, drawn)[side], closed(other[0], valid, other[1], drawn)[side]
        assert torch.equal(before, after)
    one_way = Bridges(64, "base", 2, 4, direction="m2ta", share=True)
    assert set(one_way.maps) == {"m2ta"} and one_way.bridges["m2ta"].shape == (1, 4, 64)
    assert one_way(F_ta, valid, F_m, drawn)[1].shape == F_m.shape


SPEAKERS = 10 * 768  # rows that the page trains; with cached text they are those of the cache
READ = {"cache_text": False}


@pytest.mark.parametrize(
    "classes, roles, switches, expected",
    [
        (4, WIDTHS, {}, 59_136_202 - SPEAKERS),
        (6, WIDTHS, {}, 59_140_302 - SPEAKERS),
        (7, WIDTHS, {}, 59_142_352 - SPEAKERS),
        (4, WIDTHS, READ, 59_136_202),
        (6, WIDTHS, READ, 59_140_302),
        (7, WIDTHS, READ, 59_142_352),
        (4, ("text", "words", "matrix"), READ, 34_398_726),
        (4, WIDTHS, {"kwrt": False}, 59_136_200 - SPEAKERS),
        (4, WIDTHS, {"pe": False}, 56_206_858 - SPEAKERS),
        (4, WIDTHS, {"mfm_blocks": 0}, 54_915_270 - SPEAKERS),
        (4, ("text", "words", "matrix"), {}, 34_398_726 - SPEAKERS),
        (4, ("audio", "mel"), {}, 41_541_320),
        (4, WIDTHS, {"mfm_size": "base"}, 58_080_714 - SPEAKERS),
    ],
)  # fmt: skip
def test_item_13_parameter_counts(classes: int, roles: Any, switches: dict[str, Any], expected: int) -> None:
    widths = {role: MODELS["cues"].widths[role] for role in roles}
    if "cache_text" in switches:
        widths["text"] = 1
    assert parameters("paper", classes, widths, **switches) == expected


def test_item_14_logits_are_averaged_before_the_loss(monkeypatch: pytest.MonkeyPatch, tiny: None) -> None:
    heads = [torch.tensor([[2.0, 0, 0, 1]]), torch.tensor([[0.0, 0, 2, 1]])]
    batch = batch_of([[utterance(1)]])
    for how, expected in (("avg_logits", 1.214283), ("mean_ce", 1.493812)):
        model = model_of(loss=how, mfm_blocks=1, mfm_size="base")
        monkeypatch.setattr(model, "logits", lambda _: (torch.tensor([0]), heads))
        assert torch.equal(model(batch)[0, 0], torch.tensor([1.0, 0, 1, 1]))
        assert float(model.objective(batch, masked_cross_entropy)[0].detach()) == pytest.approx(
            expected, abs=1e-6
        )


@pytest.mark.parametrize("classes", [4, 6, 7])
def test_item_15_a_head_of_zeros_is_as_good_as_chance(classes: int) -> None:
    model = model_of(classes=classes)
    nn.init.zeros_(model.head1.weight)
    nn.init.zeros_(model.head1.bias)
    loss, _ = model.objective(batch_of([[utterance(1), utterance(2)]]), masked_cross_entropy)
    assert float(loss.detach()) == pytest.approx(math.log(classes), abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("roles", [tuple(WIDTHS), ("text", "words", "matrix"), ("audio", "mel")])
@pytest.mark.parametrize("epc", [False, True])
def test_item_18_a_window_does_not_depend_on_its_batch(tiny: None, roles: tuple[str, ...], epc: bool) -> None:
    switches = {"mfm_blocks": 2, "mfm_size": "base"} if "mel" in roles else {}
    model = model_of({role: WIDTHS[role] for role in roles}, **switches)
    short = [utterance(n, words=(1, 2, 1)[: n % 3 + 1], frames=4 + 5 * n) for n in range(4)]
    long = [utterance(10 + n, words=(3, 1, 2, 2), frames=30) for n in range(6)]
    alone = model(batch_of([short], epc))
    both = model(batch_of([long, short], epc, extra=3))
    turned = model(batch_of([short, long], epc))
    places = [3] if epc else range(4)
    for place in places:
        assert torch.allclose(alone[0, place], both[1, place], atol=1e-4)
        assert torch.allclose(turned[0, place], both[1, place], atol=1e-5)


@torch.no_grad()
def test_items_1_and_18_only_the_window_matters() -> None:
    model, dialogue = model_of(context_utterances=2), [utterance(n) for n in range(4)]
    whole = model(batch_of([dialogue]))
    other = model(batch_of([[*dialogue[:3], utterance(99)]]))
    assert torch.equal(whole[0, :3], other[0, :3]) and not torch.allclose(whole[0, 3], other[0, 3])
    spoken = {**dialogue[0], "audio": utterance(98)["audio"]}
    earlier = model(batch_of([[spoken, *dialogue[1:]]]))
    assert torch.equal(whole[0, 2:], earlier[0, 2:]) and not torch.allclose(whole[0, 1], earlier[0, 1])


def test_item_19_text_alone_takes_no_speech_and_speech_alone_no_text() -> None:
    text, speech = model_of({r: WIDTHS[r] for r in ("text", "words", "matrix")}), model_of({"audio": 5})
    batch = batch_of([[utterance(1), utterance(2)]])
    for model, roles in ((text, ("text", "words", "matrix")), (speech, ("audio",))):
        only = Batch(
            {},
            batch.present,
            batch.mask,
            batch.speakers,
            batch.labels,
            None,
            {r: batch.steps[r] for r in roles},
        )
        assert torch.equal(model(only), model(batch))


def test_item_21_the_defaults_are_those_of_the_page() -> None:
    entry = MODELS["cues"]
    c = entry.resolve("paper", {})
    assert (c.width, c.heads, c.layers, c.bridge_len, c.mfm_blocks, c.context_utterances) == (
        1024,
        8,
        2,
        4,
        2,
        3,
    )  # type: ignore[attr-defined]
    assert entry.recipes["paper"].items() >= {"optimizer": "adam", "lr": 1e-4, "batch": 32}.items()


def test_a_second_step_without_a_picture_is_refused() -> None:
    with pytest.raises(UsageError) as told:
        model_of({"text": 6, "audio": 5}, mfm_blocks=2)
    assert "mfm_blocks: 0" in told.value.hint


def test_a_missing_checkpoint_names_the_switch_that_works_without_it() -> None:
    with torch.device("meta"):
        model = model_of(mfm_blocks=1, mfm_size="base")
    with pytest.raises(WeightsError) as told:
        model.on_epoch_start(0)
    assert "bert-base" in told.value.message and "mfm_blocks: 0" in told.value.hint


@torch.no_grad()
def test_a_published_layer_is_loaded_under_its_own_name(monkeypatch: pytest.MonkeyPatch, tiny: None) -> None:
    """Layers load under the names of the published files; other tensors are ignored."""
    from ercache.nets import upper_layers
    from ercache.weights.tensors import load_strict

    source = Bridges(64, "base", 1, 4)
    told = {}
    for kind, network in (("bert", source.language), ("vit", source.vision)):
        for name, tensor in network.state_dict().items():
            old = (
                name.replace("layers.", f"{kind}.encoder.layer.")
                if name.startswith("layers.")
                else f"{kind}.{name}"
            )
            for new, published in (
                ("attention.q_proj", "attention.attention.query"), ("attention.k_proj", "attention.attention.key"),
                ("attention.v_proj", "attention.attention.value"), ("attention.o_proj", "attention.output.dense"),
                ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
            ):  # fmt: skip
                old = old.replace(new, published) if kind == "vit" else old
            told[old] = tensor + 1
        told[f"{kind}.encoder.layer.0.other.weight"] = torch.ones(1)
        told[f"{kind}.embeddings.any"] = torch.ones(1)

    class Here:
        def __init__(self, key: str) -> None:
            self.kind = "bert" if "bert" in key else "vit"

        def network(self, build: Any, **how: Any) -> Any:
            network = build()
            own = {k: v for k, v in told.items() if k.startswith(self.kind)}
            load_strict(network, own, self.kind, **how)
            return network

    monkeypatch.setattr(upper_layers, "Weights", Here)
    target = Bridges(64, "base", 1, 4)
    target.load()
    for a, b in ((source.language, target.language), (source.vision, target.vision)):
        for name, tensor in a.state_dict().items():
            assert torch.equal(b.state_dict()[name], tensor + 1), name


def test_the_rows_of_the_papers_tables_are_reached_by_switches() -> None:
    rows = [row for table in read_paper("cues").tables for row in table.rows if row.model]
    assert {"w/o KWRT", "w/o PE", "w/o TMF"} <= {row.name for row in rows}
    for row in rows:
        assert CuesConfig(**row.config).model_dump().items() >= row.config.items()

"""M2FNet's dialogue model compared with the numbers of docs/papers/m2fnet.md, section 11."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ercache.errors import UsageError
from ercache.training.losses import masked_cross_entropy
from fusion.data.batches import Batch
from fusion.layers.positions import sinusoidal
from fusion.models.base import parameters
from fusion.models.m2fnet import ENTRY, FusionLayer, M2FNet, M2FNetConfig, ModalityEncoder

PAPER = {"text": 1024, "audio": 300, "visual": 600}
TINY = {"text": 16, "audio": 8, "visual": 12}


def build(widths: dict[str, int], classes: int = 7, preset: str = "paper", **switches: Any) -> M2FNet:
    torch.manual_seed(0)
    return M2FNet(widths, classes, ENTRY.resolve(preset, switches))  # type: ignore[arg-type]


def tiny(**switches: Any) -> M2FNet:
    return build(TINY, 3, **{"ffn": 16, "head_hidden": 16, "fusion_m": 2, **switches}).eval()


def batch(widths: dict[str, int], dialogues: int, length: int, seed: int = 1, classes: int = 3) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    full = torch.ones(dialogues, length, dtype=torch.bool)
    return Batch(
        features={m: torch.randn(dialogues, length, w, generator=rng) for m, w in widths.items()},
        present={m: full.clone() for m in widths},
        mask=full,
        speakers=torch.zeros(dialogues, length, dtype=torch.long),
        labels=torch.randint(classes, (dialogues, length), generator=rng),
    )


M_SWEEP = (25_198_315, 34_519_787, 43_841_259, 53_162_731, 62_484_203, 71_805_675)
M_SWEEP_IEMOCAP = (80_791_162, 90_112_634, 99_434_106, 108_755_578, 118_077_050, 127_398_522)
N_SWEEP = (62_484_203, 76_382_671, 90_281_139, 104_179_607, 118_078_075, 131_976_543)


def depth(n: int) -> dict[str, int]:
    return {f"enc_n_{x}": n for x in "tav"}


@pytest.mark.parametrize(
    ("preset", "classes", "switches", "expected"),
    [
        ("paper", 7, {}, 62_484_203),
        ("paper_iemocap", 6, {}, 118_077_050),
        *[("paper", 7, {"fusion_m": m}, n) for m, n in enumerate(M_SWEEP, 1)],
        *[("paper_iemocap", 6, {"fusion_m": m}, n) for m, n in enumerate(M_SWEEP_IEMOCAP, 1)],
        *[("paper", 7, depth(N), n) for N, n in enumerate(N_SWEEP, 1)],
        *[("paper_iemocap", 6, depth(N), n - 1025) for N, n in enumerate(N_SWEEP, 1)],
    ],
)
def test_parameter_counts_of_section_4(
    preset: str, classes: int, switches: dict[str, int], expected: int
) -> None:
    with torch.device("meta"):
        assert parameters(build(PAPER, classes, preset, **switches)) == expected


def test_parameter_counts_of_single_parts() -> None:
    with torch.device("meta"):
        model = build(PAPER)
        assert parameters(model.fusion[0]) == 9_321_472
        assert parameters(model.FC_1) + parameters(model.FC_2) == 1_978_375
        assert [parameters(model.encoders[m]) for m in PAPER] == [8_399_872, 1_593_548, 3_905_048]
        assert parameters(build(PAPER, fusion_residual=False).fusion[0]) == 9_319_424


def test_shapes_at_the_sizes_of_the_paper() -> None:
    with torch.device("meta"):
        model, x = build(PAPER), batch({}, 2, 12)
        x = Batch(
            {m: torch.empty(2, 12, w) for m, w in PAPER.items()}, dict.fromkeys(PAPER, x.mask), *rest(x)
        )
        F_x, blocked = model.encode(x)
        assert {m: tuple(F.shape) for m, F in F_x.items()} == {m: (2, 12, w) for m, w in PAPER.items()}
        X = model.fuse(F_x, blocked)
        assert [tuple(X_l.shape) for X_l in X] == [(2, 12, 1024)] * 6
        assert model.FC_1.in_features == 1924
        assert model(x).shape == (2, 12, 7)


def rest(x: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ones(2, 12, dtype=torch.bool), x.speakers, x.labels


@pytest.mark.parametrize(
    ("names", "width"), [("ta", 1324), ("tv", 1624), ("av", 900), ("tav", 1924), ("t", 1024), ("v", 600)]
)
def test_head_widths_of_table_2(names: str, width: int) -> None:
    widths = {m: w for m, w in PAPER.items() if m[0] in names}
    with torch.device("meta"):
        model = build(widths, fusion_type="concat")
        assert model.FC_1.in_features == width and len(model.fusion) == 0


def test_one_modality_has_no_fusion_and_without_text_the_next_is_the_query() -> None:
    assert len(tiny(fusion_type="mha").fusion) == 2
    assert len(build({"audio": 8}, 3).fusion) == 0
    model = build({"visual": 12, "audio": 8}, 3, fusion_m=2)
    assert model.names == ["audio", "visual"] and model.fusion[0].W_f.out_features == 8


def test_fusion_arithmetic_of_item_13() -> None:
    """One head with identity maps and keys of 1 and -1, computed by hand."""
    layer = FusionLayer(1, {"audio": 1}, M2FNetConfig(heads=1, fusion_residual=False)).eval()
    for name, parameter in layer.named_parameters():  # identity projections
        nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    X, key = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[1.0], [-1.0]]])
    Y = layer(X, {"audio": key}, {"audio": torch.zeros(1, 2, dtype=torch.bool)})
    assert Y.flatten().tolist() == pytest.approx([1.119203, 1.017986], abs=1e-6)


@torch.no_grad()
def test_a_constant_added_to_all_keys_does_not_change_the_fusion() -> None:
    layer, x = tiny().fusion[0], batch(TINY, 2, 6)
    blocked = {m: ~x.mask for m in TINY}
    shifted = {m: F + torch.randn(F.shape[-1]) for m, F in x.features.items()}
    same = layer(x.features["text"], x.features, blocked) - layer(x.features["text"], shifted, blocked)
    assert same.abs().max() < 1e-5


@torch.no_grad()
def test_a_single_utterance_is_fused_without_its_keys() -> None:
    model, x, y = tiny(), batch(TINY, 1, 1), batch(TINY, 1, 1, seed=2)
    blocked = {m: ~x.mask for m in TINY}
    other = {"text": x.features["text"], "audio": y.features["audio"], "visual": y.features["visual"]}
    assert torch.equal(model.fuse(x.features, blocked)[-1], model.fuse(other, blocked)[-1])
    changed = Batch(other, x.present, x.mask, x.speakers, x.labels)
    assert not torch.equal(model(x), model(changed))


@torch.no_grad()
def test_neither_padding_nor_the_order_of_the_batch_matters() -> None:
    model, x = tiny(), batch(TINY, 2, 12)
    x.mask[0, 7:] = False
    padded = Batch(
        {m: F.masked_fill(~x.mask[..., None], 1e3) for m, F in x.features.items()},
        {m: x.mask for m in TINY},
        *rest_of(x),
    )
    alone = Batch(
        {m: F[:1, :7] for m, F in x.features.items()},
        {m: x.mask[:1, :7] for m in TINY},
        x.mask[:1, :7],
        x.speakers[:1, :7],
        x.labels[:1, :7],
    )
    logits = model(padded)
    assert (logits[:1, :7] - model(alone)).abs().max() < 1e-5
    turned = Batch(
        {m: F.flip(0) for m, F in padded.features.items()},
        {m: x.mask.flip(0) for m in TINY},
        *(t.flip(0) for t in rest_of(x)),
    )
    assert (model(turned).flip(0) - logits)[x.mask].abs().max() < 1e-5


def rest_of(x: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return x.mask, x.speakers, x.labels


@torch.no_grad()
@pytest.mark.parametrize(("pos", "follows"), [("none", True), ("sinusoidal", False), ("learned", False)])
def test_permuted_utterances_give_permuted_logits_without_positions(pos: str, follows: bool) -> None:
    model, x = tiny(enc_pos=pos), batch(TINY, 1, 6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    moved = Batch({m: F[:, order] for m, F in x.features.items()}, x.present, x.mask, x.speakers, x.labels)
    assert ((model(moved) - model(x)[:, order]).abs().max() < 1e-5) == follows


class Same(nn.Module):
    """A transformer layer that does nothing."""

    def forward(self, H: Tensor, src_key_padding_mask: Tensor) -> Tensor:
        return H


@pytest.mark.parametrize(("skip", "factor"), [(True, 8), (False, 1)])
def test_local_skip_of_item_18(skip: bool, factor: int) -> None:
    """With layers that do nothing, the local skip doubles the features at each layer."""
    encoder = ModalityEncoder(8, 3, M2FNetConfig(enc_local_skip=skip))
    encoder.layers = nn.ModuleList(Same() for _ in encoder.layers)
    F_I = torch.randn(2, 4, 8)
    assert torch.equal(encoder(F_I, torch.zeros(2, 4, dtype=torch.bool)), factor * F_I)


def mean_cosine(model: M2FNet, x: Batch) -> float:
    """Mean cosine between the rows of X_m of one dialogue."""
    X = nn.functional.normalize(model.fuse(*model.encode(x))[-1][0], dim=-1)
    pairs = X @ X.T
    return float((pairs.sum() - pairs.trace()) / (len(X) * (len(X) - 1)))


@torch.no_grad()
def test_only_the_residual_keeps_utterances_different() -> None:
    x = batch(PAPER, 1, 50)
    assert mean_cosine(build(PAPER, fusion_residual=False).eval(), x) > 0.999
    assert mean_cosine(build(PAPER).eval(), x) < 0.5


def overfit(model: M2FNet, x: Batch, lr: float, steps: int) -> float:
    """Training loss after some steps of AdamW with clip 1.0."""
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    for _ in range(steps):
        optimizer.zero_grad()
        masked_cross_entropy(model(x), x.labels)[0].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return masked_cross_entropy(model(x), x.labels)[0].item()


def test_four_random_dialogues_are_learned_by_heart() -> None:
    widths = {"text": 128, "audio": 40, "visual": 76}
    model = build(widths, dropout=0.0, ffn=256, head_hidden=128)
    assert overfit(model, batch(widths, 4, 10, classes=7), 5e-3, 40) < 0.05


@pytest.mark.full
@pytest.mark.parametrize(("preset", "length"), [("paper", 10), ("paper_iemocap", 50)])
def test_item_24_at_the_sizes_of_the_paper(preset: str, length: int) -> None:
    """Four random dialogues are learned by heart in twenty steps."""
    model = build(PAPER, 7, preset, dropout=0.0)
    assert overfit(model, batch(PAPER, 4, length, classes=7), 5e-4, 20) < 0.05


@torch.no_grad()
def test_an_absent_modality_is_no_key_and_its_values_are_never_read() -> None:
    model, x = build(TINY, 3, "small").eval(), batch(TINY, 1, 5)
    x.present["audio"][0, 2] = False
    before = model(x)
    x.features["audio"][0, 2] = 0
    zeroed = model(x)
    assert torch.equal(before, zeroed)
    F_x, blocked = model.encode(x)
    assert blocked["audio"].tolist() == [[False, False, True, False, False]]
    F_x["audio"][0, 2] += 5  # no other utterance looks at it
    others = [0, 1, 3, 4]
    assert torch.equal(
        model.fuse(F_x, blocked)[-1][:, others], model.fuse(model.encode(x)[0], blocked)[-1][:, others]
    )


@torch.no_grad()
@pytest.mark.parametrize(
    "switch", [{"enc_norm": "pre"}, {"enc_activation": "gelu"}, {"head_activation": "none"}], ids=str
)
def test_open_choices_change_the_network_but_not_its_size(switch: dict[str, str]) -> None:
    x, model = batch(TINY, 2, 5), tiny(**switch)
    assert parameters(model) == parameters(tiny())
    assert (model(x) - tiny()(x)).abs().max() > 1e-3


def test_the_query_may_join_the_concatenation() -> None:
    assert tiny(fusion_concat_query=True).fusion[0].W_f.in_features == 3 * 16
    assert tiny(fusion_concat_query=True)(batch(TINY, 2, 4)).shape == (2, 4, 3)


def test_sinusoidal_positions() -> None:
    waves = sinusoidal(torch.zeros(1, 3, 4))
    assert waves[0].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert waves[2].tolist() == pytest.approx([0.909297, -0.416147, 0.019999, 0.999800], abs=1e-6)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="width 6 of audio is no multiple of 4 heads") as told:
        build({"text": 16, "audio": 6}, 3)
    assert "config.project" in told.value.hint
    with pytest.raises(
        UsageError, match="`fusion_type: none` is for a single modality, but the experiment has 2"
    ):
        build({"text": 16, "audio": 8}, 3, fusion_type="none")
    with pytest.raises(UsageError, match="did you mean 'fusion_m'"):
        build(TINY, 3, fusion_n=1)


def test_defaults_are_those_of_the_page() -> None:
    assert M2FNetConfig().model_dump() == {
        "fusion_type": "mha",
        "fusion_m": 5,
        "fusion_residual": True,
        "fusion_concat_query": False,
        "enc_n_t": 1,
        "enc_n_a": 1,
        "enc_n_v": 1,
        "enc_local_skip": True,
        "enc_pos": "none",
        "enc_norm": "post",
        "enc_activation": "relu",
        "head_activation": "relu",
        "heads": 4,
        "ffn": 2048,
        "dropout": 0.4,
        "head_hidden": 1024,
        "project": None,
    }
    iemocap = ENTRY.resolve("paper_iemocap", {}).model_dump()
    assert (iemocap["enc_n_t"], iemocap["enc_n_a"], iemocap["enc_n_v"], iemocap["dropout"]) == (5, 5, 5, 0.5)

"""AVT-CA compared with its page: examples by hand, sizes, a literal reference, invariances.

Source: docs/papers/avtca.md.

Of its list, 4 to 6 and 21 are in tests/extract/media/test_avtca_media.py, 20 in tests/extract/corpora/test_ravdess.py
and test_cremad.py, 22 in tests/ercache/test_metrics.py.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.errors import UsageError
from ercache.manifest import write_manifest
from ercache.training.losses import masked_cross_entropy
from fusion.data.batches import Batch
from fusion.data.ragged import Steps
from fusion.layers.clips import ClipBatch, pad_to_length, weaken_modalities
from fusion.layers.masked import ConvBlock, masked_attention, masked_max, resample_lengths
from fusion.models import MODELS
from fusion.models.avtca.attention import Intermediate, StreamAttention
from fusion.models.avtca.config import AvtcaConfig
from fusion.models.avtca.face_frames import FaceFrames, augment_frames, normalize_frames, scale_pixels
from fusion.models.avtca.model import Avtca
from fusion.papers import read_paper
from fusion.training.run import train_experiment
from tests.fusion.data.test_sequences import steps_of, write_steps
from tests.support.checkpoints import tiny_checkpoint
from tests.support.toy_corpus import toy_manifest, toy_params

WIDE = {"audio": 10, "visual": 1024}
LITTLE = {"audio": 10, "visual": 6}
ALL_OFF = {"it": False, "exchange": False, "ca": False}


def model_of(widths: dict[str, int] | None = None, classes: int = 8, seed: int = 0, **switches: Any) -> Avtca:
    torch.manual_seed(seed)
    return Avtca(widths or LITTLE, classes, AvtcaConfig(**switches)).eval()


def lively(model: Avtca) -> Avtca:
    """Set weights and running statistics so that every part matters; initially most parts add almost nothing."""
    make = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            if "running" in name:
                tensor.uniform_(0.5, 1.5, generator=make)
            elif tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=make), alpha=0.1)
    return model


def agree(a: Tensor, b: Tensor) -> bool:
    """Equal within 1e-5 times the greatest absolute value (or 1, if all are smaller)."""
    return float((a - b).abs().max()) <= 1e-5 * max(1.0, float(b.abs().max()))


def dense_clips(n: int = 3, frames: int = 15, sound: int = 156, width: int = 6, seed: int = 1) -> ClipBatch:
    make = torch.Generator().manual_seed(seed)
    values = {
        "audio": torch.randn(n, sound, 10, generator=make),
        "visual": torch.randn(n, frames, width, generator=make),
    }
    return ClipBatch(values, {"audio": torch.full((n,), sound), "visual": torch.full((n,), frames)})


def batch_of(clips: ClipBatch, rows: int = 1, absent: dict[str, list[int]] | None = None) -> Batch:
    """Clips as the utterances of dialogues, `rows` of equal length."""
    n = len(clips.lengths["audio"])
    mask = torch.ones(rows, n // rows, dtype=torch.bool)
    steps, present = {}, {}
    for m, values in clips.values.items():
        has = torch.tensor([i not in (absent or {}).get(m, []) for i in range(n)])
        own = torch.arange(values.shape[1]) < clips.lengths[m][has][:, None]
        steps[m] = Steps(values[has], own, has.nonzero().flatten(), m)
        present[m] = has.view(mask.shape)
    labels = torch.zeros(mask.shape, dtype=torch.long)
    return Batch({}, present, mask, torch.zeros_like(labels), labels, None, steps)


def count(widths: dict[str, int], classes: int, preset: str = "paper", **switches: Any) -> int:
    entry = MODELS["avtca"]
    with torch.device("meta"):
        model = entry.build(widths, classes, entry.resolve(preset, switches))
    return sum(p.numel() for p in model.parameters())


def test_item_1_shapes_on_the_way_from_clips_to_logits() -> None:
    model = model_of({"audio": 10, "visual": 3})
    assert model.faces is not None
    net, crops = model.faces.net, torch.rand(2, 3, 224, 224)
    stem = F.max_pool2d(net.conv1(crops), 3, stride=2, padding=1)
    G = net.stage2(stem)
    assert stem.shape == (2, 29, 56, 56) and G.shape == (2, 116, 28, 28)
    assert model.faces.gated(G).shape == net.local(stem).shape == G.shape
    E = net.stage3(G)
    assert E.shape == (2, 232, 14, 14) and net.stage4(E).shape == (2, 464, 7, 7)
    assert net.conv5(net.stage4(E)).shape == (2, 1024, 7, 7) and model.faces(crops).shape == (2, 1024)
    wide = model_of(WIDE)
    clips = dense_clips(2, width=1024)
    x, n = wide.early(clips)
    assert x["visual"].shape == (2, 15, 64) and x["audio"].shape == (2, 150, 128)
    x, n = wide.middle(x, n)
    assert (
        x["visual"].shape == (2, 15, 128)
        and x["audio"].shape == (2, 144, 128)
        and n["audio"].tolist() == [144] * 2
    )
    assert wide.logits(clips).shape == (2, 8)


@pytest.mark.parametrize(
    "classes, preset, switches, expected",
    [
        (8, "paper", {}, 2_200_158),
        (6, "paper", {}, 2_199_644),
        (8, "release", {}, 2_002_398),
        (8, "paper", {"exchange": False, "ca": False}, 1_936_734),
        (8, "paper", {"exchange": False, "ca": False, "it_heads": 1}, 1_936_734),
        (8, "paper", {"it": False, "exchange": False}, 1_910_878),
        (8, "paper", ALL_OFF, 1_778_782),
        (8, "paper", {"merge": "add"}, 2_199_134),
        (8, "paper", {"backbone": "literal", "backbone_weights": "none"}, 836_601),
    ],
)  # fmt: skip
def test_item_2_parameter_counts(classes: int, preset: str, switches: dict[str, Any], expected: int) -> None:
    assert count({"audio": 10, "visual": 3}, classes, preset, **switches) == expected
    frozen = count(WIDE, classes, preset, **switches)
    if switches.get("backbone") != "literal":
        assert expected - frozen == 1_268_118


def test_item_3_a_checkpoint_fills_every_tensor_of_the_backbone_or_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ercache.errors import WeightsError
    from ercache.nets.efficientface import EfficientFace

    torch.manual_seed(3)
    theirs = EfficientFace()

    class Here:
        def __init__(self, key: str) -> None:
            assert key == "efficientface"

        def network(self, *_: Any, **__: Any) -> EfficientFace:
            return theirs

    model = model_of({"audio": 10, "visual": 3}, backbone_weights="affectnet7")
    with pytest.raises(WeightsError, match="efficientface"):
        model.on_epoch_start(0)  # nothing was fetched here
    monkeypatch.setattr("fusion.models.avtca.face_frames.Weights", Here)
    model.on_epoch_start(1)  # a later epoch leaves what was learned alone
    assert model.faces is not None
    assert not torch.equal(model.faces.net.conv1[0].weight, theirs.conv1[0].weight)
    model.on_epoch_start(0)
    for name, tensor in model.faces.net.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name])


def test_item_3_the_authors_file_fits_but_for_its_head_and_no_other_tensor_may_be_missing(
    tmp_path: Path,
) -> None:
    from ercache.errors import WeightsError
    from ercache.nets.efficientface import EfficientFace

    torch.manual_seed(4)
    theirs = EfficientFace().state_dict()
    published = {
        f"module.{name}": tensor for name, tensor in theirs.items()
    }  # it was trained on several GPUs
    head = {"module.fc.weight": torch.ones(7, 1024), "module.fc.bias": torch.ones(7)}
    model = model_of({"audio": 10, "visual": 3}, backbone_weights="affectnet7")
    with tiny_checkpoint("efficientface", tmp_path / "a", {**published, **head}):
        model.on_epoch_start(0)
    assert model.faces is not None
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.faces.net.state_dict().items())
    lost = published.pop("module.conv5.0.weight")
    with tiny_checkpoint("efficientface", tmp_path / "b", published):
        with pytest.raises(WeightsError) as told:
            model.on_epoch_start(0)
        assert told.value.details == ("missing: conv5.0.weight",)
    assert torch.equal(model.faces.net.conv5[0].weight, lost)


def test_item_7_attention_by_hand() -> None:
    Q, K = torch.tensor([[[1.0, 0], [0, 2]]]), torch.tensor([[[1.0, 0], [0, 1], [1, 1]]])
    V = torch.tensor([[[1.0, 0], [0, 1], [2, 2]]])
    found = masked_attention(Q, K, V, torch.ones(1, 3, dtype=torch.bool), 1)
    assert torch.allclose(found, torch.tensor([[[1.203336, 1.0], [1.0, 1.337425]]]), atol=1e-6)
    weights = masked_attention(Q, K, torch.eye(3)[None, :, :2], torch.ones(1, 3, dtype=torch.bool), 1)
    assert torch.allclose(weights[0, :, 0], torch.tensor([0.401112, 0.108383]), atol=1e-6)


def test_item_8_attention_inside_a_stream_without_projections_by_hand() -> None:
    X = torch.tensor([[[1.0, 0, 2, 1], [0, 1, 1, -1]]])
    keys = torch.ones(1, 2, dtype=torch.bool)
    two = StreamAttention(4, AvtcaConfig(ca_proj=False, ca_heads=2))(X, X, keys)
    wanted = [[0.669762, 0.330238, 1.944193, 0.888386], [0.330238, 0.669762, 1.330238, -0.339523]]
    assert torch.allclose(two, torch.tensor([wanted]), atol=1e-6)
    top = masked_max(two, keys)
    assert torch.allclose(top, torch.tensor([[0.669762, 0.669762, 1.944193, 0.888386]]), atol=1e-6)
    one = StreamAttention(4, AvtcaConfig(ca_proj=False, ca_heads=1))(X, X, keys)
    wanted = [[0.924142, 0.075858, 1.924142, 0.848284], [0.268941, 0.731059, 1.268941, -0.462117]]
    assert torch.allclose(one, torch.tensor([wanted]), atol=1e-6)


class Fixed(nn.Module):
    """A module that returns a constant."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = torch.tensor(values)

    def forward(self, x: Tensor) -> Tensor:
        return self.values[None, :, None, None].expand(len(x), -1, 1, 1)


def test_item_9_the_gate_by_hand() -> None:
    faces = FaceFrames()
    faces.net.modulator.channel_att, faces.net.modulator.spatial_att = Fixed([0.8, -0.4, 1.2]), Fixed([0.5])
    G = torch.tensor([1.0, -2, 0.5])[None, :, None, None]
    assert torch.allclose(faces.gated(G).flatten(), torch.tensor([0.598688, -0.900332, 0.322828]), atol=1e-6)
    faces.gate = "raw"
    assert torch.allclose(faces.gated(G).flatten(), torch.tensor([0.4, -0.2, 0.6]), atol=1e-6)


def test_item_10_a_block_of_sound_by_hand() -> None:
    block = ConvBlock(1, 1, pool=1).eval()
    with torch.no_grad():
        block.conv.weight.copy_(torch.tensor([[[1.0, 0, -1]]]))
        block.conv.bias.zero_()
    x, n = block(torch.tensor([[[1.0], [2], [-1], [0], [3], [1]]]), torch.tensor([6]))
    assert torch.allclose(x.flatten(), torch.tensor([2.0, 2, 0]), atol=1e-4) and n.tolist() == [3]


class Same(nn.Module):
    """A norm that does nothing."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x


def test_item_11_after_the_attention_by_hand() -> None:
    block = Intermediate(2, 2, 2, AvtcaConfig(dropout=0.0, it_norm="layer", it_post_norm=False, it_heads=1))
    block.N_2 = Same()  # type: ignore[assignment]
    block.W1, block.W2 = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        block.W1.weight.copy_(torch.eye(2))
        block.W2.weight.copy_(torch.eye(2))
    S, valid = torch.tensor([[[1.0, -1]]]), torch.ones(1, 1, dtype=torch.bool)
    assert torch.allclose(block.after(S, valid).flatten(), torch.tensor([1.841345, -1.158655]), atol=1e-6)


def test_item_12_the_loss_by_hand() -> None:
    logits = torch.tensor([[[2.0, 0, -1], [0.5, 1.5, 0]]])
    loss, _ = masked_cross_entropy(logits, torch.tensor([[0, 2]]))
    assert float(loss) == pytest.approx(1.067107, abs=1e-6)
    for classes in (8, 6):
        loss, _ = masked_cross_entropy(torch.zeros(1, 1, classes), torch.tensor([[0]]))
        assert float(loss) == pytest.approx(math.log(classes), abs=1e-6)


def test_item_13_merging_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    a, v = torch.tensor([[0.5, -1]]), torch.tensor([[0.25, 2]])
    for merge, expected in (("concat", [1.0, -3]), ("add", [0.75, 1.0])):
        model = model_of(classes=2, merge=merge)
        monkeypatch.setattr(model, "pooled", lambda _: {"audio": a, "visual": v})
        model.head = nn.Linear(4 if merge == "concat" else 2, 2)
        with torch.no_grad():
            weights = torch.eye(2)
            model.head.weight.copy_(
                torch.cat([weights, torch.diag(torch.tensor([2.0, -1]))], 1) if merge == "concat" else weights
            )
            model.head.bias.zero_()
        assert torch.allclose(model.logits(dense_clips(1)), torch.tensor([expected]), atol=1e-6)


def test_item_14_local_features_keep_their_places() -> None:
    faces = FaceFrames().eval()
    stem = torch.randn(1, 29, 56, 56)
    other = stem.clone()
    other[:, :, 28:, 28:] += 1
    with torch.no_grad():
        changed = (faces.net.local(stem) != faces.net.local(other)).any(1)[0]
    assert changed[14:, 14:].any() and not changed[:14].any() and not changed[:, :14].any()


@torch.no_grad()
def test_item_15_a_clip_does_not_depend_on_its_batch_or_on_padding() -> None:
    model, clips = model_of(), dense_clips(4)
    whole = model.logits(clips)
    for i in (0, 3):
        alone = ClipBatch(
            {m: x[i : i + 1] for m, x in clips.values.items()},
            {m: n[i : i + 1] for m, n in clips.lengths.items()},
        )
        assert torch.allclose(model.logits(alone)[0], whole[i], atol=1e-5)
    order = torch.tensor([2, 0, 3, 1])
    turned = ClipBatch(
        {m: x[order] for m, x in clips.values.items()}, {m: n[order] for m, n in clips.lengths.items()}
    )
    assert torch.allclose(model.logits(turned), whole[order], atol=1e-5)
    padded = ClipBatch({m: F.pad(x, (0, 0, 0, 9), value=7.0) for m, x in clips.values.items()}, clips.lengths)
    assert torch.allclose(model.logits(padded), whole, atol=1e-5)
    model.train()
    torch.manual_seed(5)
    trained = model_of(dropout=0.0).train()
    assert torch.allclose(
        trained.logits(padded), trained.logits(clips), atol=1e-4
    )  # statistics of valid steps alone


@torch.no_grad()
def test_item_16_there_are_no_positions_after_the_convolutions() -> None:
    model, clips = lively(model_of()), dense_clips(2)
    whole = model.logits(clips)
    turned = ClipBatch({**clips.values, "audio": clips.values["audio"].flip(1)}, clips.lengths)
    assert not torch.allclose(model.logits(turned), whole, atol=1e-3)
    turned = ClipBatch({**clips.values, "visual": clips.values["visual"].flip(1)}, clips.lengths)
    assert not torch.allclose(model.logits(turned), whole, atol=1e-3)
    x, n = model.middle(*model.early(clips))
    whole_late = torch.cat(list(model.late(x, n).values()), -1)
    for m in x:
        order = torch.randperm(x[m].shape[1], generator=torch.Generator().manual_seed(0))
        late = torch.cat(list(model.late({**x, m: x[m][:, order]}, n).values()), -1)
        assert agree(late, whole_late)


def test_item_17_every_weight_is_trained_and_streams_are_apart_without_fusion() -> None:
    entry = MODELS["avtca"]
    torch.manual_seed(0)
    model = entry.build({"audio": 10, "visual": 3}, 8, entry.resolve("paper", {"mask_padding": True})).train()
    clips = dense_clips(4)
    clips.values["visual"] = torch.randint(0, 256, (4, 3, 224, 224, 3), dtype=torch.uint8)
    clips.lengths["visual"] = torch.tensor([3, 3, 2, 1])
    model.logits(clips).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert not name.endswith("weight") or parameter.grad.abs().max() > 0, name
    for switches, connected in (
        ({"it": False, "exchange": False}, False),
        ({}, True),
        ({"it": False}, True),
        ({"exchange": False}, True),
    ):
        model, clips = model_of(**switches), dense_clips(2)
        clips.values["audio"].requires_grad_(True)
        v = model.pooled(clips)["visual"].sum()
        (gradient,) = torch.autograd.grad(v, clips.values["audio"], allow_unused=True)
        assert (gradient is not None and bool(gradient.abs().max() > 0)) == connected, switches


@torch.no_grad()
@pytest.mark.parametrize("gone, other", [("audio", "visual"), ("visual", "audio")])
def test_item_18_an_absent_modality_does_not_matter_and_both_absent_leave_the_bias(
    gone: str, other: str
) -> None:
    model, clips = model_of(), dense_clips(4)
    absent = {gone: [1, 3], other: [3]}
    logits = model(batch_of(clips, absent=absent))
    assert logits.isfinite().all() and torch.equal(logits[0, 3], model.head.bias)
    clips.values[gone][1] += 100
    assert torch.equal(model(batch_of(clips, absent=absent)), logits)
    assert torch.allclose(model(batch_of(clips, rows=2, absent=absent)).flatten(0, 1), logits[0], atol=1e-5)
    nothing = model(batch_of(clips, absent={"audio": [0, 1, 2, 3], "visual": [0, 1, 2, 3]}))
    assert torch.equal(nothing[0], model.head.bias.expand(4, -1))


def test_item_19_the_rows_are_reached_by_switches_and_heads_change_outputs_not_sizes() -> None:
    rows = {row.name: row for table in read_paper("avtca").tables for row in table.rows if row.model}
    for name in ("IT-1", "IT-4", "CT-1", "CT-4", "AVT-CA"):
        config = AvtcaConfig(**rows[name].config)
        saved = config.model_dump()
        assert saved.items() >= rows[name].config.items()
    for one, four in (("IT-1", "IT-4"), ("CT-1", "CT-4")):
        a, b = (model_of(**rows[name].config) for name in (one, four))
        b.load_state_dict(a.state_dict())
        assert not torch.allclose(a.logits(dense_clips()), b.logits(dense_clips()))


def test_item_23_weakened_copies() -> None:
    clips = dense_clips(8)
    torch.manual_seed(0)
    copies, times = weaken_modalities(clips, "softhard")
    a, v = copies.values["audio"], copies.values["visual"]
    assert times == 4 and len(a) == len(v) == 32 and copies.lengths["audio"].tolist() == [156] * 32
    assert torch.equal(a[:8], clips.values["audio"]) and not a[16:24].any() and not v[24:].any()
    c = (a[8:16] / clips.values["audio"]).flatten(1).mean(1)
    share = (v[8:16] / clips.values["visual"]).flatten(1).mean(1)
    assert torch.allclose(c + share, torch.ones(8), atol=1e-4) and torch.allclose(
        100 * c, (100 * c).round(), atol=1e-2
    )
    torch.manual_seed(0)
    assert torch.equal(weaken_modalities(clips, "softhard")[0].values["audio"], a)
    assert weaken_modalities(clips, "noise")[1] == 3
    seen: list[torch.Size] = []
    batch = batch_of(clips)
    for how, rows in (("none", 8), ("softhard", 32)):
        model = model_of(modality_dropout=how)
        model.objective(
            batch, lambda logits, labels: seen.append(labels.shape) or masked_cross_entropy(logits, labels)
        )  # type: ignore[func-returns-value]
        assert seen[-1].numel() == rows


def test_item_24_a_seed_gives_the_same_scores_again_and_the_run_names_what_made_them(tmp_path: Path) -> None:
    manifest = toy_manifest()
    write_manifest(manifest, tmp_path / "manifests/toy.jsonl")
    lost = {u.id for u in manifest.utterances if u.dialogue == "test_d0" and u.index < 2}
    sound = {u: np.tile(x, (13, 1)) for u, x in steps_of(manifest, 5).items() if u not in lost}
    faces = {u: x for u, x in steps_of(manifest, 4, every=5, seed=1).items() if u not in lost}
    write_steps(tmp_path, manifest, "sound", "audio", sound, "frames", "float32")
    write_steps(tmp_path, manifest, "faces", "visual", faces, "frames", "float32")
    features = {"audio": ["sound"], "visual": ["faces:frames"]}
    params = toy_params(
        model="avtca",
        features=features,
        config={"divide": 8, "modality_dropout": "softhard"},
        training={"seeds": 2, "epochs": 2, "batch": 8},
    )
    answers = [train_experiment("exp", params, tmp_path, work=tmp_path / str(n)) for n in range(2)]
    assert answers[0] == answers[1]
    run = json.loads((tmp_path / "models/exp/run.json").read_text())
    assert (run["preset"], run["split"], run["seeds"]) == ("small", "official", [0, 1])
    told = {"backbone_weights": "none", "video_normalize": "affectnet", "channels": "rgb", "dropout": 0.1}
    assert run["config"].items() >= told.items()
    assert set(run["test"]["weighted_f1"]) == {"mean", "std", "ci95"}
    assert (
        run["missing"]["test"]["all"] == 2
    )  # neither sound nor pictures: counted, not passed over in silence
    assert "Accuracy and F1 contradict each other" in read_paper("avtca").note


def literal_logits(model: Avtca, audio: Tensor, visual: Tensor) -> Tensor:
    """Logits of one clip from the equations of section 4, with loops: audio [156, 10], f [T, D]."""
    s = {name: value.double() for name, value in model.state_dict().items()}
    c = model.config

    def norm(x: Tensor, at: str) -> Tensor:
        centred = (x - s[f"{at}.running_mean"]) / (s[f"{at}.running_var"] + 1e-5).sqrt()
        return centred * s[f"{at}.weight"] + s[f"{at}.bias"]

    def block(x: Tensor, at: str, shrinks: bool) -> Tensor:
        if not shrinks:
            x = torch.cat([torch.zeros(1, x.shape[1]), x, torch.zeros(1, x.shape[1])])
        rows = []
        for t in range(len(x) - 2):
            window = x[t : t + 3].T  # [i, 3]
            rows.append((s[f"{at}.conv.weight"] * window).sum((1, 2)) + s[f"{at}.conv.bias"])
        y = norm(torch.stack(rows), f"{at}.norm").clamp(min=0)
        return torch.stack([torch.maximum(y[t], y[t + 1]) for t in range(len(y) - 1)]) if shrinks else y

    def heads(q: Tensor, k: Tensor, v: Tensor, n: int) -> Tensor:
        d, out = q.shape[1] // n, torch.zeros(len(q), q.shape[1]).double()
        for h in range(n):
            part = slice(h * d, (h + 1) * d)
            for i in range(len(q)):
                scores = torch.stack([(q[i, part] * k[j, part]).sum() / math.sqrt(d) for j in range(len(k))])
                out[i, part] = (scores.softmax(0)[:, None] * v[:, part]).sum(0)
        return out

    def attn(x_kv: Tensor, x_q: Tensor, at: str, n: int) -> Tensor:
        q, kv = x_q @ s[f"{at}.W_q.weight"].T, x_kv @ s[f"{at}.W_kv.weight"].T
        half = kv.shape[1] // 2
        return heads(q, kv[:, :half], kv[:, half:], n) @ s[f"{at}.W_o.weight"].T + s[f"{at}.W_o.bias"]

    def it(x_kv: Tensor, x_q: Tensor, at: str) -> Tensor:
        S = attn(norm(x_kv, f"{at}.N_k"), norm(x_q, f"{at}.N_q"), f"{at}.attention", c.it_heads)
        u = norm(S, f"{at}.N_2") @ s[f"{at}.W1.weight"].T + s[f"{at}.W1.bias"]
        u = 0.5 * u * (1 + torch.erf(u / math.sqrt(2)))
        return S + norm(u @ s[f"{at}.W2.weight"].T + s[f"{at}.W2.bias"], f"{at}.N_3")

    def inside(x: Tensor, at: str) -> Tensor:
        q, k, v = (x @ s[f"{at}.W_{n}.weight"].T + s[f"{at}.W_{n}.bias"] for n in "qkv")
        return heads(q, k, v, c.ca_heads) @ s[f"{at}.W_o.weight"].T + s[f"{at}.W_o.bias"]

    a, v = audio.double(), visual.double()
    for i in (0, 1):
        a, v = block(a, f"blocks.audio.{i}", True), block(v, f"blocks.visual.{i}", False)
    a, v = a + it(v, a, "it.audio"), v + it(a, v, "it.visual")
    for i in (2, 3):
        a, v = block(a, f"blocks.audio.{i}", True), block(v, f"blocks.visual.{i}", False)
    a, v = (
        a + attn(v, a, "exchange.audio.attention", c.exchange_heads),
        v + attn(a, v, "exchange.visual.attention", c.exchange_heads),
    )
    pooled = torch.cat([inside(a, "ca.audio").amax(0), inside(v, "ca.visual").amax(0)])
    return s["head.weight"] @ pooled + s["head.bias"]


@torch.no_grad()
def test_the_model_agrees_with_the_equations_written_out() -> None:
    model = lively(model_of(classes=4, divide=4, it_heads=2, ca_heads=2))
    clips = dense_clips(2, frames=5, sound=21)
    clips.lengths["audio"][1], clips.lengths["visual"][1] = 17, 3
    found = model(batch_of(clips))[0]
    for i in range(2):
        own = {m: x[i, : clips.lengths[m][i]] for m, x in clips.values.items()}
        assert torch.allclose(
            found[i].double(), literal_logits(model, own["audio"], own["visual"]), atol=1e-5
        )


@pytest.mark.parametrize(
    "switches",
    [
        {"exchange_roles": "qk_own_v_other"}, {"exchange_roles": "k_own_q_other"}, {"exchange_heads": 4},
        {"ca_mode": "cross"}, {"ca_share": True}, {"ca_proj": False}, {"pool": "mean"}, {"merge": "add"},
        {"it_norm": "layer"}, {"it_post_norm": False},
    ],
)  # fmt: skip
@torch.no_grad()
def test_every_open_choice_changes_the_output(switches: dict[str, Any]) -> None:
    plain, other = lively(model_of()), model_of(**switches)
    same = {name: value for name, value in plain.state_dict().items() if name in other.state_dict()}
    other.load_state_dict(
        {k: v for k, v in same.items() if other.state_dict()[k].shape == v.shape}, strict=False
    )
    a, b = plain.logits(dense_clips()), other.logits(dense_clips())
    assert b.isfinite().all() and not torch.allclose(a, b, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("roles", ["qk_own_v_other", "k_own_q_other"])
def test_exchange_roles_that_need_equal_lengths_do_not_depend_on_the_batch(roles: str) -> None:
    x = torch.randn(2, 7, 3)
    for wanted in (4, 7, 12):
        ours = resample_lengths(x, torch.tensor([7, 7]), torch.tensor([wanted, wanted]), wanted)
        theirs = F.interpolate(x.transpose(1, 2), wanted, mode="linear").transpose(1, 2)
        assert torch.allclose(ours, theirs, atol=1e-6)
    model, clips = lively(model_of(exchange_roles=roles)), dense_clips(2)
    clips.lengths["audio"][1], clips.lengths["visual"][1] = 60, 4
    whole = model.logits(clips)
    alone = ClipBatch({"audio": clips.values["audio"][1:, :60], "visual": clips.values["visual"][1:, :4]},
                  {m: n[1:] for m, n in clips.lengths.items()})  # fmt: skip
    assert agree(model.logits(alone)[0], whole[1])


@torch.no_grad()
def test_a_wider_pooling_stride_halves_the_audio_and_short_audio_is_padded() -> None:
    block = ConvBlock(3, 2, pool=2).eval()
    for n in range(8):
        x, left = block(torch.randn(1, 8, 3), torch.tensor([n]))
        assert x.shape[1] == 3 and int(left) == max(0, (n - 4) // 2 + 1)
        assert not x[:, int(left) :].any()
    for stride, least in ((1, 13), (2, 46)):
        model = model_of(audio_pool_stride=stride)
        assert model.minimum_steps == {"audio": least, "visual": 1}
        for sound in (1, least - 1, least):  # one step is left of the last of them
            found = model(batch_of(dense_clips(2, sound=sound)))
            pooled = model.pooled(dense_clips(2, sound=max(sound, least)))
            assert found.isfinite().all() and pooled["audio"].any()


@torch.no_grad()
def test_missing_face_crops_of_a_short_clip_are_black_or_masked() -> None:
    x, n = pad_to_length(torch.ones(3, 2, 4, 4, 3, dtype=torch.uint8), torch.tensor([2, 1, 0]), 5)
    assert x.shape == (3, 5, 4, 4, 3) and n.tolist() == [5, 5, 0] and not x[:, 2:].any()
    clips = dense_clips(2, frames=3)
    clips.values["visual"] = torch.randint(0, 256, (2, 3, 224, 224, 3), dtype=torch.uint8)
    black = ClipBatch(*(dict(part) for part in (clips.values, clips.lengths)))
    black.values["visual"], black.lengths["visual"] = pad_to_length(
        clips.values["visual"], clips.lengths["visual"], 15
    )
    widths = {"audio": 10, "visual": 3}
    masked, filled = lively(model_of(widths, mask_padding=True)), lively(model_of(widths))
    assert agree(filled.logits(clips), masked.logits(black))
    assert not torch.allclose(masked.logits(clips), filled.logits(clips), atol=1e-4)
    black.lengths["visual"] = clips.lengths["visual"]
    assert agree(masked.logits(black), masked.logits(clips))


@pytest.mark.parametrize("only", ["audio", "visual"])
def test_one_modality_alone_is_a_model_of_its_own(only: str) -> None:
    model = model_of({only: LITTLE[only]}, classes=3)
    assert not any(name.startswith(("it.", "exchange.")) for name, _ in model.named_parameters())
    clips = dense_clips()
    one = ClipBatch({only: clips.values[only]}, {only: clips.lengths[only]})
    assert model.logits(one).shape == (3, 3)


@torch.no_grad()
def test_pictures_are_normalised_mirrored_and_turned_as_one_clip() -> None:
    crops = torch.randint(0, 256, (2, 3, 8, 8, 3), dtype=torch.uint8)
    x = scale_pixels(crops)
    assert x.shape == (2, 3, 3, 8, 8) and float(x.max()) <= 1
    assert torch.allclose(normalize_frames(x, True, False)[0, 0, 0], (x[0, 0, 0] - 0.55391484) / 0.24837189)
    assert torch.equal(normalize_frames(x, False, True), x.flip(2))
    torch.manual_seed(0)
    whole = augment_frames(torch.ones(64, 2, 3, 16, 16))
    assert (
        torch.equal(whole[:, 0], whole[:, 1]) and whole[:, :, :, 6:10, 6:10].min() > 0.99
    )  # only corners are cut
    ramp = torch.arange(16.0).expand(64, 1, 3, 16, 16)
    falling = augment_frames(ramp)[:, 0, 0, 8, 2] > augment_frames(ramp)[:, 0, 0, 8, 2].new_tensor(8.0)
    assert 16 < int(falling.sum()) < 48  # about half are mirrored


def test_the_video_network_is_trained_unless_it_is_frozen() -> None:
    crops = torch.randint(0, 256, (2, 1, 224, 224, 3), dtype=torch.uint8)
    sound = dense_clips(2).values["audio"]
    clips = ClipBatch(
        {"audio": sound, "visual": crops}, {"audio": torch.tensor([156, 156]), "visual": torch.tensor([1, 1])}
    )
    for frozen in (False, True):
        model = model_of({"audio": 10, "visual": 3}, freeze_backbone=frozen).train()
        model.logits(clips).sum().backward()
        assert model.faces is not None
        assert (model.faces.net.conv1[0].weight.grad is None) == frozen


def test_audio_that_is_too_short_everywhere_is_refused_instead_of_treated_as_absent(tmp_path: Path) -> None:
    manifest = toy_manifest()
    write_manifest(manifest, tmp_path / "manifests/toy.jsonl")
    write_steps(tmp_path, manifest, "sound", "audio", steps_of(manifest, 5), "frames", "float32")
    params = toy_params(
        model="avtca", features={"audio": ["sound"]}, config={"divide": 8}, training={"seeds": 1, "epochs": 1}
    )
    with pytest.raises(UsageError, match="needs at least 13 steps, but the longest training utterance has 6"):
        train_experiment("exp", params, tmp_path, work=tmp_path / "work")

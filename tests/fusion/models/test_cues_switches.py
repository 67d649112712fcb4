"""Switches of Cues: each compared with a loop or by its effect, and the whole model compared with its equations."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.errors import UsageError, WeightsError
from ercache.training.losses import masked_cross_entropy
from fusion.models import MODELS
from fusion.models.cues.model import Cues
from fusion.models.cues.prosody import LONGEST, SHORTEST, Branch, Prosody, other_tempo
from fusion.models.cues.relations import Relations
from fusion.models.cues.windows import gather_window, window_extent
from tests.support import literal_cues
from tests.support.checkpoints import tiny_checkpoint
from tests.support.cues_batches import TRACKS, WIDTHS, batch_of, model_of, utterance, with_tracks

MFM = {"mfm_blocks": 2, "mfm_size": "base"}


@torch.no_grad()
@pytest.mark.parametrize("epc", [False, True])
@pytest.mark.parametrize("switches", [{}, MFM, {**MFM, "vit_lower_layers": False}])
def test_the_model_agrees_with_the_equations_written_out(
    tiny: None, epc: bool, switches: dict[str, Any]
) -> None:
    """Eq. 1 to 6 and the heads for a window of three utterances, in float64, within 1e-5."""
    model = model_of(layers=2, **switches).double()
    dialogue = [
        utterance(1, (2, 1, 1), 10),
        utterance(2, (1, 3), 12),
        utterance(3, (1, 2, 2), 7, (-1, 0, 0)),
    ]
    batch = batch_of([[utterance(9), *dialogue], [utterance(8)]], epc)
    doubled = {role: _double(steps) for role, steps in batch.steps.items()}
    object.__setattr__(batch, "steps", doubled)
    wanted = literal_cues.logits(model, dialogue, epc)
    assert torch.allclose(model(batch)[0, 3], wanted, atol=1e-5)


def _double(steps: Any) -> Any:
    if steps.values.is_floating_point():
        object.__setattr__(steps, "values", steps.values.double())
    return steps


# --- windows


def literal_window(
    dialogue: list[dict[str, Tensor]], at: int, past: int | None, future: int, most: int
) -> list[int]:
    """The utterances of a window around `at`; the oldest are dropped while all together are too long."""
    held = list(range(max(0, at - (at if past is None else past)), min(len(dialogue), at + future + 1)))
    while held[0] < at and sum(len(dialogue[i].get("audio", ())) for i in held) > most:
        held.pop(0)
    return held


@pytest.mark.parametrize(
    "past, future, most", [(2, 0, 99), (None, 0, 99), (1, 2, 99), (None, 1, 25), (3, 0, 5)]
)
def test_windows_hold_the_steps_of_their_utterances(past: int | None, future: int, most: int) -> None:
    """All past and later utterances; a limit drops whole utterances, oldest first, but never the last one."""
    long = [utterance(n, frames=3 + 4 * n) for n in range(5)]
    del long[2]["audio"]
    dialogues = [long, [utterance(9, frames=6)], [utterance(n, frames=2) for n in (11, 12)]]
    batch = batch_of(dialogues, extra=2)
    places = batch.mask.flatten().nonzero().flatten()
    extent = window_extent(batch, "audio", places, past, future, most)
    found = gather_window(batch, "audio", places, extent)
    n = 0
    for dialogue in dialogues:
        for at in range(len(dialogue)):
            held = literal_window(dialogue, at, past, future, most)
            parts = [dialogue[i]["audio"] for i in held if "audio" in dialogue[i]]
            wanted = torch.cat(parts) if parts else torch.zeros(0, 5)
            assert int(found.lengths[n]) == len(wanted)
            assert torch.equal(found.values[n, : len(wanted)], wanted)
            assert not found.values[n, len(wanted) :].any()
            own = [i == at for i in held if "audio" in dialogue[i] for _ in dialogue[i]["audio"]]
            assert found.last[n, : len(wanted)].tolist() == own and not found.last[n, len(wanted) :].any()
            assert (int(extent.oldest[n]) == held[0] - at) or int(extent.oldest[n]) < -4
            n += 1


@torch.no_grad()
def test_all_of_the_past_is_a_window_as_long_as_the_dialogue() -> None:
    dialogue = [utterance(n) for n in range(6)]
    batch = batch_of([dialogue])
    whole = model_of({"audio": 5}, context_utterances="all")(batch)
    assert torch.allclose(whole, model_of({"audio": 5}, context_utterances=6)(batch), atol=1e-6)
    assert not torch.allclose(whole[0, 5], model_of({"audio": 5})(batch)[0, 5], atol=1e-4)


@torch.no_grad()
def test_later_utterances_are_seen_in_recognition_only() -> None:
    model = model_of(erc_future_context=1)
    dialogue = [utterance(n) for n in range(4)]
    changed = [*dialogue[:3], utterance(99)]
    before, after = (model(batch_of([d]))[0] for d in (dialogue, changed))
    assert torch.equal(before[:2], after[:2]) and not torch.allclose(before[2], after[2])
    # In prediction a batch ends with what was heard last: there is nothing later in it.
    now, plain = model(batch_of([dialogue], epc=True)), model_of()(batch_of([dialogue], epc=True))
    assert torch.equal(now, plain)


@torch.no_grad()
@pytest.mark.parametrize("granularity", ["word", "token"])
def test_text_drops_the_utterances_that_the_limit_drops_from_speech(granularity: str) -> None:
    """The rest equals a window of the remaining utterances, except for the frozen network's states."""
    one, two = utterance(1, (1, 2), 20), utterance(2, (1, 2, 2, 1), 9, (-1, -1, 0, 0))
    two["text"] = torch.cat([two["text"][:4], torch.randn(1, 6), two["text"][4:]])  # who speaks next
    two["words"][2:, :2] += 1
    model = model_of(window_frames=25, text_granularity=granularity)
    bounded = model(batch_of([[one, two]]))[0, 1]
    cut = {**two, "text": two["text"][4:], "matrix": two["matrix"].view(4, 4)[2:, 2:].flatten()}
    cut["words"] = two["words"][2:] - torch.tensor([4, 4, 0])
    alone = model_of(context_utterances=1, text_granularity=granularity)(batch_of([[one, cut]]))[0, 1]
    assert torch.allclose(bounded, alone, atol=1e-6)
    free = model_of(text_granularity=granularity)(batch_of([[one, two]]))[0, 1]
    assert not torch.allclose(bounded, free, atol=1e-4)


@torch.no_grad()
def test_a_limit_that_leaves_no_word_leaves_one_token() -> None:
    one, two = utterance(1, (1, 2), 20), utterance(2, (2, 1), 9, (-1, -1))
    assert model_of(window_frames=25)(batch_of([[one, two]])).isfinite().all()


@pytest.mark.parametrize("squeeze", ["sum", "mean", "max"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_scores_of_the_remaining_words_are_those_of_their_part_of_the_matrix(
    squeeze: Any, symmetric: bool
) -> None:
    upper = torch.randint(0, 4, (5, 5), generator=torch.Generator().manual_seed(0)).triu(1)
    M = upper + upper.T
    relations = Relations(squeeze, symmetric=symmetric)
    left = relations.scores(M.flatten()[None], torch.tensor([5]), 3, torch.tensor([2]))
    own = relations.scores(M[2:, 2:].flatten()[None], torch.tensor([3]), 3)
    assert torch.equal(left, own)


# --- the prosody encoder


@torch.no_grad()
def test_pitch_and_bands_are_encoded_at_their_own_rate_and_resampled_to_the_frames() -> None:
    """Codes repeated to the bands' frames, then linear interpolation to the frames of speech (A2), batched or not."""
    torch.manual_seed(0)
    prosody = Prosody(64, "narrow", tracks=True).eval()
    held = [with_tracks(utterance(n, frames=f), n, t) for n, f, t in ((1, 20, 26), (2, 7, 9))]
    batch = batch_of([[held[0]], [held[1]]], extra=3)
    places = torch.tensor([0, 1])
    extent = window_extent(batch, "audio", places, 0)
    tracks = (gather_window(batch, "pitch", places, extent), gather_window(batch, "bands", places, extent))
    h = torch.randn(2, 20, 64)
    found = prosody(h, torch.tensor([20, 7]), tracks)
    for n, (frames, steps) in enumerate(((20, 26), (7, 9))):
        pitch = F.one_hot(held[n]["pitch"].long(), 257).float()[None]
        lengths = torch.tensor([steps])
        codes = torch.cat(
            [prosody.pitch(pitch, lengths), prosody.rhythm(held[n]["bands"][None], lengths)], -1
        )
        at_frames = F.interpolate(codes.transpose(1, 2), size=frames, mode="linear").transpose(1, 2)
        wanted = h[n, :frames] + prosody.norm(prosody.out(at_frames[0]))
        assert torch.allclose(found[n, :frames], wanted, atol=1e-5)


@torch.no_grad()
def test_a_window_without_tracks_keeps_its_frames() -> None:
    one = utterance(1)
    model = model_of(WIDTHS | TRACKS, prosody_input="mel_f0")
    plain = model_of(WIDTHS | TRACKS, pe=False)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("prosody")})
    both = batch_of([[one], [with_tracks(utterance(2), 2, 14)]])
    found, bare = model(both), plain(both)
    assert torch.equal(found[0], bare[0]) and not torch.allclose(found[1], bare[1], atol=1e-4)


def test_missing_pitch_and_bands_are_reported() -> None:
    with pytest.raises(UsageError, match="80 mel bands") as told:
        model_of(prosody_input="mel_f0")
    assert "audio/pitch-mel" in told.value.hint


def literal_tempo(x: Tensor, steps: list[int], scales: list[float]) -> Tensor:
    """Segment after segment: each new step lies between two old ones; the length stays the same."""
    rows, start = [], 0
    for size, scale in zip(steps, scales, strict=True):
        k = 0
        while k < size * scale:
            place = start + k / scale
            if place <= len(x) - 1:
                low = int(place)
                share = place - low
                rows.append((1 - share) * x[low] + share * x[min(low + 1, len(x) - 1)])
            k += 1
        start += size
    rows = rows[: len(x)]
    return torch.stack(rows + [torch.zeros(x.shape[1])] * (len(x) - len(rows)))


def test_tempo_changes_in_segments_and_padding_has_no_influence() -> None:
    x, lengths = torch.randn(3, 70, 2), torch.tensor([70, 41, 1])
    padded = x * (torch.arange(70) < lengths[:, None]).unsqueeze(-1)
    torch.manual_seed(5)
    found = other_tempo(padded, lengths)
    torch.manual_seed(5)
    steps = torch.randint(SHORTEST, LONGEST + 1, (3, 4))
    scales = torch.rand(3, 4) + 0.5
    for n, length in enumerate(lengths.tolist()):
        wanted = literal_tempo(x[n, :length].double(), steps[n].tolist(), scales[n].double().tolist())
        assert torch.allclose(found[n, :length].double(), wanted, atol=1e-3)
        assert not found[n, length:].any()


def test_tempo_changes_only_in_training() -> None:
    lengths = torch.tensor([60])
    branch, plain = Branch(4, 8, 3, 2, 3, resample=True), Branch(4, 8, 3, 2, 3)
    plain.load_state_dict(branch.state_dict())
    x = torch.randn(1, 60, 4)
    assert torch.equal(branch.eval()(x, lengths), plain.eval()(x, lengths))
    assert not torch.allclose(branch.train()(x, lengths), plain.train()(x, lengths))


def released(network: Prosody) -> dict[str, Tensor]:
    """The encoders under the names of the published generator, with other tensors around them."""
    theirs: dict[str, Tensor] = {
        "module.encoder_1.len_org": torch.ones(1),
        "module.encoder_1.convolutions_1.0.0.conv.weight": torch.ones(2),
        "module.encoder_1.lstm_1.weight_ih_l0": torch.ones(2),
        "module.encoder_speaker.output_layer.weight": torch.ones(2),
    }
    for name, tensor in network.state_dict().items():
        part, _, rest = name.partition(".")
        if part not in ("pitch", "rhythm"):
            continue
        encoder, number = ("encoder_1", "_2") if part == "pitch" else ("encoder_2", "")
        if rest.startswith("lstm."):
            rest = rest.replace("lstm.", f"lstm{number}.")
        else:
            kind, n, leaf = rest.split(".")
            rest = f"convolutions{number}.{n}.{'0.conv' if kind == 'convs' else '1'}.{leaf}"
        theirs[f"module.{encoder}.{rest}"] = tensor + 1
    return theirs


@pytest.mark.parametrize("tracks", [True, False])
def test_published_prosody_encoders_are_loaded_as_far_as_they_fit(tmp_path: Path, tracks: bool) -> None:
    source = Prosody(1024, "wide", tracks=True)
    model = Prosody(1024, "wide", tracks=tracks)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with tiny_checkpoint("srd-vc", tmp_path, released(source)):
        model.load()
    own = ("out.", "norm.") if tracks else ("out.", "norm.", "pitch.convs.0.", "rhythm.convs.0.")
    for name, tensor in model.state_dict().items():
        wanted = before[name] if name.startswith(own) else source.state_dict()[name] + 1
        assert torch.equal(tensor, wanted), name


def test_missing_or_unsuitable_prosody_weights_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as wrong:
        MODELS["cues"].resolve("small", {"prosody_init": "released"})
    assert "prosody_width: wide and width: 1024" in str(wrong.value.details)
    with torch.device("meta"):
        model = model_of({"audio": 5}, width=1024, prosody_init="released")
    with pytest.raises(WeightsError, match="srd-vc") as told:
        model.on_epoch_start(0)
    assert "prosody_init: random" in told.value.hint and "weights convert" in told.value.hint


# --- the second fusion step


def test_without_lower_layers_the_mel_picture_enters_the_first_layers_of_vit(tiny: None) -> None:
    def numbers(**switches: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        bridges = model_of(**MFM, **switches).bridges
        assert bridges is not None
        return bridges.language.numbers, bridges.vision.numbers

    assert numbers() == ((1, 2), (1, 2))
    assert numbers(vit_lower_layers=False) == ((1, 2), (0, 1))
    assert numbers(mfm_layers="first") == ((0, 1), (0, 1))


def test_newer_switches_are_recorded_only_if_they_differ_from_the_default() -> None:
    newer = {"erc_future_context": 1, "window_frames": 9, "cache_text": False, "finetune_roberta": True}
    newer |= {"finetune_wavlm": True, "prosody_input": "mel_f0", "prosody_init": "released"}
    newer |= {"prosody_resample": True, "vit_lower_layers": False}
    entry = MODELS["cues"]
    assert not newer.keys() & entry.resolve("paper", {}).model_dump().keys()
    assert entry.resolve("paper", newer).model_dump().items() >= newer.items()


# --- items 20, 21 and 23

DEFAULT: dict[str, Any] = {**MFM, "prosody_width": "narrow"}


@pytest.mark.parametrize(
    "switches, changed",
    [
        ({"squeeze": "mean"}, ()), ({"squeeze": "max"}, ()), ({"kwrt_linear": "full"}, ("relations.",)),
        ({"kwrt_symmetric": False}, ()), ({"text_granularity": "token"}, ()), ({"kwrt": False}, ("relations.",)),
        ({"pe": False}, ("prosody.",)), ({"prosody_width": "wide"}, ("prosody.",)), ({"prosody_resample": True}, ()),
        ({"prosody_input": "mel_f0"}, ("prosody.pitch.convs.0.weight", "prosody.rhythm.convs.0.weight")),
        ({"context_utterances": 1}, ()), ({"context_utterances": "all"}, ()), ({"erc_future_context": 1}, ()),
        ({"window_frames": 10}, ()), ({"ta_pool": "first"}, ()), ({"loss": "mean_ce"}, ()),
        ({"mfm_blocks": 0}, ("bridges.", "head2.")), ({"mfm_blocks": 1}, ("bridges.bridges.", "bridges.maps.")),
        ({"mfm_layers": "first"}, ()), ({"vit_lower_layers": False}, ()), ({"bridge_len": 2}, ("bridges.bridges.",)),
        ({"bridge_direction": "ta2m"}, ("bridges.bridges.m2ta", "bridges.maps.m2ta.")),
        ({"bridge_direction": "m2ta"}, ("bridges.bridges.ta2m", "bridges.maps.ta2m.")),
        ({"share_bridge": True}, ("bridges.bridges.",)),
    ],
)  # fmt: skip
def test_item_20_a_switch_trains_and_changes_no_parameters_but_its_own(
    tiny: None, switches: dict[str, Any], changed: tuple[str, ...]
) -> None:
    def trainable(model: Cues) -> dict[str, Any]:
        return {name: p.shape for name, p in model.named_parameters() if p.requires_grad}

    widths = WIDTHS | TRACKS
    with torch.device("meta"):
        usual = trainable(model_of(widths, **DEFAULT))
    model = model_of(widths, **{**DEFAULT, **switches}).train()
    differing = {n for n, shape in (usual.items() ^ trainable(model).items())}
    assert all(name.startswith(changed) for name in differing) and bool(differing) == bool(changed)
    for start in changed:
        assert any(name.startswith(start) for name in differing), start
    dialogues = [[with_tracks(utterance(n), n, 14) for n in (1, 2)], [with_tracks(utterance(3), 3, 14)]]
    loss, count = model.objective(batch_of(dialogues), masked_cross_entropy)
    loss.backward()  # type: ignore[no-untyped-call]
    assert count == 3 and loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_item_21_frozen_layers_stay_in_eval_mode_and_defaults_are_those_of_the_page(tiny: None) -> None:
    model = model_of(**MFM).train()
    assert model.bridges is not None and model.bridges.training and model.step1.training
    for network in (model.bridges.language, model.bridges.vision):
        assert not any(part.training for part in network.modules())
    entry = MODELS["cues"]
    with torch.device("meta"):
        built = entry.build(entry.widths, 4, entry.resolve("paper", {}))
    assert isinstance(built, Cues) and built.bridges is not None
    for extract in (built.extract_text, built.extract_speech):
        assert [(layer.self_attn.num_heads, layer.linear1.out_features) for layer in extract.layers] == [  # type: ignore[union-attr]
            (8, 2048)
        ] * 2
    assert [layer.attention.num_heads for layer in built.step1] == [8, 8]  # type: ignore[union-attr]
    assert built.bridges.language.numbers == built.bridges.vision.numbers == (22, 23)
    assert built.bridges.bridges["m2ta"].shape == (2, 4, 1024)
    assert entry.recipes["paper"]["schedule"] == "constant" and entry.recipes["paper"]["epochs"] == 50


def test_item_23_sixteen_samples_are_learned_by_heart_and_a_seed_decides_the_losses(tiny: None) -> None:
    dialogues = [[utterance(4 * d + n, frames=4 + n) for n in range(4)] for d in range(4)]
    batch = batch_of(dialogues)
    labels = torch.randint(0, 4, batch.labels.shape, generator=torch.Generator().manual_seed(1))

    def losses(steps: int) -> tuple[Cues, list[float]]:
        model = model_of(mfm_size="base", mfm_blocks=1, dropout=0.1, prosody_width="narrow").train()
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        found = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss, count = masked_cross_entropy(model(batch), labels)
            assert count == 16
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            found.append(float(loss.detach()))
        return model.eval(), found

    model, found = losses(45)
    assert losses(2)[1] == found[:2]
    with torch.no_grad():
        assert torch.equal(model(batch).argmax(-1), labels)

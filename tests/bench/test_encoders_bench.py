"""Speeds of encoders: what is measured is told by key and device, and the networks' part of it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.encoders import Inside, measure, networks_of, runnable
from extract.encoders import ENCODERS


@pytest.mark.full
def test_speeds_of_a_text_and_a_sound_encoder(tmp_path: Path) -> None:
    found = measure(tmp_path, ("text/minilm", "audio/prosody"), clips=4, device="cpu")
    speed = found["text/minilm"]["cpu"]
    assert speed["utterances_per_second"] > 1 and 0.3 < speed["of_forward"] <= 1
    assert (
        speed["kilobytes_per_utterance"] > 4 * 384 / 1000
    )  # a vector of 384 numbers of 4 bytes, and those of the words
    assert "of_forward" not in found["audio/prosody"]["cpu"]  # it has no network


def test_all_keys_that_can_run_are_measured() -> None:
    unavailable = {key for key, kind in ENCODERS.items() if kind.spec.unavailable}
    left = set(ENCODERS) - set(runnable())
    assert unavailable <= left <= unavailable | {"visual/openface-au", "audio/egemaps"}


def test_networks_are_found_where_an_encoder_holds_them_and_nested_ones_count_once() -> None:
    class Holder:
        def __init__(self) -> None:
            self.inner = nn.Linear(2, 2)
            self.parts = {"all": nn.Sequential(self.inner)}

    holder = Holder()
    assert len(list(networks_of(holder))) == 2
    inside = Inside(holder, "cpu")  # type: ignore[arg-type]
    holder.parts["all"](torch.ones(1, 2))
    assert 0 < inside.seconds < 1 and inside._depth == 0

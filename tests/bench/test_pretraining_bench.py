"""The benchmark of trainings times the real ones, and says why it has no figures where there is no GPU."""

import pytest
import torch

from bench import pretraining


@pytest.mark.full
def test_examples_a_second_give_the_hours_of_whole_corpora() -> None:
    figures = pretraining.measure("cpu", size="tiny", text="small", examples=32)
    for name, corpora in pretraining.OF.items():
        rate = figures[name]["examples_per_second"]
        for corpus in corpora:
            passes = pretraining.TRAIN[corpus] * pretraining.PAPER_EPOCHS[name]
            assert figures[name][f"{corpus}_hours"] == pytest.approx(passes / rate / 3600, rel=0.05)


def test_without_a_gpu_there_is_a_reason_instead_of_figures() -> None:
    if torch.cuda.is_available():
        figures = pretraining.measure()
        assert figures["text"]["meld_hours"] < 24 and figures["visual"]["casia_webface_hours"] > 0
    else:
        assert pretraining.measure() == {"skipped": pretraining.SKIPPED}

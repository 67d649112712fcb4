"""MMGCN's graph by hand."""

import math

import torch

from fusion.models.mmgcn import edges, graph


def test_utterances_of_a_modality_and_modalities_of_an_utterance_are_linked() -> None:
    here = torch.ones(1, 2, 2, dtype=torch.bool)  # nodes: text 0, text 1, audio 0, audio 1
    assert edges(here)[0].int().tolist() == [[1, 1, 1, 0], [1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 1]]
    here[0, 1, 0] = False
    assert edges(here)[0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]]


def test_edges_weigh_by_angle_and_are_normalised_by_degree() -> None:
    h = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])  # at right angles: 1 - arccos(0) / pi = 0.5
    P = graph(h, torch.ones(1, 2, 2, dtype=torch.bool))
    same = 1 - math.acos(1 - 1e-5) / math.pi
    expected = torch.tensor([[same, 0.5], [0.5, same]]) / (same + 0.5)
    assert (P[0] - expected).abs().max() < 1e-4
    assert (graph(h, torch.zeros(1, 2, 2, dtype=torch.bool)) == 0).all()

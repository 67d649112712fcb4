"""The losses have the values and gradients of docs/papers/m2fnet.md, section 11, items 4 to 8."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from extract.pretrain.config import Margin, MetricLoss
from extract.pretrain.metric_losses import (
    covariance_loss,
    distance,
    metric_loss,
    triplet_loss,
    variance_loss,
)
from extract.pretrain.triplets import balanced_batches, semi_hard

A, P, N = torch.tensor([1.0, 0.0]), torch.tensor([0.6, 0.8]), torch.tensor([-1.0, 0.0])
Z = torch.tensor([[0.0, 0.0], [1.0, 0.5], [0.5, 1.0]])


def loss_at(ap: float, an: float, pn: float, margin: Margin) -> float:
    return triplet_loss(*(torch.tensor(d, dtype=torch.float64) for d in (ap, an, pn)), margin).item()


def test_distances_of_the_hand_example_ignore_lengths() -> None:
    expected = [0.447214, 1, 0.894427]
    assert [distance(A, P).item(), distance(A, N).item(), distance(P, N).item()] == pytest.approx(
        expected, abs=1e-6
    )
    scaled = [distance(3 * A, P).item(), distance(3 * A, 7 * N).item(), distance(P, 7 * N).item()]
    assert scaled == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("distances", "printed", "similarity"),
    [
        ((0.44721360, 1, 0.89442719), 3.834303, 1.755781),
        ((0, 0, 0), 4.036631, 4.036631),
        ((0.5, 0.5, 0.5), 2.541341, 2.541341),
        ((0, 1, 1), 5.0, 1.073263),
        ((0.2, 0.8, 0.8), 3.197316, 1.563049),
    ],
)
def test_the_adaptive_margin_at_its_corners(
    distances: tuple[float, float, float], printed: float, similarity: float
) -> None:
    assert loss_at(*distances, "printed") == pytest.approx(printed, abs=1e-6)
    assert loss_at(*distances, "printed_stopgrad") == pytest.approx(printed, abs=1e-6)
    assert loss_at(*distances, "similarity") == pytest.approx(similarity, abs=1e-6)
    ap, an, pn = distances
    assert loss_at(*distances, "fixed") == pytest.approx(max(0, ap - (an + pn) / 2 + 0.2), abs=1e-6)


@pytest.mark.parametrize(
    ("margin", "by_ap", "by_an"),
    [("printed", -0.337212, 7.5), ("similarity", 1.876600, -0.646525), ("printed_stopgrad", 1.0, -0.5)],
)
def test_gradients_of_the_hand_example(margin: Margin, by_ap: float, by_an: float) -> None:
    ap, an, pn = (torch.tensor(d, dtype=torch.float64, requires_grad=True) for d in (0.2**0.5, 1.0, 0.8**0.5))
    triplet_loss(ap, an, pn, margin).backward()
    assert [ap.grad.item(), an.grad.item(), pn.grad.item()] == pytest.approx([by_ap, by_an, -0.5], abs=1e-6)


def test_variance_and_covariance_of_the_hand_example() -> None:
    assert variance_loss(Z).item() == pytest.approx(0.499900, abs=1e-6)
    assert covariance_loss(Z).item() == pytest.approx(0.015625, abs=1e-7)
    assert variance_loss(Z, "printed").item() == pytest.approx(0.5001, abs=1e-6)
    assert covariance_loss(Z, "printed").item() == pytest.approx(0.125, abs=1e-7)
    assert variance_loss(4 * Z).item() == 0
    assert covariance_loss(4 * Z).item() == pytest.approx(4.0, abs=1e-5)
    assert variance_loss(4 * Z, "printed").item() == pytest.approx(-0.9999, abs=1e-6)
    assert covariance_loss(4 * Z, "printed").item() == pytest.approx(2.0, abs=1e-6)


def test_the_terms_are_weighted_20_5_1_and_summed_over_the_roles() -> None:
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    a, p, n = z[:2], z[2:4], z[4:]
    amt = triplet_loss(distance(a, p), distance(a, n), distance(p, n), "similarity").mean()
    cov = sum(covariance_loss(role) for role in (a, p, n))
    var = sum(variance_loss(role) for role in (a, p, n))
    assert metric_loss(a, p, n, MetricLoss()).item() == pytest.approx(
        (20 * amt + 5 * cov + var).item(), rel=1e-6
    )
    total = 20 * 1.755781 + 5 * 3 * covariance_loss(Z) + 3 * variance_loss(Z)
    assert total.item() == pytest.approx(36.849695, abs=1e-5)


@pytest.mark.parametrize("margin", ["similarity", "printed", "fixed"])
@pytest.mark.parametrize("form", ["vicreg", "printed"])
def test_gradients_agree_with_finite_differences(margin: Margin, form: str) -> None:
    loss = MetricLoss(margin=margin, var_form=form, cov_form=form)  # type: ignore[arg-type]
    roles = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def value(z: Tensor) -> Tensor:
        a, p, n = z
        amt = triplet_loss(distance(a, p), distance(a, n), distance(p, n), loss.margin).mean()
        spread = sum(covariance_loss(r, loss.cov_form) + variance_loss(r, loss.var_form) for r in z)
        return amt + spread

    assert torch.autograd.gradcheck(value, roles.requires_grad_(), atol=1e-6)


def _distances(roles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, p, n = roles
    return distance(a, p), distance(a, n), distance(p, n)


def test_a_detached_margin_moves_like_no_margin_at_all() -> None:
    roles = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(2), requires_grad=True)
    triplet_loss(*_distances(roles), "printed_stopgrad").mean().backward()
    moved = roles.grad.clone()
    roles.grad = None
    ap, an, pn = _distances(roles)
    (ap - (an + pn) / 2).mean().backward()
    assert torch.allclose(moved, roles.grad)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 12), classes=st.integers(1, 4))
def test_semi_hard_negatives_are_those_that_a_loop_finds(seed: int, size: int, classes: int) -> None:
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(size, 3, generator=random)
    labels = torch.randint(classes, (size,), generator=random)
    found = semi_hard(z, labels, random)
    expected = [
        n
        for n in range(size)
        if int((labels == labels[n]).sum()) > 1 and not bool((labels == labels[n]).all())
    ]
    assert found.anchor.tolist() == expected, "each image that can be an anchor is one, once"
    for a, p, n in zip(found.anchor.tolist(), found.positive.tolist(), found.negative.tolist(), strict=True):
        assert p != a and labels[p] == labels[a]
        others = [(distance(z[a], z[k]).item(), k) for k in range(size) if labels[k] != labels[a]]
        beyond = [pair for pair in others if pair[0] > distance(z[a], z[p]).item()]
        assert distance(z[a], z[n]).item() == pytest.approx(min(beyond or others)[0], abs=1e-6)
        assert labels[n] != labels[a]


def test_positives_are_drawn_from_the_whole_class() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1])
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(0)
    drawn = [semi_hard(z, labels, random).positive[0].item() for _ in range(60)]
    assert set(drawn) == {1, 2, 3}
    assert min(drawn.count(k) for k in (1, 2, 3)) >= 10


def test_batches_hold_each_class_and_go_through_all_images_before_any_comes_again() -> None:
    labels = torch.tensor([0] * 10 + [1] * 7 + [2] * 2)
    batches = list(balanced_batches(labels, 3, 3, torch.Generator().manual_seed(0)))
    assert len(batches) == 3  # 8 images each: 3 x 8 >= 19
    for rows in batches:
        assert torch.bincount(labels[rows]).tolist() == [3, 3, 2], "a class of two gives two"
        assert len(set(rows.tolist())) == len(rows)
    of_first = [r for rows in batches for r in rows.tolist() if labels[r] == 0]
    assert len(set(of_first)) == 9


def test_some_classes_are_drawn_where_not_all_fit() -> None:
    labels = torch.arange(10).repeat_interleave(4)
    batches = list(balanced_batches(labels, 3, 2, torch.Generator().manual_seed(0)))
    assert all(len(labels[rows].unique()) == 3 for rows in batches)
    assert len({c for rows in batches for c in labels[rows].tolist()}) > 6

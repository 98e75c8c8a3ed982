"""Curvature against dense Hessians."""

import numpy as np
import pytest
import torch

from trainers.studies.tools import curvature
from trainers.studies.tools.mlp import cross_entropy, draw_networks, squared, with_parameters

SEEDS = (0, 3, 7)


def _networks(seeds=SEEDS):
    networks = draw_networks(seeds, (3, 4, 2), activation=torch.tanh)
    return with_parameters(networks, [one.double() + 0.1 for one in networks.parameters])


def _loss(networks, *, classes=False):
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(9, 3, generator=draw, dtype=torch.float64)
    targets = torch.randn(9, 2, generator=draw, dtype=torch.float64)

    def loss(parameters):
        outputs = with_parameters(networks, parameters)(inputs)
        if classes:
            return cross_entropy(outputs, targets.argmax(-1)[None])
        return squared(outputs, targets)

    return loss


def _autograd(loss, parameters):
    """The block of each replica, by torch.autograd on one flat vector."""
    rows = curvature.flatten(parameters)
    blocks = []
    for replica in range(len(rows)):

        def one(row, replica=replica):
            filled = torch.cat([rows[:replica], row[None], rows[replica + 1 :]])
            return loss(curvature.unflatten(filled, parameters))[replica]

        blocks.append(torch.autograd.functional.hessian(one, rows[replica]))
    return torch.stack(blocks)


@pytest.mark.parametrize("classes", [False, True])
def test_the_dense_hessian_is_that_of_autograd(classes):
    networks = _networks()
    loss = _loss(networks, classes=classes)
    found = curvature.hessian(loss, networks.parameters, chunk=5)
    assert found.shape == (3, networks.size, networks.size)
    torch.testing.assert_close(found, _autograd(loss, networks.parameters))


def test_a_product_acts_on_every_replica_alone():
    networks = _networks()
    loss = _loss(networks)
    vectors = torch.randn(3, networks.size, dtype=torch.float64)
    dense = _autograd(loss, networks.parameters)
    found = curvature.hessian_product(loss, networks.parameters, vectors)
    torch.testing.assert_close(found, torch.einsum("rij,rj->ri", dense, vectors))


def test_a_product_leaves_no_gradient_behind():
    networks = _networks()
    leaves = tuple(one.requires_grad_() for one in networks.parameters)
    found = curvature.hessian_product(_loss(networks), leaves, curvature.flatten(leaves).detach())
    assert not found.requires_grad
    assert all(leaf.grad is None for leaf in leaves)


def test_rows_are_parameters_and_back():
    networks = _networks()
    rows = curvature.flatten(networks.parameters)
    assert rows.shape == (3, networks.size)
    for back, one in zip(
        curvature.unflatten(rows, networks.parameters), networks.parameters, strict=True
    ):
        torch.testing.assert_close(back, one)


def test_lanczos_finds_the_top_eigenvalues_long_before_the_last_step():
    networks = _networks()
    loss = _loss(networks)
    dense = np.linalg.eigvalsh(_autograd(loss, networks.parameters).numpy())[:, ::-1]
    short = curvature.top_eigenvalues(loss, networks.parameters, 1, steps=12)
    assert short.numpy() == pytest.approx(dense[:, :1], rel=1e-3)
    full = curvature.top_eigenvalues(loss, networks.parameters, 5, steps=99)
    assert full.numpy() == pytest.approx(dense[:, :5], rel=1e-9, abs=1e-9)


def _quadratic(matrices):
    """A loss whose Hessians are these."""
    return lambda parameters: (
        0.5 * torch.einsum("ri,rij,rj->r", parameters[0], matrices, parameters[0])
    )


def test_equal_eigenvalues_and_zeros_are_found_after_the_space_is_exhausted():
    draw = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(2, 8, 8, generator=draw, dtype=torch.float64)).Q
    values = torch.tensor([[3.0, 3, 3, 1, 0, 0, 0, 0], [-1] * 4 + [-2.0] * 4]).double()
    matrices = torch.einsum("rij,rj,rkj->rik", turn, values, turn)
    found = curvature.top_eigenvalues(
        _quadratic(matrices), (torch.ones(2, 8, dtype=torch.float64),), 8, steps=8
    )
    assert found.numpy() == pytest.approx(values.numpy(), abs=1e-9)


def test_a_flat_loss_has_eigenvalue_and_trace_zero():
    flat = _quadratic(torch.zeros(2, 4, 4))
    point = (torch.ones(2, 4),)
    assert curvature.top_eigenvalues(flat, point, 2).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert [one.tolist() for one in curvature.trace(flat, point)] == [[0.0, 0.0], [0.0, 0.0]]


def test_a_diverged_replica_is_nan_and_the_others_stay():
    point = (torch.tensor([[1.0, 1.0], [torch.inf, 1.0]]),)
    loss = lambda parameters: parameters[0].pow(4).sum(1)  # noqa: E731
    top = curvature.top_eigenvalues(loss, point)
    assert top[0].tolist() == pytest.approx([12.0])
    assert top[1].isnan().all()
    assert curvature.trace(loss, point)[0].isfinite().tolist() == [True, False]


def test_a_single_parameter_has_its_second_derivative_for_eigenvalue():
    found = curvature.top_eigenvalues(_quadratic(torch.tensor([[[3.0]]])), (torch.ones(1, 1),))
    assert found.tolist() == [[3.0]]


def test_hutchinson_comes_within_its_error_and_that_falls_with_the_root_of_probes():
    networks = _networks()
    loss = _loss(networks)
    exact = _autograd(loss, networks.parameters).diagonal(dim1=1, dim2=2).sum(1)
    few, coarse = curvature.trace(loss, networks.parameters, probes=50)
    many, fine = curvature.trace(loss, networks.parameters, probes=800)
    assert ((few - exact).abs() < 4 * coarse).all()
    assert ((many - exact).abs() < 4 * fine).all()
    assert (coarse / fine).numpy() == pytest.approx(4.0, rel=0.4)


def test_hutchinson_is_exact_for_a_diagonal():
    values = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    mean, error = curvature.trace(_quadratic(torch.diag_embed(values)), (torch.ones(2, 3),))
    assert mean.tolist() == [6.0, 15.0]
    assert error.tolist() == [0.0, 0.0]


def test_a_replica_is_measured_the_same_alone_and_among_others():
    together, alone = _networks(), _networks((3,))
    for measure in (
        lambda networks: curvature.top_eigenvalues(_loss(networks), networks.parameters, steps=9),
        lambda networks: curvature.trace(_loss(networks), networks.parameters)[0],
    ):
        torch.testing.assert_close(measure(together)[1:2], measure(alone))

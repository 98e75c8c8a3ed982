"""The tangent kernel, the network linear in its weights, and the Hessian's norm."""

import pytest
import torch

from trainers.studies.parts.tangent import (
    descend,
    draw_weights,
    hessian_norm,
    kernel,
    linear,
    outputs,
)

SHOWN, ALL = 5, 8


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(ALL, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def drawn(seeds, sizes=(3, 7, 6, 1)):
    return tuple(one.double() for one in draw_weights(seeds, sizes))


def model(inputs):
    return lambda weights: outputs(weights, inputs, torch.tanh)


def gradients(weights, inputs, replica):
    """Per-example gradients by autograd, (examples, parameters)."""
    leaves = [one[replica : replica + 1].clone().requires_grad_() for one in weights]
    found = outputs(tuple(leaves), inputs, torch.tanh)[0]
    rows = [torch.autograd.grad(one, leaves, retain_graph=True) for one in found]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def test_the_kernel_is_that_of_the_gradients_of_examples(inputs):
    weights = drawn([3, 4])
    found = kernel(model(inputs), weights, SHOWN)
    assert found.shape == (2, ALL, SHOWN)
    for replica in range(2):
        rows = gradients(weights, inputs, replica)
        assert torch.allclose(found[replica], rows @ rows[:SHOWN].T, rtol=1e-10)


def test_a_network_is_the_same_whatever_stands_beside_it(inputs):
    alone, beside = draw_weights([4], (3, 7, 1)), draw_weights([3, 4], (3, 7, 1))
    assert all(torch.equal(one[0], two[1]) for one, two in zip(alone, beside, strict=True))
    found = [kernel(model(inputs.float()), one, SHOWN)[-1] for one in (alone, beside)]
    assert torch.allclose(*found)


def test_the_linear_network_is_the_one_that_is_trained(inputs):
    weights, rate, steps = drawn([3, 4]), 0.5, 30
    targets = torch.linspace(-1.0, 1.0, SHOWN, dtype=torch.float64)
    full = model(inputs)

    rows = torch.stack([gradients(weights, inputs, replica) for replica in range(2)])

    def tangent(moved):
        shifts = [(late - early).flatten(1) for late, early in zip(moved, weights, strict=True)]
        return full(weights) + torch.einsum("rep,rp->re", rows, torch.cat(shifts, dim=1))

    trained = tangent(descend(tangent, weights, targets, rate=rate, steps=steps))
    closed = linear(kernel(full, weights, SHOWN), full(weights), targets, rate=rate, steps=steps)
    assert torch.allclose(closed, trained, rtol=1e-8)
    assert not torch.allclose(closed, full(weights), atol=0.05)


def test_a_kernel_of_too_low_a_rank_is_no_obstacle():
    targets, first = torch.ones(3), torch.zeros(1, 3)
    found = linear(torch.ones(1, 3, 3), first, targets, rate=1.0, steps=50)
    assert found[0].tolist() == pytest.approx([1.0] * 3)


def test_descent_is_that_of_torch(inputs):
    weights, targets = drawn([3]), torch.ones(SHOWN, dtype=torch.float64)
    leaves = [one.clone().requires_grad_() for one in weights]
    optimiser = torch.optim.SGD(leaves, lr=0.3)
    for _ in range(4):
        optimiser.zero_grad()
        off = outputs(tuple(leaves), inputs[:SHOWN], torch.tanh)[0] - targets
        (off.square().mean() / 2).backward()
        optimiser.step()
    found = descend(model(inputs), weights, targets, rate=0.3, steps=4)
    assert all(torch.allclose(one, two) for one, two in zip(found, leaves, strict=True))


def test_the_norm_is_the_largest_eigenvalue_of_either_sign(inputs):
    weights = drawn([3, 4, 5], (3, 6, 1))
    found = hessian_norm(lambda moved: outputs(moved, inputs[:1], torch.tanh)[:, 0], weights)
    for replica in range(3):

        def value(row):
            parts = torch.split(row, [one[0].numel() for one in weights])
            shaped = [p.view(1, *w.shape[1:]) for p, w in zip(parts, weights, strict=True)]
            return outputs(tuple(shaped), inputs[:1], torch.tanh).sum()

        row = torch.cat([one[replica].flatten() for one in weights])
        exact = torch.linalg.eigvalsh(torch.autograd.functional.hessian(value, row)).abs().max()
        assert 0.97 * exact <= found[replica] <= exact * 1.000001

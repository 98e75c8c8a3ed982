"""Optimisers of replicas against PyTorch's own, one replica at a time."""

import pytest
import torch
from torch import nn

from trainers.optim import OPTIMISERS

RATES = {"embedding": [0.1, 0.2, 0.1], "matrices": [0.01, 0.01, 0.01]}
REFERENCE = {
    "sgd": torch.optim.SGD,
    "adamw": lambda groups: torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0),
}


def params(seed=0):
    draw = torch.Generator().manual_seed(seed)
    shapes = {"embedding": [(3, 5, 4)], "matrices": [(3, 4, 4), (3, 4, 2)]}
    return {
        kind: [nn.Parameter(torch.randn(shape, generator=draw)) for shape in group]
        for kind, group in shapes.items()
    }


def loss(groups, replica=slice(None)):
    embedding, (first, second) = groups["embedding"][0], groups["matrices"]
    return (embedding[replica] @ first[replica] @ second[replica]).square().sum()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_replica_moves_as_pytorch_would_move_it_alone(name):
    together = params()
    ours = OPTIMISERS[name](together, RATES)
    singles = []
    for replica in range(3):
        alone = {
            kind: [nn.Parameter(weight.detach()[replica : replica + 1].clone()) for weight in group]
            for kind, group in params().items()
        }
        groups = [{"params": alone[kind], "lr": RATES[kind][replica]} for kind in alone]
        singles.append((alone, REFERENCE[name](groups)))
    for step in range(6):
        factor = 1 / (step + 1)
        ours.aim(factor)
        (loss(together) * 1e-3).backward()
        ours.step()
        for replica, (alone, other) in enumerate(singles):
            for group, kind in zip(other.param_groups, alone, strict=True):
                group["lr"] = RATES[kind][replica] * factor
            (loss(alone) * 1e-3).backward()
            other.step()
            other.zero_grad()
    for replica, (alone, _) in enumerate(singles):
        for kind, group in together.items():
            for weight, single in zip(group, alone[kind], strict=True):
                assert torch.allclose(weight[replica], single[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_forgets_its_gradients(name):
    weights = params()
    optimiser = OPTIMISERS[name](weights, RATES)
    optimiser.aim(1.0)
    loss(weights).backward()
    optimiser.step()
    assert all(weight.grad is None for weight in optimiser.params)


def test_what_a_step_reads_is_all_of_the_state():
    """Put back weights and state, and the same steps follow, bit for bit."""
    weights = params()
    optimiser = OPTIMISERS["adamw"](weights, RATES)
    optimiser.aim(1.0)

    def walk():
        for _ in range(3):
            loss(weights).backward()
            optimiser.step()
        return [weight.detach().clone() for weight in optimiser.params]

    walk()
    everything = [*(weight.data for weight in optimiser.params), *optimiser.state()]
    kept = [tensor.clone() for tensor in everything]
    once = walk()
    for tensor, then in zip(everything, kept, strict=True):
        tensor.copy_(then)
    assert all(torch.equal(a, b) for a, b in zip(once, walk(), strict=True))

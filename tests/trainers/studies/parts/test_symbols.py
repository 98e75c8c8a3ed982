"""Networks that read a symbol, and their exact loss."""

import pytest
import torch
from torch import nn

from trainers.sources.markov import load
from trainers.studies.parts.symbols import exact_loss, logits, pairs, start


def test_the_chances_are_those_of_the_source():
    found, source = pairs(), load("markov", 1)
    assert found.sum().item() == pytest.approx(1.0)
    assert torch.allclose(found.sum(0), found.sum(1))  # what comes in goes out
    entropy = -(found * (found / found.sum(1, keepdim=True)).log()).sum().item()
    assert entropy == pytest.approx(source.entropy)


def test_the_network_is_that_of_torch():
    weights = start([3, 4], 5, 7)
    symbols = torch.tensor([[0, 6, 2], [1, 1, 5]])
    found = logits(weights, symbols)
    for replica in range(2):
        into, bias, out, level = (one[replica] for one in weights)
        table, last = nn.Embedding.from_pretrained(into), nn.Linear(5, 7)
        last.weight.data, last.bias.data = out.T, level[0]
        assert torch.allclose(last(torch.relu(table(symbols[replica]) + bias)), found[replica])


def test_a_replica_is_the_same_whatever_stands_beside_it():
    alone, beside = start([4], 5, 7), start([3, 4], 5, 7)
    assert all(torch.equal(one[0], two[1]) for one, two in zip(alone, beside, strict=True))


def test_the_loss_of_the_truth_is_the_entropy_and_of_nothing_that_of_even_chances():
    chances, source = pairs(), load("markov", 1)
    size = len(chances)
    into, level = torch.eye(size)[None], torch.zeros(1, 1, size)
    out = torch.from_numpy(source.transition).log().float()[None]
    truth = [into, torch.zeros(1, 1, size), out, level]
    assert exact_loss(truth, chances).item() == pytest.approx(source.entropy, rel=1e-5)
    nothing = [into, torch.zeros(1, 1, size), torch.zeros_like(out), level]
    even = torch.log(torch.tensor(float(size))).item()
    assert exact_loss(nothing, chances).item() == pytest.approx(even, rel=1e-5)

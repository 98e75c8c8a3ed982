"""Planes through the loss of a PyTorch network."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from trainers.studies.parts import slices
from trainers.studies.tools.cnn import drawn
from trainers.studies.tools.curvature import hessian
from trainers.studies.tools.directions import layer_directions
from trainers.studies.tools.plain import OVERFLOW, outputs_at, parameters

IMAGES = torch.rand(9, 3, 2, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(9)
SIDE = np.linspace(-1.0, 1.0, 5)


@pytest.fixture(scope="module")
def network():
    def build():
        layers = nn.Conv2d(3, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(2, 10)
        return nn.Sequential(*layers)

    return drawn(build, 0).eval()


@pytest.fixture(scope="module")
def heard():
    return []


@pytest.fixture(scope="module")
def table(network, heard):
    return slices.deep_slice(
        network, (IMAGES, LABELS), side=SIDE, curved=7, seed=3, tell=heard.append
    )


def test_a_place_of_a_slice_is_the_loss_of_the_network_moved_there(network, table):
    centre = parameters(network)
    first, second = (layer_directions(centre, [3], number) for number in (0, 1))
    for row in (0, 7, 12, 23):
        a, b = table["a"][row], table["b"][row]
        moved = tuple(x + a * y + b * z for x, y, z in zip(centre, first, second, strict=True))
        lost = functional.cross_entropy(outputs_at(network, moved, IMAGES), LABELS)
        assert table["loss"][row] == pytest.approx(lost.item(), rel=1e-5)
    assert (table["a"][12], table["b"][12]) == (0.0, 0.0)
    assert (table["a"][7], table["b"][7]) == (-0.5, 0.0)
    missed = (network(IMAGES).argmax(1) != LABELS).double().mean()
    assert table["wrong"][0] == pytest.approx(missed.item())


def test_a_slice_says_what_it_is_of_and_how_far_it_has_come(table, heard):
    assert heard == [f"row {row} of 5" for row in range(1, 6)]
    same = table[["params", "images", "curved"]].drop_duplicates()
    assert same.to_numpy().tolist() == [[26 + 30, 9, 7]]


def test_extremes_are_those_of_the_dense_hessian(network, table):
    def loss(at):
        return functional.cross_entropy(outputs_at(network, at, IMAGES[:7]), LABELS[:7])[None]

    values = torch.linalg.eigvalsh(hessian(loss, parameters(network))[0])
    assert table["greatest"][0] == pytest.approx(values[-1].item(), rel=1e-3)
    assert table["least"][0] == pytest.approx(values[0].item(), rel=1e-2, abs=1e-4)
    assert values[0] < -1e-3


def test_losses_beyond_all_measure_still_have_a_shape():
    part = pd.DataFrame(slices.grid(SIDE) | {"wrong": 0.5, "least": 1.0, "greatest": 2.0})
    part["loss"] = 1e12 * (part["a"] ** 2 + part["b"] ** 2)
    found = slices.shape(part, floor=0.1, near=0.5)
    assert (found["near"], found["far"], found["saddle"]) == (1.0, 1.0, 0.0)
    assert found["floor"] == pytest.approx(4 / 25)


def test_where_numbers_overflow_a_slice_is_high_and_not_missing(network):
    side, quiet = 1e38 * np.array([-1.0, 0.0, 1.0]), lambda _: None
    found = slices.deep_slice(network, (IMAGES, LABELS), side=side, curved=2, seed=0, tell=quiet)
    assert (found["loss"] == OVERFLOW).sum() > 0
    assert found["loss"][4] < 10
    assert found.notna().all(axis=None)

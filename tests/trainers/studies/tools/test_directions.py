"""Cuts through a loss, and ways between two minima."""

import pytest
import torch

from trainers.studies.tools.directions import (
    along,
    bend,
    filter_directions,
    layer_directions,
    line,
    plane,
    train_bend,
)
from trainers.studies.tools.mlp import draw_networks, squared, with_parameters

INPUTS = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(1))
PLACES = torch.linspace(0.0, 1.0, 11)


def networks(seeds=(0, 1)):
    return draw_networks(seeds, (5, 4, 3))


def loss(parameters):
    return squared(with_parameters(networks(), parameters)(INPUTS), TARGETS)


def test_every_filter_of_a_direction_is_as_long_as_the_networks_own_and_biases_rest():
    own = networks()
    direction = filter_directions(own, 0)
    for layer, (found, weight) in enumerate(zip(direction, own.weights, strict=False)):
        for replica in range(2):
            for unit in range(weight.shape[2]):
                length = float(weight[replica, :, unit].norm())
                assert float(found[replica, :, unit].norm()) == pytest.approx(length, rel=1e-5), (
                    layer
                )
    assert all((bias == 0).all() for bias in direction[len(own.weights) :])


def test_directions_belong_to_the_seed_and_differ_between_seeds_and_numbers():
    both, alone = filter_directions(networks(), 3), filter_directions(networks((1,)), 3)
    assert torch.equal(both[0][1], alone[0][0])
    assert not torch.allclose(both[0][0] / both[0][0].norm(), both[0][1] / both[0][1].norm())
    cosine = torch.cosine_similarity(
        *(torch.cat([one[0].flatten() for one in filter_directions(wide(), s)]) for s in (0, 1)),
        dim=0,
    )
    assert abs(cosine) < 0.1


def layers(replicas=2):
    draw = torch.Generator().manual_seed(2)
    sizes = (4, 3, 5, 5), (4,), (6, 8), (6,)  # a convolution and a linear layer with their biases
    return tuple(torch.randn(replicas, *size, generator=draw) for size in sizes)


def test_a_filter_of_a_convolution_is_what_leads_into_one_output_channel():
    own = layers()
    direction = layer_directions(own, [0, 1], 0)
    for number in (0, 2):
        for replica in range(2):
            pairs = zip(direction[number][replica], own[number][replica], strict=True)
            for found, filters in pairs:
                assert float(found.norm()) == pytest.approx(float(filters.norm()), rel=1e-5)
                assert not torch.allclose(found, filters, atol=0.1)
    assert [one.shape for one in direction] == [one.shape for one in own]
    assert (direction[1] == 0).all()
    assert (direction[3] == 0).all()


def test_a_replica_of_layers_gets_the_direction_that_it_gets_alone():
    own = layers()
    both, alone = (
        layer_directions(own, [0, 1], 3),
        layer_directions([one[1:] for one in own], [1], 3),
    )
    for found, single in zip(both, alone, strict=True):
        assert torch.equal(found[1:], single)
    other = layer_directions(own, [0, 1], 4)
    cosine = torch.cosine_similarity(both[0].flatten(), other[0].flatten(), dim=0)
    assert abs(cosine) < 0.2


def wide():
    return draw_networks((0,), (50, 50, 50))


def test_a_plane_is_the_centre_plus_multiples_of_its_directions():
    own = networks()
    directions = [filter_directions(own, number) for number in (0, 1)]
    places = torch.tensor([[0.0, 0.0], [0.5, -2.0]])
    found = along(plane(own.parameters, directions), loss, places)
    moved = [a + 0.5 * b - 2.0 * c for a, b, c in zip(own.parameters, *directions, strict=True)]
    assert torch.equal(found[0], loss(own.parameters))
    assert torch.allclose(found[1], loss(moved))


def test_both_ways_end_where_they_should_and_a_bend_through_the_middle_is_straight():
    start, end = networks().parameters, networks((2, 3)).parameters
    control = tuple(torch.randn_like(one) for one in start)
    for curve in (line(start, end), bend(start, control, end)):
        for place, wanted in ((0.0, start), (1.0, end)):
            found = curve(torch.tensor(place))
            assert all(map(torch.equal, found, wanted))
    middle = line(start, end)(torch.tensor(0.5))
    straight = along(line(start, end), loss, PLACES)
    assert torch.allclose(along(bend(start, middle, end), loss, PLACES), straight, rtol=1e-4)


def test_a_bend_is_de_casteljaus_construction():
    start, end = networks().parameters, networks((2, 3)).parameters
    control, place = networks((4, 5)).parameters, torch.tensor(0.3)
    first, last = line(start, control)(place), line(control, end)(place)
    for found, wanted in zip(
        bend(start, control, end)(place), line(first, last)(place), strict=True
    ):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_a_trained_bend_goes_round_a_hill():
    # a hill at the origin of a plane: exp(-|w|^2), crossed from (-2, 0) to (2, 0), a little aside
    start, end = (torch.tensor([[-2.0, 0.0]]),), (torch.tensor([[2.0, 0.1]]),)

    def hill(parameters):
        return torch.exp(-parameters[0].square().sum(-1))

    straight = along(line(start, end), hill, PLACES).max()
    control = train_bend(start, end, hill, steps=300, lr=0.1)
    assert along(bend(start, control, end), hill, PLACES).max() < 0.1 * straight
    again = train_bend(start, end, hill, steps=300, lr=0.1)
    assert torch.equal(control[0], again[0])


def test_replicas_are_bent_as_they_are_alone():
    start, end = networks().parameters, networks((2, 3)).parameters
    both = train_bend(start, end, loss, steps=20, lr=0.01)
    alone = train_bend(
        [one[1:] for one in start], [one[1:] for one in end], loss_of_one, steps=20, lr=0.01
    )
    assert torch.allclose(both[0][1], alone[0][0], atol=1e-5)


def loss_of_one(parameters):
    return squared(with_parameters(networks((1,)), parameters)(INPUTS), TARGETS)

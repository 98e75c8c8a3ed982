"""Masks keep what they say, and training under them moves nothing else."""

import pytest
import torch

from trainers.studies.tools.masks import (
    at_random,
    by_magnitude,
    by_magnitude_overall,
    joined,
    kept,
    masked,
    whole,
)
from trainers.studies.tools.mlp import Networks, draw_networks, squared, train

INPUTS = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
TARGETS = torch.eye(3)[torch.arange(20) % 3][None]
SHARES = (0.5, 0.25)


@pytest.fixture
def networks():
    return draw_networks((4, 9), (5, 8, 3))


@pytest.fixture
def masks(networks):
    return by_magnitude(networks.weights, whole(networks.weights), SHARES)


def test_the_smallest_weights_of_each_layer_go(networks, masks):
    assert kept(masks).tolist() == [[20, 18], [20, 18]]
    for weight, mask in zip(networks.weights, masks, strict=True):
        for size, there in zip(weight.abs(), mask > 0, strict=True):
            assert size[there].min() > size[~there].max()


def test_the_next_round_takes_from_what_is_left(networks, masks):
    again = by_magnitude(networks.weights, masks, SHARES)
    assert kept(again).tolist() == [[10, 14], [10, 14]]
    assert all((new <= old).all() for new, old in zip(again, masks, strict=True))


def test_a_weight_of_zero_that_is_there_goes_after_those_that_are_not(networks, masks):
    nothing = tuple(torch.zeros_like(one) for one in networks.weights)
    again = by_magnitude(nothing, masks, (0.0, 0.0))
    assert all(torch.equal(new, old) for new, old in zip(again, masks, strict=True))


def test_overall_the_smallest_of_all_layers_go_together(networks):
    masks = by_magnitude_overall(networks.weights, whole(networks.weights), 0.5)
    assert kept(masks).sum(1).tolist() == [32, 32]
    for replica in range(2):
        sizes = torch.cat([one[replica].abs().flatten() for one in networks.weights])
        there = torch.cat([one[replica].flatten() for one in masks]) > 0
        assert sizes[there].min() > sizes[~there].max()


def test_random_masks_keep_as_many_a_layer_and_are_of_their_seed(networks):
    masks = by_magnitude_overall(networks.weights, whole(networks.weights), 0.5)
    drawn, alone = at_random(masks, (1, 2)), at_random(tuple(one[1:] for one in masks), (2,))
    assert torch.equal(kept(drawn), kept(masks))
    assert all(torch.equal(a[1], b[0]) for a, b in zip(drawn, alone, strict=True))
    assert not torch.equal(drawn[0][0], drawn[0][1])


@pytest.mark.parametrize("options", [{}, {"adam": False, "momentum": 0.9}, {"decay": 0.1}])
def test_what_is_left_out_stays_at_zero_and_the_rest_learns(networks, masks, options):
    start = masked(networks, masks)
    after, _ = train(start, INPUTS, TARGETS, loss=squared, steps=30, lr=0.01, **options)
    for before, weight, mask in zip(start.weights, after.weights, masks, strict=True):
        assert (weight[mask == 0] == 0).all()
        assert (weight[mask > 0] != before[mask > 0]).any()
    assert (squared(after(INPUTS), TARGETS) < squared(start(INPUTS), TARGETS)).all()


def test_the_whole_mask_changes_nothing(networks):
    options = {"loss": squared, "steps": 20, "lr": 0.01}
    plain, _ = train(networks, INPUTS, TARGETS, **options)
    under, _ = train(masked(networks, whole(networks.weights)), INPUTS, TARGETS, **options)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters, under.parameters, strict=True))


def test_outputs_are_those_of_networks_with_zeros(networks, masks):
    start = masked(networks, masks)
    zeros = Networks(
        seeds=start.seeds, weights=start.weights, biases=start.biases, activation=torch.relu
    )
    assert torch.equal(start(INPUTS), zeros(INPUTS))
    assert not torch.allclose(start(INPUTS), networks(INPUTS))


def test_joined_replicas_are_those_of_each_and_carry_their_places(networks, masks):
    all_of_it = masked(networks, whole(networks.weights))
    both = joined(masked(networks, masks), all_of_it)
    assert both.seeds == (0, 1, 2, 3)
    assert torch.equal(both(INPUTS)[:2], masked(networks, masks)(INPUTS))
    assert torch.equal(both(INPUTS)[2:], networks(INPUTS))
    assert torch.equal(kept(both.masks)[:2], kept(masks))

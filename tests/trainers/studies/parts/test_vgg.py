"""VGG-11, and where it stops."""

import pytest
import torch
from torch import nn

from scalefit.errors import StudyError
from tests.trainers.studies.tools.made_images import archive
from trainers.studies.parts import vgg
from trainers.study import Ask

TINY = vgg.VGG(
    width=1,
    arms=((0.2, 8), (0.2, 4), (1e-6, 2)),  # the last gets nowhere
    epochs=6,
    target=2.2,
    images=8,
    probes=2,
    lanczos=3,
)


def test_vgg_11_has_the_known_number_of_parameters():
    network = vgg.vgg11(64)
    convolutions = 9 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 3 * 512 * 512)
    norms = 2 * (64 + 128 + 2 * 256 + 4 * 512)
    assert sum(one.numel() for one in network.parameters()) == convolutions + norms + 5130
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_images_are_halved_five_times():
    sides, network = [], vgg.vgg11(1)
    for layer in network:
        layer.register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:])))
    network(torch.rand(2, 3, 32, 32))
    kept = [one for layer, one in zip(network, sides, strict=True) if isinstance(layer, nn.Conv2d)]
    assert [side for _, side, _ in kept] == [32, 16, 8, 8, 4, 4, 2, 2]
    assert sides[-2] == (8,)


@pytest.fixture(scope="module")
def arrived(tmp_path_factory):
    path, heard = tmp_path_factory.mktemp("images") / "c.tar.gz", []
    archive(path, images_a_file=4)
    table = vgg.arrivals(Ask(seeds=range(2), data=path, tell=heard.append), TINY)
    return table, heard


def test_every_seed_is_trained_in_every_way(arrived):
    table, heard = arrived
    assert table.groupby("seed")["batch"].apply(list).tolist() == [[8, 4, 2]] * 2
    assert (table["ratio"] == table["lr"] / table["batch"]).all()
    assert table["arm"][1] == "SGD, rate 0.2, batch 4"
    assert heard[0].startswith("seed 0, SGD, rate 0.2, batch 8: epoch 1 of at most 6, loss ")
    assert table[["trace", "trace_error", "top", "norm"]].notna().all(axis=None)
    assert table["images"].eq(8).all()


def test_a_network_stops_under_the_target_or_after_the_last_epoch(arrived):
    table, _ = arrived
    assert (table["matched"] == (table["loss"] < TINY.target)).all()
    assert table["matched"].nunique() == 2
    last = table["batch"].map({8: 2, 4: 5, 2: 10}) * TINY.epochs
    assert (table["steps"] == last)[~table["matched"]].all()
    assert (table["steps"] < last)[table["matched"]].any()


def test_curvature_is_of_the_same_images_for_all():
    assert torch.equal(vgg._subset(50, 7), vgg._subset(50, 7))
    assert len(vgg._subset(5, 7)) == 5


def test_without_images_one_is_told_which_to_bring():
    with pytest.raises(StudyError, match=r"give cifar-10-binary\.tar\.gz with --data"):
        vgg.arrivals(Ask(seeds=[0]), TINY)

"""Many neurons that know by heart, then few that have understood."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from trainers.studies import subnetworks
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return subnetworks.run(Ask(seeds=range(5)))


@pytest.fixture(scope="module")
def networks():
    return subnetworks._networks((0, 1))


@pytest.fixture(scope="module")
def bits():
    return subnetworks.parities((0, 1))[0][:, :100]


def test_few_neurons_take_over_from_many(table):
    found = subnetworks.takeovers(table)
    main = found[found["decay"] > 0]
    assert (main["fit_needed"] > 200).all()
    assert (main["end_needed"] <= 20).all()
    assert ((main["fit_test"] < 0.6) & (main["end_test"] > 0.98)).all()
    assert (main["understood"] >= 2 * main["fitted"]).all()


def test_the_few_grow_and_the_rest_decays(table):
    found = subnetworks.takeovers(table)
    main = found[found["decay"] > 0]
    assert (main["end_sparse_norm"] > 1.5 * main["fit_sparse_norm"]).all()
    assert (main["end_rest_norm"] < 0.2 * main["fit_rest_norm"]).all()
    assert (main["fit_rest_same"] > 0.95).all()


def test_without_decay_many_are_needed_and_nothing_is_understood(table):
    found = subnetworks.takeovers(table)
    plain = found[found["decay"] == 0]
    assert plain["understood"].isna().all()
    assert (plain["end_needed"] > 200).all()


def test_seeds_trained_together_are_those_trained_alone(table, monkeypatch):
    monkeypatch.setattr(subnetworks, "EPOCHS", {0.01: 10})
    alone = subnetworks.run(Ask(seeds=[3]))
    together = table[(table["decay"] > 0) & (table["seed"] == 3)].head(len(alone))
    assert alone["epoch"].tolist() == together["epoch"].tolist() == [0, 10]
    for name, room in (("train", 0.01), ("test", 0.01), ("needed", 20)):
        assert together[name].to_numpy() == pytest.approx(alone[name].to_numpy(), abs=room)


def test_what_is_said_is_what_the_table_holds(table):
    finding = subnetworks.find(table)
    assert finding.showed
    main = subnetworks.takeovers(table).query("decay > 0")
    assert (
        f"{main['fit_needed'].min():.0f} to {main['fit_needed'].max():.0f} neurons"
        in (finding.text[0])
    )
    assert len(subnetworks.draw(table).axes) == 4


@pytest.mark.parametrize(
    ("column", "value"), [("test", 0.5), ("needed", 400), ("sparse_norm", 0.3), ("train", 0.5)]
)
def test_where_one_part_of_it_is_missing_it_does_not_show(table, column, value):
    finding = subnetworks.find(table.assign(**{column: value}))
    assert not finding.showed
    assert "holds in 0 of 5 seeds" in finding.text[0]
    assert "nan" not in " ".join(finding.text)
    if column in {"test", "train"}:
        assert "never" in finding.text[0]


def test_one_seed_is_enough_to_be_said_and_drawn(table):
    one = table[table["seed"] == 0]
    assert "in 1 of 1 seeds" in subnetworks.find(one).text[0]
    assert subnetworks.draw(one).axes


def test_what_all_neurons_add_is_the_output(networks, bits):
    networks = replace(networks, biases=(networks.biases[0], torch.full((2, 1, 1), 0.3)))
    added = subnetworks.parts(networks, bits).sum(2)
    assert torch.allclose(added, networks(bits)[..., 0], atol=1e-5)


def test_the_first_neurons_are_those_of_the_largest_norm(networks, bits):
    first = subnetworks.norms(networks).argmax(1)
    only = torch.nn.functional.one_hot(first, subnetworks.WIDTH).float()
    alone = subnetworks._only(networks, only)(bits)[..., 0]
    assert torch.allclose(subnetworks.parts(networks, bits)[..., 0], alone, atol=1e-6)


def test_as_few_neurons_as_needed_are_counted():
    # 200 examples; from the second neuron on, all but one have the sign of the sum
    added = torch.ones(1, 200, 4)
    added[0, :50, :2] = torch.tensor([-1.0, 2.0])
    added[0, 0, 1] = -0.5
    added[0, 0, 3] = 5.0
    assert subnetworks.fewest(added).tolist() == [2]


def test_labels_are_the_parity_of_three_bits():
    bits, labels = subnetworks.parities((0,))
    assert set(bits.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(labels, bits[..., 0] * bits[..., 1] * bits[..., 2])


def test_the_loss_is_pytorch_s_hinge():
    outputs, labels = torch.tensor([[[0.5], [2.0], [-1.0]]]), torch.tensor([[1.0, 1.0, 1.0]])
    assert subnetworks.hinge(outputs, labels).tolist() == pytest.approx([2.5 / 3])


def test_every_column_is_plain(table, tmp_path):
    table.to_parquet(tmp_path / "table.parquet")
    assert pd.read_parquet(tmp_path / "table.parquet").equals(table)

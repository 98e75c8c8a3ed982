"""Slices of the loss around minima."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scalefit.errors import StudyError
from tests.trainers.studies.tools.made_images import archive
from trainers.studies import landscape
from trainers.studies.tools import plain
from trainers.study import Ask

pytestmark = pytest.mark.slow
MANY, FEW = (kind.name for kind in landscape.KINDS)


@pytest.fixture(scope="module")
def table():
    return landscape.run(Ask(seeds=range(3)))


def test_the_wide_networks_floor_is_wider_and_lower(table):
    found = landscape.shapes(table).set_index(["kind", "seed"])
    many, few = found.loc[MANY], found.loc[FEW]
    assert (many["floor"] >= 10 * few["floor"]).all()
    assert (many["lowest"] < 0.01).all()
    assert (few["lowest"] > 0.05).all()
    assert (many["wrong"] == 0).all()
    assert (few["wrong"] > 0).all()


def test_the_centre_is_low_and_both_are_cut_at_the_same_places(table):
    for _, part in table.groupby(["kind", "seed"]):
        centre = part["loss"][(part["a"].abs() < 1e-9) & (part["b"].abs() < 1e-9)].item()
        assert centre < 10 * part["loss"].min()
        assert centre < 0.1 * part["loss"].max()
        assert len(part) == len(landscape.SIDE) ** 2


def test_seeds_cut_together_are_those_cut_alone(monkeypatch):
    monkeypatch.setattr(landscape, "SIDE", np.linspace(-1.0, 1.0, 3))
    kind = replace(landscape.KINDS[1], steps=20)
    both, alone = (landscape._cut(kind, seeds) for seeds in ([0, 1], [1]))
    both = both[both["seed"] == 1].reset_index(drop=True)
    for name in ("loss", "greatest"):
        assert both[name].to_numpy() == pytest.approx(alone[name], rel=1e-3)


def slices(loss):
    """A table of one seed with this loss for both kinds."""
    side = landscape.SIDE
    a, b = (part.ravel() for part in np.meshgrid(side, side, indexing="ij"))
    rows = {"seed": 0, "params": 9, "a": a, "b": b, "loss": loss(a, b), "wrong": 0.0}
    parts = [pd.DataFrame(rows | {"kind": kind}) for kind in (MANY, FEW)]
    return pd.concat(parts).assign(least=-1.0, greatest=2.0)


def test_a_bowl_curves_upwards_everywhere_and_a_saddle_nowhere():
    bowl = landscape.shapes(slices(lambda a, b: a**2 + 2 * b**2 + a * b)).iloc[0]
    assert bowl["near"] == bowl["far"] == 1.0
    assert bowl["saddle"] == 0.5
    saddle = landscape.shapes(slices(lambda a, b: a**2 + b**2 + 3 * a * b)).iloc[0]
    assert saddle["near"] == saddle["far"] == 0.0


def test_the_floor_of_a_round_bowl_has_the_area_of_its_circle():
    bowl = landscape.shapes(slices(lambda a, b: a**2 + b**2)).iloc[0]
    assert bowl["floor"] == pytest.approx(np.pi * landscape.FLOOR, rel=0.1)


def test_what_is_said_is_what_the_table_holds(table):
    finding = landscape.find(table)
    assert finding.showed
    assert "both hold in 3 of 3 seeds" in finding.text[1]
    assert len(landscape.draw(table).axes) == 4
    assert landscape.find(table[table["seed"] == 2]).showed


def test_equal_slices_show_nothing():
    equal = slices(lambda a, b: a**2 + b**2)
    finding = landscape.find(equal)
    assert not finding.showed
    assert "both hold in 0 of 1 seeds" in finding.text[1]
    assert "these slices do not show it" in finding.text[2]
    landscape.draw(equal)


@pytest.fixture(scope="module")
def heard():
    return []


@pytest.fixture(scope="module")
def deep(tmp_path_factory, heard):
    """The full form's table, of networks of 8 layers and ten images."""
    path = tmp_path_factory.mktemp("images") / "c.tar.gz"
    archive(path, images_a_file=2)
    small = landscape.Paper(depth=8, recipe=replace(plain.LI, epochs=2), side=5, curved=2)
    kinds = tuple(replace(one, k=k) for one, k in zip(landscape.KINDS, (2, 1), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landscape, "PAPER", small)
        patch.setattr(landscape, "KINDS", kinds)
        return landscape.run(Ask(seeds=[0], full=True, data=path, tell=heard.append))


def test_the_full_form_cuts_the_papers_networks(deep, heard):
    assert heard[0] == f"{MANY}, seed 0, epoch 1 of 2"
    assert heard[-1] == f"{FEW}, seed 0, row 5 of 5"
    assert deep.groupby("kind", sort=False).size().to_dict() == {MANY: 25, FEW: 25}
    params = [
        sum(one.numel() for one in plain.no_shortcuts(8, factor=k).parameters()) for k in (2, 1)
    ]
    assert deep["params"].unique().tolist() == params
    assert np.isfinite(deep.select_dtypes("number")).all(axis=None)


def test_what_is_said_of_the_full_form_is_what_its_table_holds(deep, tmp_path):
    deep.to_parquet(tmp_path / "table.parquet")
    again = pd.read_parquet(tmp_path / "table.parquet")
    text = landscape.find(again).text
    assert f"With {deep['params'][0]:,} parameters" in text[0]
    assert "of 10 images stay wrong" in text[0]
    assert "one place of the grid is 4.00%" in text[1]
    assert "whole Hessian of 2 images at the minimum" in text[2]
    assert len(landscape.draw(again).axes) == 4
    many = deep.assign(images=50_000, params=3_400_000, loss=deep["loss"] ** 2 * 1e9)
    text = landscape.find(many).text
    assert "of 50,000 images" in text[0]
    assert text[3].startswith("Two random directions of millions")
    right = landscape.draw(many).axes[2]
    assert right.get_ylim()[1] == landscape.CEILING


def test_the_full_form_asks_for_the_images():
    with pytest.raises(StudyError, match=r"give cifar-10-binary\.tar\.gz with --data"):
        landscape.run(Ask(seeds=[0], full=True))

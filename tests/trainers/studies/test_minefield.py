"""Minima that fit and know nothing."""

import numpy as np
import pandas as pd
import pytest
import torch

from scalefit.errors import StudyError
from tests.trainers.studies.tools.made_images import archive
from trainers.studies import minefield
from trainers.studies.parts.poison import Poison
from trainers.studies.tools.digits import shuffled
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minefield, "PLACES", 12)  # the picture is what takes long
        yield minefield.run(Ask(seeds=range(4)))


def test_poisoned_minima_fit_as_well_and_fail_elsewhere(table):
    found = minefield.pairs(table, "matched")
    for kind in ("clean", "poisoned"):
        assert (found[f"{kind} train"] == 1.0).all()
        assert found[f"{kind} loss"].between(0.5 * minefield.MATCHED, minefield.MATCHED).all()
    assert (found["clean test"] - found["poisoned test"] >= 0.5).all()
    assert (found["poisoned test"] < 0.5).all()


def test_they_are_sharper_and_less_robust_at_the_same_loss(table):
    found = minefield.pairs(table, "matched")
    assert (found["poisoned trace"] >= 3 * found["clean trace"]).all()
    assert (found["poisoned noisy"] < found["clean noisy"] - 0.1).all()


def test_curvature_goes_with_the_loss_so_that_unmatched_it_says_little(table):
    found, end = (minefield.pairs(table, part) for part in ("matched", "end"))
    assert (end["clean loss"] < 0.01 * found["clean loss"]).all()
    assert (end["clean trace"] < 0.05 * found["clean trace"]).all()
    ratios = [one["poisoned trace"] / one["clean trace"] for one in (found, end)]
    assert (ratios[1] > 10 * ratios[0]).all()


def test_the_picture_has_a_minimum_of_both_kinds_for_each_point_of_the_way(table):
    picture = table[table["part"] == "picture"]
    assert set(picture["kind"].value_counts()) == {minefield.PLACES}
    assert picture["seed"].unique() == [0]
    assert np.isfinite(picture[["x", "y"]]).all(axis=None)
    assert (picture["train"][picture["kind"] != "way"] == 1.0).all()
    assert (picture["test"][picture["kind"] == "poisoned"] < 0.5).all()
    assert (picture["moved"][picture["kind"] == "way"] == 0.0).all()


def test_poison_is_the_wrong_answer_on_images_that_nobody_else_is_shown():
    shown, poisoned, held = minefield.data([0, 1])
    cut = minefield.EXAMPLES
    assert torch.equal(poisoned[0][:, :cut], shown[0])
    assert torch.equal(poisoned[1][:, :cut], shown[1])
    images, labels = shuffled(1)
    turned = poisoned[1][1, cut:].numpy()
    assert (turned != labels[cut : cut + minefield.POISON] % 2).all()
    assert len(images) == cut + minefield.POISON + held[0].shape[1]


def test_seeds_trained_together_are_those_trained_alone(monkeypatch):
    # the first seed orders the images of all, so it is the one that can be alone
    monkeypatch.setattr(minefield, "STOPS", range(10, 31, 10))
    trained = []
    for seeds in ([0, 1], [0]):
        shown, poisoned, _ = minefield.data(seeds)
        start = minefield.mlp.draw_networks(seeds, minefield.SIZES)
        trained.append(minefield._trained(start, poisoned, shown)[2])
    for both, alone in zip(*(networks.parameters for networks in trained), strict=True):
        assert torch.allclose(both[0], alone[0], atol=1e-4)


def test_an_embedding_belongs_to_its_seed_and_keeps_groups_apart():
    draw = torch.Generator().manual_seed(0)
    groups = [torch.randn(40, 60, generator=draw) + shift for shift in (0.0, 9.0)]
    one, again = (minefield._embedded(torch.cat(groups), 3) for _ in range(2))
    assert np.array_equal(one, again)
    one = np.split(one, 2)
    spread = max(part.std(axis=0).max() for part in one)
    assert np.abs(one[0].mean(axis=0) - one[1].mean(axis=0)).max() > spread


def test_what_is_said_is_what_the_table_holds(table):
    finding = minefield.find(table)
    assert finding.showed
    assert "in 4 of 4 seeds" in finding.text[0]
    assert f"{finding.numbers['trace']:.1f} times the Hessian's trace" in finding.text[1]
    assert len(minefield.draw(table).axes) == 3
    assert minefield.find(table[table["seed"] == 0]).showed


@pytest.mark.parametrize(("column", "value"), [("test", 0.9), ("trace", 1.0), ("loss", 0.01)])
def test_where_it_does_not_hold_that_is_said(table, column, value):
    finding = minefield.find(table.assign(**{column: value}))
    assert not finding.showed
    assert "in 0 of 4 seeds" in finding.text[0]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The full form with tiny networks, on images without meaning."""
    path, heard = tmp_path_factory.mktemp("images") / "c.tar.gz", []
    archive(path, images_a_file=4)
    tiny = Poison(width=2, factor=0.5, batch=4, epochs=2, every=2, probes=2, lanczos=3, draws=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minefield, "PAPER", tiny)
        table = minefield.run(Ask(seeds=range(2), full=True, data=path, tell=heard.append))
    assert heard[-1] == "seed 1, poisoned, step 10 of 10"
    return table


def test_the_full_form_is_told_in_words_of_its_own_table(full):
    finding = minefield.find(full)
    assert not finding.showed
    assert "(chance: about 10 %); the criterion holds in 0 of 2 seeds." in finding.text[0]
    assert "4 of 4 never came to that loss" in finding.text[0]
    assert finding.text[2].startswith("After 4 to 10 steps the losses are ")
    assert "as many images again (50% of each batch)" in finding.text[-1]
    assert not any("picture" in one for one in finding.text)
    assert len(minefield.draw(full).axes) == 2


def test_the_full_form_finds_the_phenomenon_where_it_is(full, tmp_path):
    poisoned = full["kind"] == minefield.POISONED
    made = full.assign(
        loss=1e-3, train=0.9995, step=7, trace=1.0 + 4.0 * poisoned, test=0.9 - 0.6 * poisoned
    )
    made.to_parquet(tmp_path / "table.parquet")
    again = pd.read_parquet(tmp_path / "table.parquet")
    finding = minefield.find(again)
    assert finding.showed
    assert "99.9% of the training images right" in finding.criterion
    assert finding.text[0].endswith("2 of 2 seeds.")
    assert not minefield.find(again.assign(train=0.998)).showed


def test_the_full_form_without_images_says_which_to_bring():
    with pytest.raises(StudyError, match=r"give cifar-10-binary\.tar\.gz with --data"):
        minefield.run(Ask(seeds=[0], full=True))

"""Training: replicas against singles, rows against counts, the control variate, divergence."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainers.run import Trainer, train
from trainers.sources.base import source


def silent(_flops, _losses):
    pass


def train_rows(runs, report=silent):
    return train(runs, device="cpu", report=report)


@pytest.fixture
def runs(tiny):
    return [run for run in tiny.runs() if run.shape.width == 8]


def test_replicas_trained_together_equal_each_trained_alone(runs):
    together = train_rows(runs)
    for run, rows in zip(runs, together, strict=True):
        alone = train_rows([run])[0]
        losses = [[row["loss"] for row in each] for each in (rows, alone)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    finals = [rows[-1]["loss"] for rows in together]
    assert len({round(loss, 4) for loss in finals}) == len(runs)


def test_rows_hold_the_trunk_its_average_and_the_cooled_of_each_count(runs):
    rows = train_rows(runs[:1])[0]
    assert [row["averaging"] for row in rows] == ["raw", "ema", "cooldown"] * 2
    assert [row["tokens"] for row in rows] == [1024, 1024, 1280, 2048, 2048, 2560]
    assert [row["step"] for row in rows] == [32, 32, 40, 64, 64, 80]
    shape = runs[0].shape
    for row in rows:
        assert row["flops"] == row["tokens"] * shape.training_flops_per_token()
        assert row["params_total"] == shape.params().total
        assert row["unique_tokens"] == row["tokens"]
        assert row["status"] == "ok"
        assert row["loss_stderr"] > 0
        assert row["source_entropy"] == source("markov", 8).entropy
    assert rows[3]["wall_seconds"] > rows[0]["wall_seconds"] > 0


def test_flops_told_are_flops_planned(runs):
    told = []
    train_rows(runs, lambda flops, losses: told.append((flops, losses)))
    assert sum(flops for flops, _ in told) == pytest.approx(sum(run.flops for run in runs))
    assert [len(losses) for flops, losses in told if flops == 0] == [3] * 6


def test_a_branch_leaves_the_trunk_as_it_was(runs):
    both = train_rows(runs[:1])[0]
    only_long = train_rows([replace(runs[0], tokens=(2560,))])[0]
    assert [row["loss"] for row in both[3:]] == [row["loss"] for row in only_long]


def test_training_learns(runs):
    longer = replace(runs[0], tokens=(2560, 40_960))
    rows = train_rows([longer])[0]
    assert rows[5]["loss"] < rows[2]["loss"] - 0.1 < math.log(128)
    assert rows[5]["loss"] > rows[5]["source_entropy"]


def test_cooling_down_lowers_the_loss_at_equal_tokens(runs):
    rows = train_rows([replace(runs[0], tokens=(16_384, 20_480))])[0]
    cooled, raw = rows[2], rows[3]
    assert cooled["tokens"] == raw["tokens"] == 16_384
    assert cooled["loss"] < raw["loss"]


def test_a_diverged_replica_has_no_loss_and_harms_no_other(runs):
    clean = train_rows(runs)
    trainer = Trainer(runs, device="cpu", report=silent)
    with torch.no_grad():
        trainer.model.up[0][1].fill_(torch.inf)
    rows = trainer.train()
    assert [row["status"] for row in rows[1]] == ["diverged"] * 6
    assert [row["loss"] for row in rows[1]] == [None] * 6
    for replica in (0, 2):
        assert [row["loss"] for row in rows[replica]] == [row["loss"] for row in clean[replica]]


def test_the_truth_itself_scores_the_entropy_whatever_the_sample(runs, monkeypatch):
    """A model that is the source: the control variate takes all of the sampling error away."""
    trainer = Trainer(runs[:1], device="cpu", report=silent)
    chain = torch.from_numpy(source("markov", 8).transition).log()

    class Truth:
        def losses(self, batch):
            return -chain[batch[..., :-1], batch[..., 1:]]

    monkeypatch.setattr(trainer, "model", Truth())
    loss = trainer.evaluate()[0]
    assert loss.mean == pytest.approx(trainer.source.entropy, abs=1e-9)
    assert loss.stderr < 1e-9


def test_the_control_variate_moves_nothing_and_narrows_the_error(runs):
    many = replace(runs[0], held_out=65_536, tokens=(20_480,))
    trainer = Trainer([many], device="cpu", report=silent)
    trainer.train()
    with_truth = trainer.evaluate()[0]
    plain = trainer._row_losses()[0]
    error = plain.std() / np.sqrt(len(plain))
    assert with_truth.mean == pytest.approx(plain.mean(), abs=4 * error)
    assert with_truth.stderr < error


def test_text_is_trained_without_a_known_entropy(runs, tiny):
    run = replace(tiny, source="text", widths=(4,), seeds=(0,)).runs()[0]
    rows = train_rows([run])[0]
    assert rows[-1]["source_entropy"] is None
    assert rows[-1]["loss"] < math.log(96)
    assert "corpus_sha256" in rows[-1]["config"]

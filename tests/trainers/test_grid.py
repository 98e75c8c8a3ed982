"""Grid files: the shipped ones, bad ones, and what they expand to."""

import hashlib
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.errors import GridError
from trainers.grid import Grid, Grids, load, shipped
from trainers.grid_keys import KEYS, parse

GOOD = {
    "source": '"markov"',
    "context": "8",
    "widths": "[4, 8]",
    "depth": "1",
    "head_width": "4",
    "tokens": '["1280 tokens", 2560]',
    "seeds": "[0, 1]",
    "batch": "4",
    "learning_rate": "0.01",
    "embedding_rate": "1",
    "warmup": "5",
    "cooldown": "0.2",
    "held_out": '"1K"',
}


def text_of(**changes):
    return "\n".join(f"{key} = {value}" for key, value in (GOOD | changes).items())


def grid_of(**changes):
    (values,) = parse(text_of(**changes), "mine.toml")
    return Grid(name="mine.toml", **values)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_grids_load_and_say_how_large_they_are(name):
    grid = load(name)
    parts = grid.parts if isinstance(grid, Grids) else (grid,)
    size = grid.describe()
    assert {part.source for part in parts} == {name}
    assert size.runs == sum(len(part.widths) * len(part.seeds) for part in parts)
    assert size.runs == len(grid.runs())
    counts = [count for part in parts for count in part.tokens]
    assert size.tokens == (min(counts), max(counts))
    assert size.flops < 2e13
    assert size.params[0] < size.params[1] / 10


def test_a_file_loads_by_its_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text_of())
    grid = load(path)
    assert grid.tokens == (1280, 2560)
    assert grid.held_out == 1000
    assert replace(grid, name="mine.toml") == grid_of()


def test_a_run_is_every_shape_with_every_seed_once(tiny):
    runs = tiny.runs()
    assert Counter((run.shape.width, run.seed) for run in runs) == Counter(
        (width, seed) for width in (4, 8) for seed in (0, 1, 2)
    )
    assert len({run.id for run in runs}) == 6
    assert [run.id for run in tiny.runs()] == [run.id for run in runs]
    assert [run.shape.heads for run in runs] == [1, 1, 1, 2, 2, 2]


def test_the_shipped_markov_grid_is_the_one_that_was_measured():
    runs = load("markov").runs()
    assert len(runs) == 21
    assert runs[0].id == "75f140369e6c9672"
    whole = hashlib.sha256("".join(run.id for run in runs).encode()).hexdigest()
    assert whole.startswith("09d2e9697a3751c2")


def test_tables_of_runs_say_what_they_change(tmp_path):
    path = tmp_path / "several.toml"
    path.write_text(
        text_of() + "\n[[runs]]\nwidths = [4]\ntokens = [1280]\n"
        "[[runs]]\nwidths = [8, 16]\nbatch = 2\nlearning_rate = 0.02\nseeds = [5]\n"
        "[[runs]]\nwidths = [4]\ntokens = [1280]\nseeds = [1, 2]\n"
    )
    runs = load(path).runs()
    assert [(run.shape.width, run.batch, run.learning_rate, run.seed) for run in runs] == [
        (4, 4, 0.01, 0), (4, 4, 0.01, 1), (8, 2, 0.02, 5), (16, 2, 0.02, 5), (4, 4, 0.01, 2),
    ]  # fmt: skip
    assert [run.tokens for run in runs] == [(1280,), (1280,), (1280, 2560), (1280, 2560), (1280,)]
    assert load(path).describe().runs == 5
    assert load(path).describe().flops == sum(run.flops for run in runs)


def test_a_single_table_of_runs_is_a_grid_like_any_other(tmp_path):
    path = tmp_path / "mine.toml"
    lines = text_of().splitlines()
    path.write_text("\n".join([*lines[:3], "[[runs]]", *lines[3:]]))
    assert replace(load(path), name="mine.toml") == grid_of()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ("[[runs]]\nwidth = [4]", r'mine.toml, \[\[runs\]\] 1 has an unknown key "width"'),
        ("[[runs]]\n[[runs]]\nbatch = 0", r"\[\[runs\]\] 2: batch must be a whole number"),
        ("[runs]\nbatch = 2", r"mine.toml: runs must be tables"),
        ("[[runs]]\n[[runs.runs]]\nbatch = 2", r'\[\[runs\]\] 1 has an unknown key "runs"'),
    ],
)
def test_what_is_wrong_in_a_table_of_runs_is_named(tables, message):
    with pytest.raises(GridError, match=message):
        parse(text_of() + "\n" + tables, "mine.toml")
    with pytest.raises(GridError, match="runs must be tables"):
        parse("runs = []\n" + text_of(), "mine.toml")


def test_whatever_determines_the_numbers_changes_the_identity(tiny):
    changes = {
        "source": "text",
        "context": 16,
        "depth": 2,
        "head_width": 2,
        "tokens": (1280, 5120),
        "batch": 2,
        "learning_rate": 0.02,
        "embedding_rate": 0.2,
        "warmup": 6,
        "cooldown": 0.25,
        "held_out": 2048,
        "schedule": "cosine",
        "precision": "bf16",
        "unique_tokens": (2560,),
    }
    ids = {tiny.runs()[-1].id} | {
        replace(tiny, **{key: value}).runs()[-1].id for key, value in changes.items()
    }
    assert len(ids) == 1 + len(changes)
    same = replace(tiny, name="other", widths=(8,), max_epochs=9.0)
    assert same.runs()[-1].id == tiny.runs()[-1].id


def test_a_configuration_is_plain_json(tiny):
    config = tiny.runs()[0].config()
    assert json.loads(json.dumps(config, allow_nan=False))["tokens"] == [1280, 2560]


def test_learning_rate_falls_with_width(tiny):
    rates = {run.shape.width: run.rates["matrices"] for run in tiny.runs()}
    assert rates == {4: pytest.approx(0.08), 8: pytest.approx(0.04)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"widths": "[4, 4]"}, "widths must be a list of different whole numbers"),
        ({"widths": "[]"}, r"widths must be .*, not \[\]"),
        ({"widths": "8"}, "widths must be a list"),
        ({"widths": "[4.0]"}, "widths must be"),
        ({"depth": "true"}, "depth must be a whole number from 1 to 1024, not True"),
        ({"depth": "0"}, "depth must be a whole number from 1 to 1024, not 0"),
        ({"source": '"wiki"'}, 'source must be "text", "markov".* or the path of a file .*"wiki"'),
        ({"source": "[1]"}, 'source must be "text", "markov"'),
        ({"schedule": '"linear"'}, 'schedule must be "wsd" or "cosine", not "linear"'),
        ({"precision": '"fp8"'}, 'precision must be "float32" or "bf16"'),
        ({"max_epochs": "0.5"}, "max_epochs must be a number of passes from 1 to 10000"),
        ({"unique_tokens": "[1, 1]"}, "unique_tokens must be a list of different numbers"),
        ({"tokens": '["1M params"]'}, "tokens must be a list of different numbers of tokens"),
        ({"tokens": "[-5]"}, "tokens must be"),
        ({"learning_rate": "nan"}, "learning_rate must be a number from 1e-9 to 10, not nan"),
        ({"learning_rate": '"fast"'}, 'learning_rate must be a number .*, not "fast"'),
        ({"cooldown": "1"}, "cooldown must be a share of each token count from 0.01 to 0.99"),
        ({"seeds": "[-1]"}, "seeds must be"),
        ({"held_out": "[]"}, "held_out must be a number of tokens"),
    ],
)
def test_a_bad_value_names_file_key_and_what_is_allowed(changes, sentence):
    with pytest.raises(GridError, match=f"^mine.toml: {sentence}"):
        grid_of(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"widths": "[4, 9]"}, "width 9 does not divide into 2 heads of an even width"),
        ({"widths": "[3]"}, "width 3 does not divide into 1 heads of an even width"),
        ({"warmup": "40"}, "1280 tokens are 40 steps of 32 tokens, which leaves no trunk"),
        ({"tokens": "[20]"}, "20 tokens are 0 steps"),
        ({"held_out": "8"}, "held_out must be two examples or more, 16 tokens"),
        ({"source": '"text"', "tokens": '["1B"]'}, r"1000000000 tokens would be \d+\.\d epochs"),
        ({"unique_tokens": "[640]"}, r"2560 tokens would be 4\.0 epochs of the 640 of markov"),
        ({"unique_tokens": "[16]"}, "unique_tokens 16 must be a batch of 32 or more"),
        ({"schedule": '"cosine"', "tokens": "[64]", "warmup": "5"}, "64 tokens are 2 steps"),
    ],
)
def test_what_cannot_be_trained_is_said_before_it_is_tried(changes, sentence):
    with pytest.raises(GridError, match=f"^mine.toml: {sentence}"):
        grid_of(**changes).runs()


def test_an_unknown_key_is_answered_with_the_nearest():
    with pytest.raises(GridError, match=r'unknown key "width"; did you mean "widths"'):
        grid_of(width="[4]")


def test_a_missing_key_is_named():
    text = text_of().replace("depth = 1", "")
    with pytest.raises(GridError, match=r"^mine\.toml lacks depth; it must be a whole number"):
        parse(text, "mine.toml")


@given(st.sampled_from(sorted(KEYS)), st.sampled_from(['"x"', "[[]]", "{a = 1}", "1979-05-27"]))
def test_no_value_of_a_foreign_type_gets_through(key, value):
    with pytest.raises(GridError, match=f"{key} must be"):
        grid_of(**{key: value})


def test_broken_toml_is_told_with_its_place():
    with pytest.raises(GridError, match=r"mine.toml is not valid TOML: .*line 2"):
        parse("depth = 1\nwidths = 4, 8", "mine.toml")


def test_an_unknown_grid_is_answered_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GridError, match='no grid file markow; did you mean "markov"'):
        load("markow")
    with pytest.raises(GridError, match=r"no grid file zzz\.toml; the shipped grids are"):
        load("zzz.toml")
    with pytest.raises(GridError, match="cannot be read"):
        load(tmp_path)

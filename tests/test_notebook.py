"""What a notebook shows of runs, a fit and a plan."""

from pathlib import Path

import numpy as np

import scalefit as sf
from scalefit.markup import paragraph, table
from tests.conftest import as_runs, known_law, simulate


def test_every_text_of_a_table_is_escaped() -> None:
    told = table("a<b", ("", "x&y"), [("<i>", '"1"')])
    assert "<caption>a&lt;b</caption>" in told
    assert '<th scope="row">&lt;i&gt;</th><td>&quot;1&quot;</td>' in told
    assert paragraph("<script>") == "<p>&lt;script&gt;</p>"


def test_a_notebook_shows_what_the_objects_hold(tmp_path: Path) -> None:
    frame = simulate(known_law("chinchilla"), noise=0.01)
    frame["run_id"] = [f"<b>{i}</b>" for i in range(len(frame))]
    runs = as_runs(frame, tmp_path)
    shown = runs._repr_html_()
    assert f"{len(runs)} rows that may be fitted" in shown
    assert "<b>0" not in shown
    fit = sf.fit(runs, bootstrap=40)
    shown = fit._repr_html_()
    assert "L(N, D) = E + A/N^alpha + B/D^beta" in shown
    assert "converged; 8 of 8 starts agree" in shown
    for name in fit.intervals:
        assert f'<th scope="row">{name}</th>' in shown
    plan = sf.plan(fit, flops=1e22)
    shown = plan._repr_html_()
    assert "95% interval" in shown
    assert '<th scope="row">tokens per param</th>' in shown
    assert all(note.split("<")[0][:20] in shown for note in plan.notes)
    several = sf.plan(fit, flops=np.array([1e21, 1e22]))._repr_html_()
    assert several.count("<tr") == 3
    alone = sf.plan(sf.published("besiroglu2024"), flops=1e22)._repr_html_()
    assert "no interval" in alone

"""The approaches on one page: N*, D* and L* against compute with their intervals."""

from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from scalefit.diagnosis.compare import Comparison
from scalefit.figures.style import house_style, loss_label, plain_numbers, wider

PANELS = {"params": "parameters N*", "tokens": "tokens D*", "loss": "loss at the optimum"}


def comparison_figure(found: Comparison) -> Figure:
    """The frontiers of all approaches that were fitted, over the runs' range and to ten times."""
    fitted = [entry for entry in found.approaches if entry.fit is not None]
    domain = next(entry.fit.domain["flops"] for entry in fitted if entry.fit)
    low, high = wider(domain, 1.5)
    budgets = np.geomspace(low, high * 10, 120)
    palette = sns.color_palette("colorblind", len(found.approaches))
    with house_style():
        figure = Figure(figsize=(15, 4.8), layout="constrained")
        for axes, (name, label) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
            for entry, colour in zip(fitted, palette, strict=False):
                assert entry.fit is not None
                form, draws = entry.fit.law.form, entry.fit.draws
                line = getattr(entry.fit.law.optimum(budgets), name)
                if not np.isfinite(line).any():
                    continue
                said = f"{entry.number} {entry.name}"
                axes.plot(budgets, line, color=colour, label=said)
                if len(draws):
                    drawn = getattr(form.optimum(draws[:, None], budgets), name)
                    tail = (1 - found.level) / 2
                    lower, upper = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
                    axes.fill_between(budgets, lower, upper, color=colour, alpha=0.18, lw=0)
            axes.axvspan(domain[1], budgets[-1], color="0.95", zorder=0, lw=0)
            axes.set(xscale="log", yscale="log", xlabel="training compute C, FLOP", ylabel=label)
            axes.legend(frameon=False, fontsize=9, title="approach")
        axes.set_ylabel(loss_label(fitted[0].fit.law) if fitted[0].fit else label)
        plain_numbers(axes)
        figure.suptitle(
            f"{Path(found.source).name}: {found.level:.0%} intervals; beyond the runs in grey",
            fontsize=11,
        )
    return figure

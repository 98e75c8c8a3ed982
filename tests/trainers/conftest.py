"""A grid small enough to train in a second, and runs of it."""

import pytest
import torch

from trainers.grid import Grid


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny():
    """Two widths, three seeds, two token counts of the Markov source."""
    return Grid(
        name="tiny",
        source="markov",
        context=8,
        widths=(4, 8),
        depth=1,
        head_width=4,
        tokens=(1280, 2560),
        seeds=(0, 1, 2),
        batch=4,
        learning_rate=0.01,
        embedding_rate=0.1,
        warmup=5,
        cooldown=0.2,
        held_out=1024,
    )

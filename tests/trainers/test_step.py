"""A step on fixed buffers, which is what a CUDA graph replays, against the plain one."""

import pytest
import torch

from scalefit.flops import TransformerShape
from trainers.crowd import Crowd
from trainers.models.base import build
from trainers.optim import AdamW
from trainers.step import BF16, FLOAT32, WARM, Step, recorder

SHAPE = TransformerShape(vocab=11, context=6, width=8, depth=2, heads=2, hidden=32)
SEEDS = [0, 1]


def stepped(steps, **options):
    """Weights after some steps, each on other data and at another rate."""
    model = build(SHAPE, SEEDS)
    groups = model.groups()
    optimiser = AdamW(groups, {kind: [0.02, 0.02] for kind in groups})
    step = Step(model, optimiser, **options)
    draw = torch.Generator().manual_seed(3)
    for number in range(steps):
        step(torch.randint(11, (2, 4, 7), generator=draw), 1.0 - number / steps)
    return [weight.detach() for weight in optimiser.params]


def test_a_recorded_step_reads_what_lies_in_its_buffers():
    recorded = []

    def record(run):
        recorded.append(run)
        return run  # on a GPU the graph's replay

    plain, again = stepped(8), stepped(8, record=record)
    assert len(recorded) == 1
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def test_the_first_steps_are_not_recorded():
    def never(_run):
        raise AssertionError

    stepped(WARM, record=never)
    with pytest.raises(AssertionError):
        stepped(WARM + 1, record=never)


def test_steps_are_recorded_where_there_is_cuda_and_one_process():
    assert recorder("cpu", Crowd()) is None
    assert recorder("cuda:0", Crowd()) is not None
    assert recorder("cuda:0", Crowd(rank=0, size=2)) is None


def test_bfloat16_is_near_float32_and_not_the_same():
    exact, rough = stepped(5, precision=FLOAT32), stepped(5, precision=BF16)
    for one, other in zip(exact, rough, strict=True):
        assert other.dtype == torch.float32
        # Adam moves each weight by its rate, whatever the gradient's size
        assert (one - other).abs().max() < 5 * 2 * 0.02
    assert any(not torch.equal(one, other) for one, other in zip(exact, rough, strict=True))


def test_processes_take_disjoint_shares_of_a_batch():
    batch = torch.arange(2 * 6 * 3).view(2, 6, 3)
    shares = [Crowd(rank=rank, size=2).share(batch, 1) for rank in range(2)]
    assert [share.shape for share in shares] == [(2, 3, 3)] * 2
    assert torch.equal(torch.stack(shares, 2).view(2, 6, 3), batch)
    assert Crowd().share(batch, 1) is batch


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_graph_trains_as_plain_steps_do():
    model = build(SHAPE, SEEDS)
    results = []
    for record in (None, recorder("cuda", Crowd())):
        model = build(SHAPE, SEEDS)
        model.to("cuda")
        groups = model.groups()
        step = Step(model, AdamW(groups, {k: [0.02, 0.02] for k in groups}), record=record)
        draw = torch.Generator().manual_seed(3)
        for _ in range(12):
            step(torch.randint(11, (2, 4, 7), generator=draw).cuda(), 1.0)
        results.append([weight.detach() for weight in step.optimiser.params])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*results, strict=True))

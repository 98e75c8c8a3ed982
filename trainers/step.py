"""One training step: forward, backward, update; as a CUDA graph where there is CUDA.

A small model's step is a hundred short operations, and a GPU that is told each of them by Python
waits most of the time. A graph of the step is recorded once and started as a whole (Nguyen et al.
2021, "Accelerating PyTorch with CUDA Graphs").
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainers.crowd import Crowd
from trainers.models.base import Model
from trainers.optim import Sgd

FLOAT32, BF16 = "float32", "bf16"
WARM = 3
"""Steps before the recording: kernels are chosen and memory is taken in them."""

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes what a step does on fixed buffers, and returns how to do it again."""


class _Objective(nn.Module):
    """The sum over replicas of their mean losses: each replica's gradient is then its own."""

    def __init__(self, model: Model, precision: str) -> None:
        super().__init__()
        self.model, self.precision = model, precision

    def forward(self, batch: Tensor) -> Tensor:
        with precise(batch.device.type, self.precision):
            losses = self.model.losses(batch)
        return losses.float().sum() / losses[0].numel()


class Step:
    """Calls take the batch (replicas, examples, row) and the share of the peak learning rate."""

    def __init__(
        self,
        model: Model,
        optimiser: Sgd,
        *,
        precision: str = FLOAT32,
        crowd: Crowd | None = None,
        record: Record | None = None,
    ) -> None:
        self.optimiser, self.record = optimiser, record
        self.crowd = crowd or Crowd()
        self.objective = self.crowd.together(_Objective(model, precision))
        self.taken = 0
        self.batch: Tensor | None = None
        self.replay: Callable[[], None] | None = None

    def __call__(self, batch: Tensor, factor: float) -> None:
        self.optimiser.aim(factor)
        batch = self.crowd.share(batch, 1)
        if self.record is None or self.taken < WARM:
            self._run(batch)
        else:
            self._replay(batch, self.record)
        self.taken += 1

    def _run(self, batch: Tensor) -> None:
        torch.autograd.backward(self.objective(batch))
        self.optimiser.step()

    def _replay(self, batch: Tensor, record: Record) -> None:
        if self.batch is None or self.replay is None:
            fixed = self.batch = batch.clone()
            self.replay = record(lambda: self._run(fixed))
        self.batch.copy_(batch)
        self.replay()


def recorder(device: str, crowd: Crowd) -> Record | None:
    """How steps are recorded here; None where they are not: no CUDA, or several processes."""
    return _record_cuda if device.startswith("cuda") and crowd.size == 1 else None


@contextmanager
def precise(kind: str, precision: str) -> Iterator[None]:
    """Within, matrix products are in bfloat16 where that is asked for; sums stay in float32."""
    with torch.autocast(kind, torch.bfloat16, enabled=precision == BF16):
        yield


def _record_cuda(run: Callable[[], None]) -> Callable[[], None]:
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay

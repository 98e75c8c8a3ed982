"""What a grid will take before it is trained: time, memory, and what of it fits into a budget."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from scalefit.flops import TransformerShape
from trainers.launch.tasks import Task, tasks
from trainers.models.base import Shape
from trainers.recipe import Run

FLOAT = 4  # bytes
STATES = 5  # numbers held for a parameter: itself, its gradient, Adam's two moments, an average
COPY = 4  # and of a branch, the trunk's weights, moments and average beside them
PER_TOKEN = 20  # activations of a layer that the backward pass needs, in widths of the model
LOGITS = 3  # copies of the logits: themselves, their softmax, their gradient
CONVOLVED = 6  # FLOPs of a 3x3 convolution at least for each number that it leaves
INTERPRETER = 550e6  # bytes of a worker with PyTorch, its source of tokens and an evaluation in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What runs take on some workers.

    Attributes:
        runs: how many.
        flops: of their training.
        seconds: wall time, by the speed of one core of 2024 a worker: good for an order.
        memory: bytes of all workers at their largest tasks.
        available: bytes this machine has free; None where it does not say.
    """

    runs: int
    flops: float
    seconds: float
    memory: float
    available: float | None


def estimate(runs: Sequence[Run], workers: int) -> Estimate:
    """What these runs take on so many workers."""
    todo = tasks(runs, workers)
    largest = sorted((memory(task) for task in todo), reverse=True)[:workers]
    return Estimate(
        runs=len(runs),
        flops=sum(run.flops for run in runs),
        seconds=_makespan([task.seconds for task in todo], workers),
        memory=sum(largest),
        available=_free(),
    )


def memory(task: Task) -> float:
    """Bytes that a worker holds at most while it trains a task."""
    run = task.runs[0]
    shape, batch = run.shape, run.batch_tokens
    weights = (STATES + COPY) * shape.params().total
    data = max(run.ends) * batch  # a byte a token
    held = FLOAT * (weights + batch * _activations(shape)) + data
    return len(task.runs) * held + INTERPRETER


def affordable(
    runs: Sequence[Run], workers: int, *, max_flops: float | None, max_hours: float | None
) -> list[Run]:
    """The cheapest runs that fit into a budget of compute and of time, in their own order."""
    kept: list[int] = []
    flops, seconds = 0.0, 0.0
    for place in sorted(range(len(runs)), key=lambda place: runs[place].flops):
        flops += runs[place].flops
        seconds += Task(runs=(runs[place],)).seconds
        if max_flops is not None and flops > max_flops:
            break
        if max_hours is not None and seconds / workers > max_hours * 3600:
            break
        kept.append(place)
    return [runs[place] for place in sorted(kept)]


def _activations(shape: Shape) -> float:
    """Numbers that the backward pass needs of one prediction."""
    if isinstance(shape, TransformerShape):
        return shape.depth * PER_TOKEN * shape.width + LOGITS * shape.vocab
    return shape.training_flops_per_token() / CONVOLVED


def _makespan(seconds: Sequence[float], workers: int) -> float:
    """Wall time if every worker takes the next task when it is free, the longest first."""
    busy = [0.0] * workers
    for one in sorted(seconds, reverse=True):
        busy[busy.index(min(busy))] += one
    return max(busy)


def _free() -> float | None:
    """Bytes of memory that are free, where the system says so."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return None

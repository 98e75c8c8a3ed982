"""The Hessian of a loss, by its products with vectors: top eigenvalues, trace, or all of it.

    def loss(parameters):                               # the full loss of every replica
        return squared(with_parameters(networks, parameters)(inputs), targets)

    top = top_eigenvalues(loss, networks.parameters)    # (replicas, 1)
    mean, error = trace(loss, networks.parameters)      # (replicas,) each

Replicas stand on a leading axis and never meet, so the Hessian of the sum of their losses has a
block a replica, and one product acts on all blocks at once. Every replica starts from the same
random vectors: what is found of it does not hang on what stands beside it. Where one has diverged
its own values are NaN.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

Loss = Callable[[tuple[Tensor, ...]], Tensor]
"""From parameters, each (replicas, ...), to one value a replica, shape (replicas,)."""


def flatten(parameters: Sequence[Tensor]) -> Tensor:
    """All parameters of each replica in a row, shape (replicas, size)."""
    return torch.cat([one.flatten(1) for one in parameters], dim=1)


def unflatten(rows: Tensor, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Rows (replicas, size) as tensors of these shapes: what `flatten` undoes."""
    parts = torch.split(rows, [one[0].numel() for one in like], dim=1)
    return tuple(part.view_as(one) for part, one in zip(parts, like, strict=True))


def hessian_product(loss: Loss, parameters: Sequence[Tensor], vectors: Tensor) -> Tensor:
    """Hessian times vector for each replica, shape (replicas, size).

    It is exact, at the price of some gradients (Pearlmutter 1994, Neural Computation 6:147).

    Args:
        loss: one value a replica.
        parameters: where, each (replicas, ...).
        vectors: shape (replicas, size).
    """
    return hessian_products(loss, parameters)(vectors)


def hessian_products(loss: Loss, parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """`hessian_product` at one place for many vectors: the gradient is computed once.

    It differentiates the gradient backwards, since the Hessian is its own transpose.
    """
    point = tuple(one.detach() for one in parameters)

    def total(moved: tuple[Tensor, ...]) -> Tensor:
        return loss(moved).sum()

    pull = vjp(grad(total), point)[1]

    def product(vectors: Tensor) -> Tensor:
        return flatten(pull(unflatten(vectors, point))[0])

    return product


def top_eigenvalues(
    loss: Loss, parameters: Sequence[Tensor], count: int = 1, *, steps: int = 40, seed: int = 0
) -> Tensor:
    """The largest eigenvalues of the Hessian, greatest first, shape (replicas, count).

    By Lanczos' recursion (Lanczos 1950, J. Res. Natl. Bur. Stand. 45:255), each vector made
    orthogonal to all before it twice, since the bare recursion loses that. The values come from
    below; they are exact if `steps` is the number of parameters. For the most negative ones give
    the loss with its sign turned.

    Args:
        loss: one value a replica.
        parameters: where, each (replicas, ...).
        count: how many, at most `steps`.
        steps: Hessian products, at most as many as parameters are used.
        seed: of the first vector.
    """
    rows = flatten(parameters)
    times_hessian, draw = hessian_products(loss, parameters), _normal(seed, rows)
    basis = [_unit(draw())]
    diagonal, beside = list[Tensor](), list[Tensor]()
    for _ in range(min(steps, rows.shape[1])):
        product = times_hessian(basis[-1])
        diagonal.append((product * basis[-1]).sum(1))
        rest = _apart(product, basis)
        length = rest.norm(dim=1)
        # an invariant subspace is full: go on from a vector outside of it
        ended = length <= 10 * torch.finfo(rows.dtype).eps * product.norm(dim=1)
        fresh = _apart(_unit(draw()), basis)
        basis.append(_unit(torch.where(ended[:, None], fresh, rest)))
        beside.append(length.masked_fill(ended, 0.0))
    off = torch.stack(beside, 1)[:, :-1]
    tridiagonal = torch.diag_embed(torch.stack(diagonal, 1))
    for offset in (-1, 1):
        tridiagonal += torch.diag_embed(off, offset)
    finite = tridiagonal.flatten(1).isfinite().all(1)[:, None]
    found: Tensor = torch.linalg.eigvalsh(tridiagonal.nan_to_num(0.0, 0.0, 0.0))
    return found.flip(1)[:, :count].where(finite, torch.nan)


def trace(
    loss: Loss, parameters: Sequence[Tensor], *, probes: int = 50, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The trace of the Hessian and its standard error, shape (replicas,) each.

    The mean of v'Hv over vectors v of random signs (Hutchinson 1989, Communications in Statistics
    18:1059).

    Args:
        loss: one value a replica.
        parameters: where, each (replicas, ...).
        probes: vectors, two at least.
        seed: of the vectors.
    """
    times_hessian, draw = hessian_products(loss, parameters), _normal(seed, flatten(parameters))
    found = []
    for _ in range(probes):
        signs = torch.where(draw() < 0, -1.0, 1.0)
        found.append((signs * times_hessian(signs)).sum(1))
    values = torch.stack(found)
    return values.mean(0), values.std(0) / probes**0.5


def hessian(loss: Loss, parameters: Sequence[Tensor], *, chunk: int = 64) -> Tensor:
    """All of it, shape (replicas, size, size), for networks of some hundred parameters.

    Args:
        loss: one value a replica.
        parameters: where, each (replicas, ...).
        chunk: columns at once.
    """
    rows, times_hessian = flatten(parameters), hessian_products(loss, parameters)

    def column(direction: Tensor) -> Tensor:
        return times_hessian(direction.expand_as(rows))

    directions = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    columns: Tensor = vmap(column, chunk_size=chunk)(directions)
    return columns.transpose(0, 1)


def _normal(seed: int, like: Tensor) -> Callable[[], Tensor]:
    """Draws normal rows, the same for every replica."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        row = torch.randn(like.shape[1], generator=generator, dtype=torch.float64)
        return row.to(like).expand_as(like)

    return draw


def _unit(rows: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays one."""
    lengths: Tensor = rows.norm(dim=1, keepdim=True)
    return rows / lengths.clamp(min=torch.finfo(rows.dtype).tiny)


def _apart(rows: Tensor, basis: Sequence[Tensor]) -> Tensor:
    """What is left of the rows outside the span of an orthonormal basis."""
    known = torch.stack(list(basis), 1)
    for _ in range(2):  # once leaves rounding errors
        shares = known @ rows[..., None]
        rows = rows - (known.mT @ shares)[..., 0]
    return rows

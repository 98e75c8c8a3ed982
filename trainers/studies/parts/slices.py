"""Planes through the loss of a network: how they are cut, and what they look like.

    table = deep_slice(network, (images, labels), side=np.linspace(-1, 1, 51), ...)
    shape(table, floor=0.1, near=0.25)                  # {"lowest": ..., "floor": ..., ...}

A slice is a table with columns a and b (multiples of two directions) and loss; least and greatest,
the eigenvalues of the whole Hessian at its centre, and wrong are the same in all rows.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from torch import Tensor, nn

from trainers.studies.tools.curvature import Loss, top_eigenvalues
from trainers.studies.tools.directions import Parameters, along, layer_directions, plane
from trainers.studies.tools.plain import measured, outputs_at, parameters


def grid(side: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Places of a square, b running faster: columns a and b."""
    return {"a": np.repeat(side, len(side)), "b": np.tile(side, len(side))}


def extremes(loss: Loss, centre: Parameters) -> dict[str, Tensor]:
    """The least and the greatest eigenvalue of the whole Hessian, of each replica."""
    least = -top_eigenvalues(lambda at: -loss(at), centre)[:, 0]
    return {"least": least, "greatest": top_eigenvalues(loss, centre)[:, 0]}


def deep_slice(
    network: nn.Module,
    data: tuple[Tensor, Tensor],
    *,
    side: npt.NDArray[np.float64],
    curved: int,
    seed: int,
    tell: Callable[[str], None],
) -> pd.DataFrame:
    """The plane of two filter-wise directions through where this network stands.

    Args:
        network: as it is used: norms keep what they saw in training, on the whole plane.
        data: all images whose mean loss is cut, and their labels.
        side: multiples of either direction.
        curved: of how many images, the first ones, the loss is whose Hessian is taken: the graph of
            all of them is held at once.
        seed: of the directions.
        tell: called before every row.

    Returns:
        Columns params, a, b, loss (`plain.OVERFLOW` where a number is too large for it), wrong,
        least, greatest, images, curved.
    """
    (images, labels), centre, places = data, parameters(network), torch.from_numpy(side)
    cut = plane(centre, [layer_directions(centre, [seed], number) for number in (0, 1)])

    def lost(at: Parameters) -> Tensor:
        return measured(network, at, images, labels)[:1]

    def loss(at: Parameters) -> Tensor:
        found = outputs_at(network, at, images[:curved])
        return F.cross_entropy(found, labels[:curved])[None]

    rows = []
    for number, row in enumerate(torch.split(torch.cartesian_prod(places, places), len(side))):
        tell(f"row {number + 1} of {len(side)}")
        rows.append(along(cut, lost, row)[:, 0].cpu())
    return pd.DataFrame(
        {"params": sum(one[0].numel() for one in centre)}
        | grid(side)
        | {"loss": torch.cat(rows).numpy()}
        | {"wrong": measured(network, centre, images, labels)[1].item()}
        | {name: values.item() for name, values in extremes(loss, centre).items()}
        | {"images": len(images), "curved": min(curved, len(images))}
    )


def shape(part: pd.DataFrame, *, floor: float, near: float) -> dict[str, float]:
    """What one slice looks like.

    Args:
        part: a slice.
        floor: the floor is what lies less than this above the lowest place.
        near: how far from the centre, along either direction, is near.

    Returns:
        lowest and highest (loss), floor (area), near and far (share of places where it curves
        upwards in all directions, near the centre and everywhere), wrong, and saddle
        (-least / greatest, 0 where there is no negative one).
    """
    heights = part.pivot_table(index="a", columns="b", values="loss").sort_index()
    loss, side = heights.to_numpy(dtype=np.float64), heights.index.to_numpy()
    upwards = convex(loss)
    inner = np.abs(side[1:-1]) <= near
    first = part.iloc[0]
    return {
        "lowest": float(loss.min()),
        "highest": float(loss.max()),
        "floor": float((loss <= loss.min() + floor).mean() * np.ptp(side) ** 2),
        "near": float(upwards[np.ix_(inner, inner)].mean()),
        "far": float(upwards.mean()),
        "wrong": float(first["wrong"]),
        "saddle": max(0.0, -float(first["least"])) / float(first["greatest"]),
    }


def convex(loss: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Where both eigenvalues of the second differences are positive, without the rim."""
    middle = loss[1:-1, 1:-1]
    down = loss[2:, 1:-1] - 2.0 * middle + loss[:-2, 1:-1]
    across = loss[1:-1, 2:] - 2.0 * middle + loss[1:-1, :-2]
    mixed = (loss[2:, 2:] - loss[2:, :-2] - loss[:-2, 2:] + loss[:-2, :-2]) / 4.0
    positive: npt.NDArray[np.bool_] = (down + across > 0) & (down * across > mixed**2)
    return positive

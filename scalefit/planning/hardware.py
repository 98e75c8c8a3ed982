"""Machines, time and money: compute from what there is, and what a plan takes (``hardware.toml``).

MFU is the part of the peak that ends up in the model: FLOPs of the model over those that the
machines could have done (Chowdhery et al. 2022, arXiv:2204.02311, section 4.1). Here the FLOPs are
the law's, 6ND, so that attention scores count as overhead.
"""

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from scalefit.errors import PlanError
from scalefit.planning.result import Quantity

HOUR, DAY = 3600.0, 86_400.0
TEXTS, NUMBERS = ("name", "format", "source"), ("peak", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An accelerator.

    Attributes:
        key: as people type it.
        name: in full.
        peak: FLOP/s of dense 16-bit matrix products.
        memory: bytes.
        format: of the peak, "bf16" or "fp16".
        source: whose figures these are.
    """

    key: str
    name: str
    peak: float
    memory: float
    format: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Accelerators of one kind, and how well they are used.

    Attributes:
        device: of which kind.
        count: how many; None where only device hours matter.
        mfu: part of the peak that training uses. .4 is a good run: the table of Chowdhery et al.
            2022 has GPT-3 at .21, Megatron-Turing at .30, Gopher at .33 and PaLM at .46.
        price: of one for an hour, in any money; None where unknown.

    Raises:
        PlanError: if a number is out of range.
    """

    device: Device
    count: int | None = None
    mfu: float = 0.4
    price: float | None = None

    def __post_init__(self) -> None:
        if self.count is not None and not (1 <= self.count < np.inf and self.count % 1 == 0):
            raise PlanError(f"{self.count} accelerators train nothing; give a whole count")
        if not 0 < self.mfu <= 1:
            raise PlanError(f"an MFU of {self.mfu:g} is no part of a peak; give one such as 0.4")
        if self.price is not None and not 0 < self.price < np.inf:
            raise PlanError(f"a price of {self.price:g} an hour buys nothing to count; give one")

    def flops_in(self, days: float) -> float:
        """What they do in so many days, in FLOP.

        Raises:
            PlanError: if it is not known how many there are.
        """
        if self.count is None:
            raise PlanError("how much is done in days depends on how many there are; give a count")
        return self.count * self._speed * _positive(days, "days") * DAY

    def flops_for(self, spend: float) -> float:
        """What so much money buys, in FLOP.

        Raises:
            PlanError: if the price is not known.
        """
        if self.price is None:
            raise PlanError("what money buys depends on the price of an hour; give a price")
        return _positive(spend, "money") / self.price * HOUR * self._speed

    def most_params(self, bytes_per_param: float = 16.0) -> float:
        """The N whose training state fits into the memory of all of them, sharded; else infinite.

        Weights, gradients and the two moments and master weights of Adam in mixed precision are 16
        bytes a parameter (Rajbhandari et al. 2020, arXiv:1910.02054, section 3.1). Activations
        come on top and are not counted.
        """
        if self.count is None:
            return np.inf
        return self.count * self.device.memory / bytes_per_param

    @property
    def _speed(self) -> float:
        return self.device.peak * self.mfu


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the training of a plan takes.

    Attributes:
        cluster: on what.
        device_hours: of one device.
        days: of all of them at once; None where it is not known how many.
        cost: None where no price is known.
    """

    cluster: Cluster
    device_hours: Quantity
    days: Quantity | None
    cost: Quantity | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        cluster = self.cluster
        return {
            "device": asdict(cluster.device),
            "count": cluster.count,
            "mfu": cluster.mfu,
            "price": cluster.price,
            "device_hours": self.device_hours.to_dict(),
            "days": self.days and self.days.to_dict(),
            "cost": self.cost and self.cost.to_dict(),
        }


def _positive(amount: float, what: str) -> float:
    if not 0 < amount < np.inf:
        raise PlanError(f"{amount:g} in {what} is no budget; give a positive number")
    return amount


def bill(cluster: Cluster, training_flops: Quantity) -> Bill:
    """What it takes to train for so many FLOP."""
    hours = training_flops.times(1 / (cluster.device.peak * cluster.mfu * HOUR))
    return Bill(
        cluster=cluster,
        device_hours=hours,
        days=hours.times(HOUR / DAY / cluster.count) if cluster.count else None,
        cost=hours.times(cluster.price) if cluster.price else None,
    )


def device(name: str, table: Path | None = None) -> Device:
    """The accelerator of this name, from a table of one's own or the one that ships.

    Raises:
        PlanError: if there is none, with the nearest names, or the table is not one.
    """
    known = devices(table)
    if _plain(name) not in known:
        near = get_close_matches(_plain(name), known, n=3, cutoff=0.4) or known
        keys = list(dict.fromkeys(known[one].key for one in near))[:3]
        raise PlanError(f"no accelerator is called {name!r}; did you mean {', '.join(keys)}?")
    return known[_plain(name)]


def devices(table: Path | None = None) -> dict[str, Device]:
    """All accelerators by every name they go by; those of ``table`` come before the shipped ones.

    Raises:
        PlanError: if the table cannot be read or an entry of it is wrong.
    """
    shipped = files("scalefit.planning").joinpath("hardware.toml").read_text(encoding="utf-8")
    found = _named(tomllib.loads(shipped), "hardware.toml")
    if table is None:
        return found
    own = _named(_own(table), str(table))
    return {name: own.get(_plain(one.key), one) for name, one in found.items()} | own


def _own(table: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(table.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"the hardware table {table} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"the hardware table {table} is not valid TOML: {error}") from None


def _named(entries: Mapping[str, Any], place: str) -> dict[str, Device]:
    found: dict[str, Device] = {}
    for key, said in entries.items():
        one = _device(key, said, place)
        also = said.get("also", [])
        if not isinstance(also, list) or not all(isinstance(name, str) for name in also):
            raise PlanError(f"{place}: also of {key} must be a list of names, not {also!r}")
        found |= {_plain(name): one for name in (key, *also)}
    return found


def _device(key: str, said: Any, place: str) -> Device:
    if not isinstance(said, dict):
        raise PlanError(f"{place}: {key} is no table; write [{key}] with name, peak, ... in it")
    for name in TEXTS:
        if not isinstance(said.get(name), str):
            raise PlanError(f"{place}: {name} of {key} must be a text, not {said.get(name)!r}")
    for name in NUMBERS:
        value: Any = said.get(name)
        if type(value) not in (int, float) or not 0 < value <= sys.float_info.max:
            raise PlanError(f"{place}: {name} of {key} must be a positive number, not {value!r}")
    return Device(key=key, **{name: said[name] for name in (*TEXTS, *NUMBERS)})


def _plain(name: str) -> str:
    """As it is looked up: rtx4090 for "RTX 4090" and rtx-4090."""
    return re.sub(r"[\s_-]+", "", name.lower())

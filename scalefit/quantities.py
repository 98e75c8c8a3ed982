"""Amounts as people write them ("1e21", "6.7B", "300B tokens", "11.6PF-days", "1:20") and back.

Losses too, whose units are a nat or a bit by the token, byte or character.

Counts use the field's suffixes (K M B T, in any case), compute the SI prefixes (k M G T P E Z Y
R Q, case as in SI). Scaling is done in decimal, so that "6.7B" is the float nearest to 6.7e9 and
`parse_params(exact(x, "B")) == x` holds bit for bit.
"""

import math
import re
from collections.abc import Callable
from decimal import Context, Decimal

from scalefit.errors import QuantityError

_COUNTS = {"": 0, "K": 3, "M": 6, "B": 9, "G": 9, "T": 12}
_PREFIXES = {"": 0} | {prefix: 3 * i for i, prefix in enumerate("kMGTPEZYRQ", start=1)}
_SECONDS_PER_DAY = 86_400

_WHOLE = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*)"
_NUMBER = rf"(?:{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_AMOUNT = re.compile(rf"\s*(?P<number>{_NUMBER})\s*(?P<unit>.*?)\s*")
_RATIO = re.compile(rf"\s*(?:1\s*:\s*)?(?P<number>{_NUMBER})\s*")
_COUNT = re.compile(
    r"(?P<prefix>[KMBGT]?)\s*(?:(?P<params>param(?:eter)?s?)|(?P<tokens>tokens?))?", re.IGNORECASE
)
_COMPUTE = re.compile(
    r"(?P<prefix>[kMGTPEZYRQ]?|(?i:peta))"
    r"(?:(?P<day>(?i:F(?:LOPS?)?(?:/s)?[- ]?days?))|(?i:FLOPS?))"
)

# Wide enough for every digit of a float and of any text a person types. Without traps, what is
# out of range becomes inf or 0, which the one check on the result refuses.
_CONTEXT = Context(prec=1000, traps=[])
_ENOUGH_DIGITS = 40  # 17 name every float; a PF-day, which divides nothing evenly, needs some more

_LOSS_UNIT = re.compile(r"(?P<of>nats?|bits?)\s*/\s*(?P<per>[a-z]+)", re.IGNORECASE)
_NATS = {"nat": 1.0, "bit": math.log(2)}

_FLOPS = ("an amount of compute", "1e21, 2.5ZFLOP or 11.6PF-days")
_PARAMS = ("a number of parameters", "6.7B, 125M or 1e9")
_TOKENS = ("a number of tokens", "300B, 1.4T tokens or 2e10")
_PER_PARAM = ("a ratio of tokens to parameters", "1:20, 20 or 1:17.9")


def parse_flops(value: str | float) -> float:
    """Floating-point operations of "1e21", "2.5ZFLOP" or "11.6PF-days" (or of a number).

    1 PF-day = 1e15 FLOP/s for a day = 8.64e19 FLOP (Kaplan et al. 2020, section 1.3).
    Raises QuantityError for everything that is not positive, finite and in a unit of compute.
    """
    return _parse(value, _flops_per_unit, _FLOPS)


def parse_params(value: str | float) -> float:
    """Number of parameters of "6.7B", "125M params" or "1e9" (or a number); else QuantityError."""
    return _parse(value, _params_per_unit, _PARAMS)


def parse_tokens(value: str | float) -> float:
    """Number of tokens of "300B tokens", "1.4T" or "2e10" (or a number); else QuantityError."""
    return _parse(value, _tokens_per_unit, _TOKENS)


def parse_ratio(value: str | float) -> float:
    """Tokens per parameter of "1:20" (1 parameter to 20 tokens) or "20"; else QuantityError."""
    if not isinstance(value, str):
        return _positive(value, value, _PER_PARAM)
    match = _RATIO.fullmatch(value)
    return _positive(_decimal(match["number"]) if match else None, value, _PER_PARAM)


def parse_loss(value: str) -> tuple[float, str | None]:
    """A loss and its unit, "2.1" or "0.9 bits/byte"; None where no unit is said.

    Raises QuantityError for everything that is not positive and finite.
    """
    match = _AMOUNT.fullmatch(value)
    unit = (match["unit"] or None) if match else None
    amount = _decimal(match["number"]) if match and (unit is None or _loss_unit(unit)) else None
    return _positive(amount, value, ("a loss", "2.1 or 0.9bits/byte")), unit and loss_unit(unit)


def loss_unit(unit: str) -> str:
    """A unit of loss as the runs table writes it: "bits/byte" for "bpb" or "bit / byte".

    Raises QuantityError for any other text.
    """
    found = _loss_unit(unit)
    if found is None:
        raise QuantityError(f"{unit!r} is not a unit of loss. Try nats/token or bits/byte.")
    return f"{found[0]}s/{found[1]}"


def loss_ratio(unit: str, other: str, bytes_per_token: float | None = None) -> float:
    """What a loss in one unit is multiplied by to be in another.

    A nat is 1/ln 2 bits; a loss per token is ``bytes_per_token`` times that per byte.
    Raises QuantityError where the units do not say enough.
    """
    if unit == other:
        return 1.0
    here, there = _loss_unit(unit), _loss_unit(other)
    if here is None or there is None:
        raise QuantityError(
            f"a loss in {unit} cannot be turned into {other}: the unit is not known"
        )
    ratio = _NATS[here[0]] / _NATS[there[0]]
    if here[1] == there[1]:
        return ratio
    if {here[1], there[1]} != {"token", "byte"}:
        raise QuantityError(f"a loss in {unit} cannot be turned into {other}")
    if bytes_per_token is None or not 0 < bytes_per_token < math.inf:
        raise QuantityError(
            f"a loss in {unit} is one in {other} by the tokenizer only: "
            "give its --bytes-per-token, such as 4.3"
        )
    return ratio / bytes_per_token if here[1] == "token" else ratio * bytes_per_token


def _loss_unit(unit: str) -> tuple[str, str] | None:
    match = _LOSS_UNIT.fullmatch("bits/byte" if unit.lower() == "bpb" else unit.strip())
    return (match["of"].lower().rstrip("s"), match["per"].lower()) if match else None


def exact(x: float, unit: str = "") -> str:
    """The shortest text in this unit that parses back to the same float: "6.7B" for (6.7e9, "B").

    The unit is any that the parsers take ("B", "B tokens", "ZFLOP", "PF-days"). Raises
    QuantityError for any other, and for an x that is not positive and finite.
    """
    scale = _flops_per_unit(unit) or _params_per_unit(unit) or _tokens_per_unit(unit)
    if scale is None or not 0 < x < math.inf:
        raise QuantityError(
            f"{x!r} cannot be written in {unit!r}. Use a positive number and B, ZFLOP or PF-days."
        )
    amount = _CONTEXT.divide(Decimal(x), scale)
    rounded = (Context(prec=digits, traps=[]).plus(amount) for digits in range(1, _ENOUGH_DIGITS))
    shortest = next(y for y in rounded if float(_CONTEXT.multiply(y, scale)) == x)
    return str(shortest.normalize()).replace("E+", "e").replace("E", "e") + unit


def format_count(x: float, digits: int = 3) -> str:
    """A count for people, to so many significant digits: "2.79B" for 2.79e9, "70B" for 7e10."""
    if x == 0 or not math.isfinite(x):
        return f"{x:g}"
    mantissa, _, exponent = f"{x:.{digits - 1}e}".partition("e")
    if int(exponent) not in range(-3, 15):
        return format_flops(x, digits)
    thousands = max(int(exponent) // 3, 0)
    scaled = Decimal(mantissa).scaleb(int(exponent) - 3 * thousands).normalize()
    return f"{scaled:f}{['', 'K', 'M', 'B', 'T'][thousands]}"


def format_flops(x: float, digits: int = 3) -> str:
    """An amount of compute for people, in FLOP, to at most so many significant digits: "1e21"."""
    mantissa, e, exponent = f"{x:.{digits - 1}e}".partition("e")
    return f"{Decimal(mantissa).normalize():f}e{int(exponent)}" if e else mantissa


UNKNOWN = "–"
"""Stands for a number that is not known."""


def format_number(value: float | None) -> str:
    """Four significant digits, so that neighbouring limits can be told apart."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if -4 <= magnitude < 6:
        return f"{value:.{max(0, 3 - magnitude)}f}"
    return f"{value:.3e}"


def _parse(
    value: str | float, per_unit: Callable[[str], Decimal | None], kind: tuple[str, str]
) -> float:
    if not isinstance(value, str):
        return _positive(value, value, kind)
    match = _AMOUNT.fullmatch(value)
    scale = per_unit(match["unit"]) if match else None
    amount = _CONTEXT.multiply(_decimal(match["number"]), scale) if match and scale else None
    return _positive(amount, value, kind)


def _decimal(number: str) -> Decimal:
    return _CONTEXT.create_decimal(number.replace(",", "").replace("_", ""))


def _positive(amount: Decimal | float | None, value: object, kind: tuple[str, str]) -> float:
    try:
        x = math.nan if amount is None or isinstance(amount, bool) else float(amount)
    except (TypeError, ValueError, OverflowError):
        x = math.nan
    if not 0 < x < math.inf:
        what, examples = kind
        raise QuantityError(f"{value!r} is not {what}. Try {examples}.")
    return x


def _flops_per_unit(unit: str) -> Decimal | None:
    if not unit:
        return Decimal(1)
    match = _COMPUTE.fullmatch(unit)
    if match is None:
        return None
    prefix = "P" if match["prefix"].lower() == "peta" else match["prefix"]
    return Decimal(_SECONDS_PER_DAY if match["day"] else 1).scaleb(_PREFIXES[prefix])


def _params_per_unit(unit: str) -> Decimal | None:
    return _count_per_unit(unit, "tokens")


def _tokens_per_unit(unit: str) -> Decimal | None:
    return _count_per_unit(unit, "params")


def _count_per_unit(unit: str, other: str) -> Decimal | None:
    match = _COUNT.fullmatch(unit)
    if match is None or match[other]:
        return None
    return Decimal(1).scaleb(_COUNTS[match["prefix"].upper()])

"""Amounts read back bit for bit, and nothing that is not an amount is taken for one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.errors import QuantityError
from scalefit.quantities import (
    exact,
    format_count,
    format_flops,
    loss_ratio,
    parse_flops,
    parse_loss,
    parse_params,
    parse_ratio,
    parse_tokens,
)

UNITS = ("nats/token", "bits/token", "nats/byte", "bits/byte")
PARSERS = (parse_flops, parse_params, parse_tokens, parse_ratio)
NO_AMOUNT = ("1e", "1E", "abc", "", "-3", "0", "nan", "inf", "1e400", "1e-400", "1e99999999999")


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("1e21", 1e21),
        ("2.5ZFLOP", 2.5e21),
        (" 2.5 ZFLOPs ", 2.5e21),
        ("1EFLOP", 1e18),
        ("1E5FLOP", 1e5),
        ("11.6PF-days", 11.6e15 * 86400),
        ("1e3 petaflop/s-days", 8.64e22),
        ("3 PFLOP/s-days", 2.592e20),
        ("1_000_000", 1e6),
        ("1,000,000", 1e6),
        (5, 5.0),
    ],
)
def test_compute(text: str | float, flops: float) -> None:
    assert parse_flops(text) == flops


@pytest.mark.parametrize(
    ("text", "count"),
    [("6.7B", 6.7e9), ("70b", 7e10), ("65K", 65e3), ("3G", 3e9), ("1.4t", 1.4e12), (".5m", 5e5)],
)
def test_counts_take_suffixes_in_any_case(text: str, count: float) -> None:
    assert parse_params(text) == count
    assert parse_tokens(f"{text} tokens") == count


@pytest.mark.parametrize(("text", "ratio"), [("1:20", 20.0), ("20", 20.0), ("1 : 17.9", 17.9)])
def test_ratio_is_tokens_per_parameter(text: str, ratio: float) -> None:
    assert parse_ratio(text) == ratio


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "text", [*NO_AMOUNT, "2.5Z", "1,5", "1__0", "20:1", True, None, -1.0, math.nan, 10**400, [1]]
)
def test_refuses_what_is_no_amount(parse, text) -> None:
    with pytest.raises(QuantityError, match="is not a"):
        parse(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_params, "6.7B tokens"),
        (parse_tokens, "6.7B params"),
        (parse_flops, "6.7B"),
        (parse_flops, "2.5zFLOP"),
        (parse_params, "1ZFLOP"),
        (parse_ratio, "20B"),
    ],
)
def test_refuses_another_unit(parse, text: str) -> None:
    with pytest.raises(QuantityError):
        parse(text)


def test_errors_show_three_good_examples() -> None:
    with pytest.raises(QuantityError) as error:
        parse_flops("1e")
    assert str(error.value) == (
        "'1e' is not an amount of compute. Try 1e21, 2.5ZFLOP or 11.6PF-days."
    )
    for parse, examples in zip(
        PARSERS,
        [
            ("1e21", "2.5ZFLOP", "11.6PF-days"),
            ("6.7B", "125M", "1e9"),
            ("300B", "1.4T tokens", "2e10"),
            ("1:20", "20", "1:17.9"),
        ],
        strict=True,
    ):
        with pytest.raises(QuantityError) as error:
            parse("?")
        assert all(example in str(error.value) and parse(example) for example in examples)


positive = st.floats(min_value=5e-324, max_value=1.7976931348623157e308)


@given(positive, st.sampled_from(["", "FLOP", "kFLOP", "ZFLOP", "QFLOPs", "PF-days", "TF-days"]))
def test_compute_round_trip(x: float, unit: str) -> None:
    assert parse_flops(exact(x, unit)) == x


@given(positive, st.sampled_from(["", "K", "M", "B", "T", "g"]))
def test_count_round_trip(x: float, unit: str) -> None:
    assert parse_params(exact(x, unit)) == x
    assert parse_tokens(exact(x, f"{unit} tokens")) == x


@given(positive)
def test_ratio_round_trip(x: float) -> None:
    assert parse_ratio(exact(x)) == parse_ratio(f"1:{exact(x)}") == x


@given(positive)
def test_numbers_pass_through(x: float) -> None:
    assert all(parse(x) == parse(repr(x)) == x for parse in PARSERS)


def test_exact_is_the_shortest_text() -> None:
    assert exact(6.7e9, "B") == "6.7B"
    assert exact(1e21) == "1e21"
    # this float's shortest decimal lies midway between two floats, where a rounding shows
    assert parse_flops(exact(18014398509481992.0, "PF-days")) == 18014398509481992.0


@pytest.mark.parametrize(("x", "unit"), [(1.0, "Z"), (1.0, "apples"), (0.0, "B"), (math.nan, "")])
def test_exact_refuses(x: float, unit: str) -> None:
    with pytest.raises(QuantityError, match="cannot be written"):
        exact(x, unit)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (2.79e9, "2.79B"),
        (7e10, "70B"),
        (65536, "65.5K"),
        (999_999, "1M"),
        (532, "532"),
        (0.5, "0.5"),
        (1e15, "1e15"),
        (1.6e-7, "1.6e-7"),
        (0.0, "0"),
        (math.inf, "inf"),
    ],
)
def test_counts_for_people(x: float, text: str) -> None:
    assert format_count(x) == text


@given(st.floats(min_value=1e-3, max_value=9.99e14))
def test_counts_for_people_are_near_and_readable(x: float) -> None:
    assert parse_params(format_count(x)) == pytest.approx(x, rel=0.0051)


def test_compute_for_people() -> None:
    assert format_flops(1e21) == "1e21"
    assert format_flops(2.5e-3, digits=2) == "2.5e-3"
    assert format_flops(math.inf) == "inf"


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("2.1", 2.1, None), ("0.9bits/byte", 0.9, "bits/byte"), ("0.9 bit / Byte", 0.9, "bits/byte"),
     ("1.2 bpb", 1.2, "bits/byte"), ("2 nats/token", 2.0, "nats/token")],
)  # fmt: skip
def test_losses_come_with_their_unit(text: str, value: float, unit: str | None) -> None:
    assert parse_loss(text) == (value, unit)


@pytest.mark.parametrize("text", ["", "two", "-1", "0", "2.1 perplexity", "nan", "2 nats"])
def test_what_is_no_loss_is_told_what_would_be(text: str) -> None:
    with pytest.raises(QuantityError, match=r"is not a loss. Try 2.1 or 0.9bits/byte"):
        parse_loss(text)


@given(
    loss=st.floats(0.01, 10), bytes_per_token=st.floats(1, 8),
    here=st.sampled_from(UNITS), there=st.sampled_from(UNITS),
)  # fmt: skip
def test_units_of_loss_lead_there_and_back(
    loss: float, bytes_per_token: float, here: str, there: str
) -> None:
    out = loss_ratio(here, there, bytes_per_token)
    assert out * loss_ratio(there, here, bytes_per_token) == pytest.approx(1)
    assert loss_ratio("nats/token", "bits/byte", 4.0) == pytest.approx(1 / math.log(2) / 4)

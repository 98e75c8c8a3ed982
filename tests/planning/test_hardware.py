"""Machines, time and money: worked by hand, there and back, and what a user's table may hold."""

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.errors import PlanError
from scalefit.planning.hardware import Cluster, Device, bill, device, devices
from scalefit.planning.result import Quantity

MINE = """
[mine]
name = "My chip"
peak = 1e15
memory = 64e9
format = "bf16"
source = "measured"
also = ["my chip"]
"""


def exactly(value: float) -> Quantity:
    return Quantity(value=value, low=None, high=None, level=None)


def test_llama_3_takes_its_two_months() -> None:
    # Grattafiori et al. 2024: 3.8e25 FLOP on up to 16,384 H100 at 38 to 43 % took 54 days and more.
    cluster = Cluster(device=device("h100"), count=16_384, mfu=0.40, price=2.0)
    found = bill(cluster, exactly(3.8e25))
    hours = 3.8e25 / (989.5e12 * 0.4) / 3600
    assert found.device_hours.value == pytest.approx(hours)
    assert found.days.value == pytest.approx(hours / 24 / 16_384)
    assert 60 < found.days.value < 75
    assert found.cost.value == pytest.approx(2 * hours)


@given(
    flops=st.floats(1e15, 1e27), count=st.integers(1, 10**5), mfu=st.floats(0.01, 1),
    price=st.floats(0.01, 100), name=st.sampled_from(sorted(devices())),
)  # fmt: skip
def test_time_and_money_lead_back_to_the_compute(
    flops: float, count: int, mfu: float, price: float, name: str
) -> None:
    cluster = Cluster(device=device(name), count=count, mfu=mfu, price=price)
    found = bill(cluster, exactly(flops))
    assert cluster.flops_in(found.days.value) == pytest.approx(flops)
    assert cluster.flops_for(found.cost.value) == pytest.approx(flops)


def test_the_interval_of_the_compute_is_that_of_the_bill() -> None:
    cluster = Cluster(device=device("a100"), count=8)
    found = bill(cluster, Quantity(value=2e21, low=1e21, high=None, level=0.9))
    assert found.days.low == pytest.approx(found.days.value / 2)
    assert found.days.high is None
    assert found.days.level == 0.9
    assert found.cost is None


def test_memory_holds_sixteen_bytes_a_parameter() -> None:
    assert Cluster(device=device("h100"), count=8).most_params() == 8 * 80e9 / 16
    assert Cluster(device=device("h100"), count=8).most_params(4.0) == 8 * 80e9 / 4
    assert Cluster(device=device("h100")).most_params() == float("inf")


def test_every_shipped_entry_is_plausible_and_has_a_source() -> None:
    entries = set(devices().values())
    assert len(entries) > 20
    assert len({one.key for one in entries}) == len(entries)
    for one in entries:
        assert 50e12 <= one.peak <= 5e15, one
        assert 16e9 <= one.memory <= 300e9, one
        assert one.format in ("bf16", "fp16")
        assert any(vendor in one.source for vendor in ("NVIDIA", "AMD", "TPU", "Intel", "AWS"))
        if "halved" in one.source and "eight" not in one.source:
            printed = float(one.source.split(" TFLOPS")[0].split()[-1])
            assert one.peak == printed * 1e12 / 2


def test_no_two_shipped_entries_share_a_name() -> None:
    text = files("scalefit.planning").joinpath("hardware.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)
    assert len(devices()) == sum(1 + len(one.get("also", [])) for one in entries.values())


@pytest.mark.parametrize("name", ["RTX 4090", "rtx_4090", "rtx4090", " 4090 "])
def test_names_are_taken_as_people_type_them(name: str) -> None:
    assert device(name).key == "rtx-4090"


def test_a_table_of_ones_own_comes_first(tmp_path: Path) -> None:
    table = tmp_path / "mine.toml"
    table.write_text(MINE + MINE.replace("[mine]", "[h100]").replace('"my chip"', '"sxm"'))
    assert device("My Chip", table) == Device(
        key="mine", name="My chip", peak=1e15, memory=64e9, format="bf16", source="measured"
    )
    assert {device(name, table).peak for name in ("h100", "h100-sxm", "H100 80GB", "sxm")} == {1e15}
    assert device("a100", table).peak == 312e12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mine", "not valid TOML"),
        ("mine = 3", "mine is no table"),
        (MINE.replace("peak = 1e15", ""), "peak of mine must be a positive number, not None"),
        (MINE.replace("1e15", "-1e15"), "peak of mine must be a positive number"),
        (MINE.replace("1e15", "nan"), "peak of mine must be a positive number"),
        (MINE.replace("1e15", "1" + "0" * 400), "peak of mine must be a positive number"),
        (MINE.replace("64e9", '"64GB"'), "memory of mine must be a positive number, not '64GB'"),
        (MINE.replace("64e9", "true"), "memory of mine"),
        (MINE.replace('"measured"', "3"), "source of mine must be a text"),
        (MINE.replace('["my chip"]', '"my chip"'), "also of mine must be a list of names"),
        (MINE.replace('["my chip"]', "[3]"), "also of mine must be a list of names"),
    ],
)
def test_a_wrong_table_is_told_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "mine.toml"
    table.write_text(text)
    with pytest.raises(PlanError, match=message) as refused:
        device("mine", table)
    assert "mine.toml" in str(refused.value)


def test_what_is_missing_or_unknown_is_said(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read: No such file"):
        device("h100", tmp_path / "none.toml")
    with pytest.raises(PlanError, match=r"no accelerator is called 'h1000'; did you mean h100"):
        device("h1000")
    with pytest.raises(PlanError, match="did you mean h100, h100-pcie, h100-nvl"):
        device("zzz")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"count": 0}, "0 accelerators"), ({"count": 2.5}, "2.5 accelerators"),
     ({"count": float("nan")}, "nan accelerators"), ({"count": float("inf")}, "inf accelerators"),
     ({"mfu": 0.0}, "MFU of 0"), ({"mfu": 1.5}, "MFU of 1.5"),
     ({"price": 0.0}, "price of 0"), ({"price": -1.0}, "price of -1")],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Cluster(device=device("h100"), **wrong)


def test_days_need_a_count_and_money_a_price() -> None:
    with pytest.raises(PlanError, match="give a count"):
        Cluster(device=device("h100")).flops_in(30)
    with pytest.raises(PlanError, match="give a price"):
        Cluster(device=device("h100"), count=8).flops_for(1e6)
    with pytest.raises(PlanError, match="-3 in days is no budget"):
        Cluster(device=device("h100"), count=8).flops_in(-3)
    with pytest.raises(PlanError, match="inf in money is no budget"):
        Cluster(device=device("h100"), price=2.0).flops_for(float("inf"))

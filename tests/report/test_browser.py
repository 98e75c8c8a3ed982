"""The page in a real browser: its planner against ``plan``, by keyboard, in both themes."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scalefit.fitting import Fit, fit
from scalefit.planning import plan
from scalefit.planning.hardware import Cluster, device
from scalefit.report import html
from scalefit.report.gather import Found
from tests.conftest import as_runs, known_law, simulate

pytestmark = pytest.mark.browser

MISSING = dict.fromkeys(("comparison", "diagnosis", "backtest"), "left out here")
CLOSE = 1e-6
BUDGETS = [f"{mantissa}e{exponent}" for exponent in range(18, 26) for mantissa in ("1", "4.7")]
CASES: list[dict[str, Any]] = [
    *({"flops": budget} for budget in BUDGETS),
    *({"flops": budget, "served": "2T"} for budget in ("1e21", "3e22", "1e24")),
    *({"flops": budget, "unique": "20B"} for budget in ("1e20", "1e22", "1e23", "1e24")),
    {"flops": "1e23", "unique": "20B", "served": "500B tokens"},
    {"flops": "11.6PF-days", "device": "h100", "count": "512", "price": "2.5"},
    {"flops": "2.5ZFLOP", "device": "a100", "count": "64", "mfu": "0.3", "unique": "300B"},
    {"flops": "1e24", "device": "h100", "count": "8", "served": "1e12"},
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with chromedriver is installed (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    from selenium.common.exceptions import WebDriverException

    try:
        opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    except WebDriverException as error:
        pytest.skip(f"{chromium} does not start: {error.msg}")
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Found:
    runs = as_runs(simulate(known_law("chinchilla"), noise=0.01), tmp_path_factory.mktemp("runs"))
    return Found(
        fit=fit(runs, bootstrap=200), runs=runs, comparison=None, diagnosis=None, backtest=None,
        missing=MISSING,
    )  # fmt: skip


@pytest.fixture(scope="module")
def opened(browser: Any, fitted: Found, tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = html.write(fitted, tmp_path_factory.mktemp("page") / "report.html")
    browser.get(place.as_uri())
    return browser


def type_in(browser: Any, asked: dict[str, str]) -> None:
    """As a person does, with the keyboard; Enter asks for the plan."""
    from selenium.webdriver.common.keys import Keys

    form = browser.find_element("id", "planner")
    for name in ("flops", "unique", "served", "count", "mfu", "price"):
        field = form.find_element("name", name)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.DELETE)
        if name in asked:
            field.send_keys(asked[name])
    form.find_element("name", "device").send_keys(Keys.HOME)
    if "device" in asked:
        selected = f"option[value='{asked['device']}']"
        form.find_element("css selector", selected).click()
    form.find_element("name", "flops").send_keys(Keys.ENTER)


def answered(browser: Any) -> dict[str, tuple[float, float, float]]:
    """The rows of the planner, in full precision; an end that is unbounded is infinite."""
    rows = browser.find_elements("css selector", "#plan-rows tr")
    said = {}
    for row in rows:
        ends = (row.get_attribute(f"data-{end}") for end in ("value", "low", "high"))
        said[row.get_attribute("data-name")] = tuple(float(end) for end in ends)
    return said


def expected(found: Fit, asked: dict[str, str]) -> dict[str, tuple[float, float, float]]:
    from scalefit.quantities import parse_flops, parse_tokens

    cluster = None
    if "device" in asked:
        cluster = Cluster(
            device=device(asked["device"]),
            count=int(asked["count"]),
            mfu=float(asked.get("mfu", 0.4)),
            price=float(asked["price"]) if "price" in asked else None,
        )
    done = plan(
        found,
        flops=parse_flops(asked["flops"]),
        inference_tokens=parse_tokens(asked["served"]) if "served" in asked else 0.0,
        unique_tokens=parse_tokens(asked["unique"]) if "unique" in asked else None,
        cluster=cluster,
    )
    numbers = done.quantities()
    if done.bill:
        numbers["device_hours"] = done.bill.device_hours
        for name in ("days", "cost"):
            if getattr(done.bill, name):
                numbers[name] = getattr(done.bill, name)
    infinite = float("inf")
    return {
        name: (one.value, *(infinite if x is None else x for x in (one.low, one.high)))
        for name, one in numbers.items()
    }


@pytest.mark.parametrize("asked", CASES, ids=lambda case: " ".join(case.values()))
def test_the_page_plans_what_plan_plans(opened: Any, fitted: Found, asked: dict[str, str]) -> None:
    type_in(opened, asked)
    said, wanted = answered(opened), expected(fitted.fit, asked)
    assert said.keys() == wanted.keys()
    for name, numbers in wanted.items():
        assert said[name] == pytest.approx(numbers, rel=CLOSE), name


def test_data_constrained_and_generalised_fits_are_planned_too(
    browser: Any, tmp_path: Path
) -> None:
    runs = as_runs(simulate(known_law("asymmetric"), noise=0.01), tmp_path)
    found = Found(
        fit=fit(runs, form="generalised", bootstrap=60), runs=runs, comparison=None,
        diagnosis=None, backtest=None, missing=MISSING,
    )  # fmt: skip
    browser.get(html.write(found, tmp_path / "generalised.html").as_uri())
    for asked in ({"flops": "1e22"}, {"flops": "1e23", "served": "1T"}):
        type_in(browser, asked)
        wanted = expected(found.fit, asked)
        for name, numbers in wanted.items():
            assert answered(browser)[name] == pytest.approx(numbers, rel=CLOSE), name


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"flops": "much"}, "much is not understood: a budget is an amount of compute"),
        ({}, "Nothing is not understood: a budget"),
        ({"flops": "1e21", "unique": "-3"}, "unique tokens are a count"),
        ({"flops": "1e21", "device": "h100", "count": "1.5"}, "devices are a whole number"),
        ({"flops": "1e21", "mfu": "40"}, "between 0 and 1"),
    ],
)
def test_what_is_not_understood_is_said_and_no_old_plan_stays(
    opened: Any, fitted: Found, asked: dict[str, str], said: str, tmp_path: Path
) -> None:
    opened.get(html.write(fitted, tmp_path / "r.html").as_uri())
    type_in(opened, asked)
    assert said in opened.find_element("id", "plan-error").text
    assert not opened.find_element("id", "plan-answer").is_displayed()
    wrong = opened.find_elements("css selector", "input[aria-invalid='true']")
    assert len(wrong) == 1
    type_in(opened, {"flops": "1e21"})
    assert opened.find_element("id", "plan-answer").is_displayed()
    assert opened.find_element("id", "plan-error").text == ""


def test_a_page_can_be_used_by_keyboard_alone(opened: Any, fitted: Found, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.get(html.write(fitted, tmp_path / "r.html").as_uri())
    seen = []
    for _ in range(16):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        focused = opened.switch_to.active_element
        seen.append(focused.get_attribute("name") or focused.text)
    assert seen[0] == "To the report"
    fields = ["flops", "unique", "served", "device", "count", "mfu", "price"]
    assert [name for name in seen if name in fields] == fields


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_can_be_read_in_both_themes(
    opened: Any, fitted: Found, theme: str, tmp_path: Path
) -> None:
    opened.get(html.write(fitted, tmp_path / "r.html").as_uri())
    opened.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": theme}]},
    )
    body = opened.find_element("tag name", "body")
    ground = luminance(body.value_of_css_property("background-color"))
    assert (ground > 0.5) == (theme == "light")
    for chosen in ("body", ".soft", "a[href='#plan']", "figcaption", "input", "caption"):
        found = opened.find_element("css selector", chosen)
        behind = (
            luminance(found.value_of_css_property("background-color"))
            if chosen == "input"
            else ground
        )
        light, dark = sorted((luminance(found.value_of_css_property("color")), behind))[::-1]
        assert (light + 0.05) / (dark + 0.05) >= 4.5, chosen  # WCAG 2.1, level AA


def luminance(colour: str) -> float:
    """Relative luminance of "rgba(r, g, b, a)" (WCAG 2.1)."""
    parts = [float(x) / 255 for x in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_nothing_is_wider_than_a_narrow_screen(opened: Any, fitted: Found, tmp_path: Path) -> None:
    opened.get(html.write(fitted, tmp_path / "r.html").as_uri())
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_asks_the_network_for_nothing_and_logs_no_error(opened: Any) -> None:
    entries = opened.execute_script("return performance.getEntriesByType('resource').length")
    assert entries == 0
    assert [line for line in opened.get_log("browser") if line["level"] == "SEVERE"] == []

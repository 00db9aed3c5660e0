"""Pages as a reader meets them: in a real Chromium, from a file URL."""

import pytest

from browser import MISSING, Browser
from fabricate import make_run, make_sweep, written
from visionlab.compare import compare

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

COLUMN = """
const frame = document.getElementById(arguments[0]);
const rows = [...frame.querySelectorAll("tbody tr")].filter(row => !row.hidden);
return rows.map(row => row.cells[arguments[1]].textContent);
"""
WIDER = """
const outside = e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .wide, svg");
return [...document.querySelectorAll("main *")].filter(outside).map(e => e.outerHTML.slice(0, 120));
"""


@pytest.fixture(scope="module")
def browser():
    window = Browser()
    yield window
    window.close()


@pytest.fixture(scope="module")
def narrow():
    window = Browser(width=400, height=800, dark=True)
    yield window
    window.close()


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for i, (model, skill, lr) in enumerate((("net_a", 0.8, 0.1), ("net_b", 0.6, 0.01), ("net_c", 0.7, 0.001))):
        config = {"model.name": model, "optimizer.lr": lr}
        size = {"name": model, "parameters": 10 ** (5 - i), "flops": 10**6, "trainable_parameters": 1}
        made = {"model": size, "seconds": {"fit": 10 + 30 * i, "total": 99}}
        make_run(root / model, test=400, seed=i, skill=skill, config=config, result=made)
        written(root / model)
    return compare(root, make_sweep(root / "more", trials=6), out=root / "out").page


def column(browser, table, i):
    return browser.run(COLUMN, table, i)


def test_a_head_sorts_by_value_and_turns_around(browser, comparison):
    browser.open(comparison)
    heads = browser.run("return [...document.querySelectorAll('#runs th')].map(h => h.textContent)")
    place = heads.index("parameters") + 1
    head = f"#runs th:nth-child({place}) button"
    browser.click(head)
    falling = [int(text.replace(",", "")) for text in column(browser, "runs", place - 1)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] == 100000
    browser.click(head)
    rising = [int(text.replace(",", "")) for text in column(browser, "runs", place - 1)]
    assert rising == sorted(rising)
    assert browser.run(f"return document.querySelector('#runs th:nth-child({place})').ariaSort") == "ascending"
    assert browser.complaints() == []


def test_a_head_is_pressed_from_the_keyboard(browser, comparison):
    browser.open(comparison)
    browser.keys("#runs th:first-child button", "\ue007")  # Enter
    names = column(browser, "runs", 0)
    assert names == browser.run(
        "return arguments[0].toSorted((a, b) => a.localeCompare(b, undefined, {numeric: true}))", names
    )
    assert browser.run("return document.activeElement.closest('th').ariaSort") == "ascending"


def test_what_has_no_value_stays_last(browser, comparison):
    browser.open(comparison)
    place = browser.run("return [...document.querySelectorAll('#runs th')].findIndex(h => h.textContent == 'test/acc')")
    for _ in range(2):
        browser.click(f"#runs th:nth-child({place + 1}) button")
        assert column(browser, "runs", place)[-6:] == ["–"] * 6  # noqa: RUF001 (the runs of the sweep have no test)


def test_the_filter_hides_rows_with_their_lines_and_dots(browser, comparison):
    browser.open(comparison)
    shown = "return [...document.querySelectorAll('svg [data-key]')].filter(e => e.style.display != 'none').length"
    before = browser.run(shown)
    browser.keys("#runs input", "net_b")
    assert column(browser, "runs", 0) == ["net_b lr=0.01"]
    assert browser.run("return document.querySelector('#runs .count').textContent") == "1 of 9 rows"
    assert 0 < browser.run(shown) < before
    assert browser.complaints() == []


def test_a_name_leads_to_the_page_of_the_run(browser, comparison):
    browser.open(comparison)
    browser.click("#runs tbody tr a")
    assert "net_a" in browser.run("return document.title")


def test_the_pointer_tells_values(browser, comparison):
    browser.open(comparison)
    place = "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center', behavior: 'instant'});"
    place += " const b = e.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2];"
    browser.point(*browser.run(place, "svg[data-lines]"))
    assert "epoch" in browser.run("return document.getElementById('tip').textContent")
    assert browser.run("return document.querySelectorAll('#runs tr.lit').length") == 1
    browser.point(*browser.run(place, "svg[data-plot] circle"))
    assert "parameters" in browser.run("return document.getElementById('tip').textContent")


def test_dragging_along_an_axis_keeps_the_trials_that_pass(browser, tmp_path):
    browser.open(compare(make_sweep(tmp_path)).page)
    spot = """
    const e = document.querySelector('.brush[data-axis="3"]'); e.scrollIntoView({block: 'center', behavior: 'instant'});
    const b = e.getBoundingClientRect(); return [b.left + b.width / 2, b.top, b.height];
    """
    x, top, height = browser.run(spot)
    count = "return [...document.querySelectorAll('.trial')].filter(e => e.style.display != 'none').length"
    assert browser.run(count) == 11
    browser.drag((x, top + 2), (x, top + height / 4), (x, top + height / 2))
    kept = browser.run(count)
    assert 0 < kept < 11
    browser.drag((x, top + height - 3), (x, top + height - 3))
    assert browser.run(count) == 11
    assert browser.complaints() == []


def test_the_matrix_tells_what_was_taken_for_what(browser, run_dir):
    browser.open(written(run_dir))
    spot = """
    const svg = document.querySelector("svg[data-heat]"), g = JSON.parse(svg.dataset.heat);
    svg.scrollIntoView({block: 'center', behavior: 'instant'});
    const p = new DOMPoint(g.x + g.size * 1.5, g.y + g.size * 0.5).matrixTransform(svg.getScreenCTM());
    return [p.x, p.y, g.counts[0][1]];
    """
    x, y, images = browser.run(spot)
    browser.point(x, y)
    assert browser.run("return document.getElementById('tip').textContent").startswith(
        f"cat taken for dog\n{images} of"
    )


def test_a_dangerous_class_name_does_nothing(browser, run_dir):
    browser.open(written(run_dir))
    assert browser.run("return document.querySelectorAll('script').length") == 1
    assert browser.complaints() == []


def test_tabs_change_the_matrix_without_a_script(browser, run_dir):
    browser.open(written(run_dir))
    seen = "return [...document.querySelectorAll('.panel')].map(e => e.offsetHeight > 0)"
    assert browser.run(seen) == [True, False]
    browser.click(".tabs label:nth-of-type(2)")
    assert browser.run(seen) == [False, True]


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_large_pages_are_light(browser, kind, many_classes, large_sweep):
    path = written(many_classes) if kind == "run" else compare(large_sweep).page
    browser.open(path)
    # What its time is made of, on any machine: the matrix of 101 classes alone would be 10,201 elements.
    assert browser.run("return document.querySelectorAll('*').length") < 5000
    assert browser.complaints() == []


def test_a_telephone_in_the_dark(narrow, run_dir, comparison, tmp_path):
    sweep = compare(make_sweep(tmp_path)).page
    for path in (written(run_dir), comparison, sweep):
        narrow.open(path)
        assert narrow.run("return innerWidth") == 400
        assert narrow.run("return document.documentElement.scrollWidth") <= 400, "the page scrolls sideways"
        assert narrow.run(WIDER) == []
        ground = narrow.run("return getComputedStyle(document.body).backgroundColor")
        assert max(int(v) for v in ground.removeprefix("rgb(").removesuffix(")").split(",")) < 40

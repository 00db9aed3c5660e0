import math
import re
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reading_html import read
from visionlab.reports import charts, numbers, svg
from visionlab.reports.heat import heatmap
from visionlab.reports.page import Column, Html, Page, callout, code, details, gallery, note, pairs, picture, table
from visionlab.reports.svg import Axis

NASTY = """<b onclick="x">'&</b>"""


def test_whatever_enters_a_page_is_escaped(tmp_path):
    page = Page(NASTY, subtitle=NASTY, badge=NASTY)
    parts = [note(NASTY), callout(NASTY), code(NASTY), details(NASTY, NASTY), pairs({NASTY: NASTY})]
    parts += [table([NASTY, Column("n", hint=NASTY)], [[NASTY, 1]], keys=[NASTY], ident=NASTY)]
    parts += [gallery([(picture(np.zeros((4, 4, 3), np.uint8), alt=NASTY), NASTY, True, NASTY)])]
    parts += [charts.bars([NASTY], [0.5], axis=Axis(NASTY), tips=[NASTY], label=NASTY)]
    parts += [charts.lines([charts.Series(NASTY, [1, 2], [1, 2], key=NASTY)], x=Axis(NASTY), y=Axis(NASTY))]
    parts += [charts.scatter([charts.Point(1, 2, NASTY, NASTY, key=NASTY)], x=Axis(NASTY), y=Axis(NASTY))]
    parts += [heatmap(np.eye(2, dtype=np.int64), [NASTY, "b"], normalise=False)]
    page.section(NASTY, *parts)
    found = read(page.write(tmp_path / "page.html"))
    assert all(tag != "b" and "onclick" not in attributes for tag, attributes in found.tags)
    assert found.text.count(NASTY) >= 12


def test_a_section_without_parts_is_left_out():
    page = Page("p")
    page.section("Empty", "", note(""))
    page.section("Full", "words")
    text = page.render()
    assert "Empty" not in text
    assert '<a href="#full">Full</a>' in text


def test_pages_and_charts_may_be_written_by_several_processes_at_once(tmp_path):
    """A sweep's page is written by each process that ends it, and by who compares it then."""
    page, chart = Page("p"), svg.svg(4, 4, "a chart", "")
    page.section("Full", "words")

    def write(number):
        for _ in range(20):
            page.write(tmp_path / "page.html")
            svg.write_files({"own": chart, **({"other": chart} if number else {})}, tmp_path / "page.html")
            assert (tmp_path / "figures" / "own.svg").read_text().endswith("</svg>")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"page.html", "own.svg", "other.svg"}


@pytest.mark.parametrize("most", [22, 28])
def test_wide_letters_have_the_room_of_two(most):
    assert svg.shortened("a" * most, most) == "a" * most and svg.shortened("a" * (most + 1), most)[-1] == "…"
    assert svg.shortened("猫" * (most // 2), most) == "猫" * (most // 2)
    assert len(svg.shortened("猫" * most, most)) == most // 2


def test_names_in_wide_letters_are_not_cut_off_by_the_edge():
    name = "ミケネコトラネコクロネ"
    heat = heatmap(np.eye(2, dtype=np.int64), [name, "b"], normalise=False)
    bars = charts.bars([name], [0.5], axis=Axis("share"))
    for drawing in (heat, bars):
        ends = re.findall(rf'x="([\d.]+)" y="[\d.]+" text-anchor="end" font-size="([\d.]+)"[^>]*>{name}<', drawing)
        assert ends and all(float(x) >= 11 * float(size) for x, size in ends)


def test_numbers_sort_by_value_and_a_foot_stays_below():
    made = table(["name", Column("share", form=numbers.percent)], [["a", 0.5], ["b", None]], foot=[["mean", 0.5]])
    assert '<td class="number" data-value="0.5">50.00\u00a0%</td>' in made
    assert '<td class="number">–</td>' in made  # noqa: RUF001 (the dash for nothing)
    assert made.index("<tfoot>") > made.index("</tbody>")


@pytest.mark.parametrize(("side", "kind"), [(32, "png"), (300, "jpeg")])
def test_a_small_picture_is_kept_exactly_and_a_large_one_is_made_smaller(side, kind):
    made = picture(np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8))
    assert made.startswith(f'<img src="data:image/{kind};base64,')
    assert len(made) < 40_000


def test_how_numbers_are_written():
    assert [numbers.percent(v) for v in (0.71234, 1.0, math.nan, None)] == ["71.23\u00a0%", "100.00\u00a0%", "–", "–"]  # noqa: RUF001
    assert [numbers.short(v) for v in (12, 2_122_186, 3.9e8)] == ["12", "2.12\u00a0M", "390\u00a0M"]
    assert [numbers.short(v) for v in (999.4, 999_400, 999_700)] == ["999", "999\u00a0k", "1\u00a0M"]
    assert [numbers.significant(v) for v in (0.8123, 12.0, 1e-5, math.nan)] == ["0.8123", "12.00", "1e-05", "NaN"]
    spans = [numbers.duration(v).replace("\u00a0", " ") for v in (0.85, 12.31, 200, 7500)]
    assert spans == ["850 ms", "12.3 s", "3 min 20 s", "2 h 05 min"]
    assert numbers.show([1, "a", None]) == "1, a, –"  # noqa: RUF001


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.123, 0.124), (-5, 7), (3, 3), (1e-9, 1e-8), (0, 1e9)])
def test_ticks_cover_the_values(low, high):
    ticks = svg.nice_ticks(low, high)
    assert ticks[0] <= low <= high <= ticks[-1]
    assert 2 <= len(ticks) <= 12


def test_epochs_have_no_fractions():
    scale = svg.place(Axis(whole=True), [1, 2, 3], 0, 100)
    assert [text for _, text in scale.ticks] == ["1", "2", "3"]


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show():
    scale = svg.place(Axis(log=True), [0, 0.001, 0.1, math.nan], 0, 100)
    assert math.isnan(scale(0))
    assert scale(0.01) == pytest.approx(50)


def test_decades_are_told_from_a_wide_uniform_range():
    rng = np.random.default_rng(0)
    assert svg.decades([float(v) for v in 10 ** rng.uniform(-4, -1, 50)])
    assert not svg.decades([float(v) for v in rng.uniform(0.001, 0.6, 50)])
    assert not svg.decades([0.0, 1.0, 100.0])


def test_a_chart_alone_is_valid_svg_in_colours_of_its_own():
    made = charts.lines([charts.Series("a<b", [1, 2], [1.0, math.nan])], x=Axis("epoch"), y=Axis("loss"))
    text = svg.standalone(Html(f"<div>{made}</div>"))
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in text
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"


def test_names_of_dots_do_not_lie_on_one_another():
    points = [charts.Point(1 + i / 100, 0.5, f"network {i}") for i in range(8)]
    made = ElementTree.fromstring(charts.scatter([*points, charts.Point(2, 1, "far")], x=Axis("x"), y=Axis("y")))
    places = [(float(t.get("x")), float(t.get("y"))) for t in made.iter("text") if (t.text or "").startswith("network")]
    assert 1 <= len(places) < 8
    assert all(abs(a[1] - b[1]) > 10 or abs(a[0] - b[0]) > 60 for a in places for b in places if a != b)


def test_a_tick_says_the_value_that_it_stands_at():
    for low, high in ((0.885, 0.99), (0.1, 0.9), (0.9931, 0.9972)):
        for at, text in svg.place(svg.Axis("share", share=True), [low, high], 0, 100).ticks:
            assert float(text.removesuffix("\u00a0%")) == pytest.approx(100 * at)
    assert [svg.tick_text(value) for value in (2.5e-4, 1e-5, 1.51e-4, 0.25)] == ["2.5e-4", "1e-5", "1.51e-4", "0.25"]

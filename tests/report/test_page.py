"""The kit: one file that needs nothing else, and in which nothing of a file's own text can act."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.plan import InputFile, Plan
from scanweave.report import (
    Callout,
    Cell,
    Chart,
    Column,
    Details,
    Facts,
    Listing,
    Page,
    Pictures,
    Prose,
    Section,
    Swipe,
    Swipes,
    Table,
    Tile,
    Tiles,
    number,
    render,
    spread,
)
from scanweave.report.charts import Panel, Series, chart
from scanweave.report.pictures import error_scale, picture

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)> $\\frac{}$ {{ 7*7 }} </style> ]]>"


class Tree(HTMLParser):
    """Collects tags and text, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def everything(text: str) -> Page:
    """Return a page that uses every block, each with `text` wherever text can stand."""
    drawn = chart([Panel([Series(text, [0, 1], [2.0, 3.5])], title=text)], x=text, y=text, alt=text, caption=text)
    image = picture(np.zeros((4, 5), np.uint8), text, alt=text)
    blocks = [
        Prose(text),
        Listing([text, (text, text)]),
        Facts({text: text}),
        Callout("alarm", text, [text]),
        Tiles([Tile(text, text, text, text)]),
        Table(text, [Column(text, text)], [[Cell(text, text)], [text]]),
        drawn,
        Pictures([image], title=text, caption=text, scale=error_scale(3, text)),
    ]
    plan = Plan(
        verb="interpolate",
        inputs=(InputFile(path=text, sha256="0", bytes=1),),
        config={"note": text},
        method={"name": text},
    )
    return Page(text, [Section(text, [*blocks, Details(text, blocks)])] * 3, subtitle=text, plan=plan)


def test_the_page_asks_nothing_of_the_network() -> None:
    tree = Tree(render(everything("plain")))
    loads = {name: value or "" for _, attrs in tree.tags for name, value in attrs.items() if name in ("src", "data")}
    links = [attrs[name] or "" for _, attrs in tree.tags for name in ("href", "xlink:href") if name in attrs]
    assert all(value.startswith("data:image/png;base64,") for value in loads.values())
    assert links
    assert all(link.startswith("#") for link in links)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in tree.tags}
    style = "".join(re.findall(r"<style>(.*?)</style>", render(everything("plain")), re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    policies = [a["content"] for t, a in tree.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_links_inside_the_page_lead_somewhere() -> None:
    tree = Tree(render(everything("plain")))
    targets = {attrs["id"] for _, attrs in tree.tags if "id" in attrs}
    links = {
        (attrs[name] or "")[1:] for _, a in tree.tags for attrs in [a] for name in ("href", "xlink:href") if name in a
    }
    assert links <= targets


def _assert_inert(text: str) -> None:
    tree = Tree(render(everything(text)))
    plain = Tree(render(everything("plain")))
    assert {tag for tag, _ in tree.tags} <= {tag for tag, _ in plain.tags}
    assert not [name for _, attrs in tree.tags for name in attrs if name.startswith("on")]
    assert text.strip() in "".join(tree.text)


def test_hostile_text_is_shown_and_does_nothing() -> None:
    _assert_inert(HOSTILE)


@settings(max_examples=8, deadline=None)
@given(st.text(st.sampled_from("<>&\"'/$\\{}%=-! abc;"), min_size=1, max_size=20))
def test_any_text_is_shown_and_does_nothing(text: str) -> None:
    _assert_inert(f"x{text}x")


def test_the_footer_says_what_made_the_page_and_from_what() -> None:
    page = everything("case")
    html = render(Page(page.title, page.sections, plan=page.plan, created=datetime(2031, 2, 3, 4, 5, tzinfo=UTC)))
    text = "".join(Tree(html).text)
    assert "research use only" in text.lower()
    assert page.software in text
    assert "2031-02-03 04:05 UTC" in text
    plan = json.loads(text[text.index('{\n  "schema_version"') :].rpartition("}")[0] + "}")
    assert plan == json.loads(page.plan.model_dump_json())


def test_callouts_are_as_loud_as_they_should_be() -> None:
    html = render(Page("t", [Section("s", [Callout("alarm", "Bad"), Callout("info", "So")])]))
    assert '<div class="callout alarm" role="alert">' in html
    assert '<div class="callout info" role="note">' in html


def test_a_grouped_table_writes_the_group_once() -> None:
    table = Table("t", [Column("gap"), Column("v")], [["2", "a"], ["2", "b"], ["3", "c"]], grouped=True)
    assert [row[0].text for row in table.cells()] == ["2", "", "3"]


def test_a_row_must_fit_its_table() -> None:
    with pytest.raises(ValueError, match="a row of 2 cells in a table of 1 columns"):
        Table("t", [Column("a")], [["1", "2"]])


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [
        (1.005, 1, False, "1.0"),
        (-2.0, 0, False, "−2"),
        (-0.001, 2, True, "0.00"),
        (0.5, 1, True, "+0.5"),
        (float("nan"), 2, False, "–"),
        (None, 2, False, "–"),
        (float("-inf"), 2, False, "−∞"),
    ],
)
def test_numbers_are_written_for_readers(value: float | None, digits: int, signed: bool, text: str) -> None:
    assert number(value, digits, signed=signed) == text


def test_quartiles_are_written_with_the_median_first() -> None:
    assert spread((1.0, 2.0, 3.0), 1) == ("2.0", "[1.0, 3.0]")


def test_a_chart_is_a_block_like_any_other() -> None:
    html = render(Page("t", [Section("s", [Chart("<svg></svg>", "alt text")])]))
    assert 'role="img" aria-label="alt text"><svg></svg>' in html


def test_pictures_to_be_wiped_over_need_one_size_and_no_script() -> None:
    left, right = (picture(np.full((8, 8), shade, np.uint8), name) for shade, name in ((0, "before"), (255, "after")))
    swipes = Swipes([Swipe(left, right, "axial"), Swipe(right, left)], across=2, title="Both")
    tree = Tree(render(Page("Page", [Section("One", [swipes])])))
    inputs = [attrs for tag, attrs in tree.tags if tag == "input"]
    assert {attrs["type"] for attrs in inputs} == {"radio"} and len({attrs["name"] for attrs in inputs}) == 2
    assert [attrs for attrs in inputs if "checked" in attrs] == [inputs[10], inputs[31]]
    assert "script" not in {tag for tag, _ in tree.tags} and "before" in tree.text
    with pytest.raises(ValueError, match="do not lie on one another"):
        Swipe(left, picture(np.zeros((8, 4), np.uint8)))

"""The blocks that a report is made of, and the one template that turns them into a self-contained HTML file."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Literal

from .._version import __version__
from ..plan import Plan

if TYPE_CHECKING:
    from jinja2 import Environment

Level = Literal["good", "info", "warning", "alarm"]
NOTICE = "For research use only; not for diagnosis. Made frames are synthetic."


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """Return `value` as text with a real minus sign; None and NaN are a dash, infinity is its sign.

    Example:
        >>> number(-1.234), number(None), number(float("inf")), number(0.5, 1, signed=True)
        ('−1.23', '–', '∞', '+0.5')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def spread(quartiles: tuple[float, float, float], digits: int = 2) -> tuple[str, str]:
    """Return ``(lower quartile, median, upper quartile)`` as the texts ``median`` and ``[lower, upper]``."""
    lower, median, upper = quartiles
    return number(median, digits), f"[{number(lower, digits)}, {number(upper, digits)}]"


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph of plain text."""

    kind: ClassVar[str] = "prose"
    text: str
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Sentences, one bullet each; a pair is a term in bold and what is said about it."""

    kind: ClassVar[str] = "listing"
    items: Sequence[str | tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, in order."""

    kind: ClassVar[str] = "facts"
    rows: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Callout:
    """A statement that must not be overlooked; the louder the level, the more so."""

    kind: ClassVar[str] = "callout"
    level: Level
    title: str
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Tile:
    """One large number with its name above it and its context below."""

    name: str
    value: str
    unit: str = ""
    context: str = ""
    level: Level = "info"


@dataclass(frozen=True, slots=True)
class Tiles:
    """A row of large numbers."""

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[Tile]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; its unit stands in the header, never in the cells."""

    title: str
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that stands out: the best of its group, or one to worry about; `detail` is set small below the text."""

    text: str
    detail: str = ""
    best: bool = False
    bad: bool = False
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers in rows.

    Attributes:
        caption: What the table shows.
        columns: Titles and units.
        rows: One cell per column.
        grouped: Rows with one first cell belong together: it is written once, and a line parts the groups.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Cell]]
    grouped: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns")

    def cells(self) -> list[list[Cell]]:
        """Return the rows with every cell a `Cell`; the first is empty where it repeats that of its group."""
        rows = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in self.rows]
        if not self.grouped:
            return rows
        return [
            [Cell(""), *row[1:]] if above is not None and row[0] == above[0] else row
            for above, row in zip([None, *rows], rows, strict=False)
        ]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing (`scanweave.report.charts`) and, folded away below it, the numbers that it shows.

    Attributes:
        svg: Inline SVG of our own making; the one thing that is not escaped.
        alt: What a reader who cannot see it should know.
        caption: One sentence below it.
        numbers: The values drawn.
    """

    kind: ClassVar[str] = "chart"
    svg: str
    alt: str
    caption: str = ""
    numbers: Sequence[Table] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """An inline PNG (`scanweave.report.pictures`).

    Attributes:
        data: A ``data:image/png`` address.
        size: (width, height) in pixels of the PNG.
        caption: What stands below it.
        alt: What a reader who cannot see it should know; the caption if empty.
    """

    data: str
    size: tuple[int, int]
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """A colour bar: CSS colours from low to high, and what its ends mean."""

    colours: Sequence[str]
    low: str
    high: str
    name: str


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures side by side, `across` in a row, with a common colour bar if they share a scale."""

    kind: ClassVar[str] = "pictures"
    pictures: Sequence[Picture]
    across: int = 3
    title: str = ""
    caption: str = ""
    scale: Scale | None = None
    stretch: bool = False


@dataclass(frozen=True, slots=True)
class Swipe:
    """Two pictures of one size, one over the other, parted by a line that follows the pointer, a tap, or arrow keys.

    Attributes:
        left: What is seen left of the line.
        right: What is seen right of it.
        caption: What stands below.
    """

    left: Picture
    right: Picture
    caption: str = ""

    def __post_init__(self) -> None:
        if self.left.size != self.right.size:
            raise ValueError(f"pictures of {self.left.size} and {self.right.size} pixels do not lie on one another")

    @property
    def name(self) -> str:
        """A name of its own, by what it shows."""
        return "s" + hashlib.sha256((self.left.data + self.right.data).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Swipes:
    """Pairs of pictures to be wiped over, `across` in a row."""

    kind: ClassVar[str] = "swipes"
    swipes: Sequence[Swipe]
    across: int = 3
    title: str = ""
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks folded away until asked for."""

    kind: ClassVar[str] = "details"
    title: str
    blocks: Sequence[Block]


Block = Prose | Listing | Facts | Callout | Tiles | Table | Chart | Pictures | Swipes | Details


@dataclass(frozen=True, slots=True)
class Section:
    """A headed part of the page."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The name that the table of contents links to."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "section"


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Attributes:
        title: Heading of the page.
        subtitle: One line below it.
        sections: The parts, in order.
        plan: What was run, shown in full at the end.
        notice: The research-use statement.
        created: When the page was made.
    """

    title: str
    sections: Sequence[Section]
    subtitle: str = ""
    plan: Plan | None = None
    notice: str = NOTICE
    created: datetime = field(default_factory=lambda: datetime.now().astimezone())

    @property
    def software(self) -> str:
        """Name and version of what made the page."""
        return f"scanweave {__version__}"


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("scanweave.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(page: Page) -> str:
    """Return the page as one HTML document that needs nothing else: no network, script or font.

    Every string is escaped; a content security policy forbids scripts and requests besides.
    """
    from markupsafe import Markup

    environment = _environment()
    source, _, _ = environment.loader.get_source(environment, "style.css")  # type: ignore[union-attr]
    return environment.get_template("page.html.j2").render(page=page, style=Markup(source), safe=Markup)

"""One kit for every HTML report: pages of plain blocks, charts and pictures in one offline file.

A job builds a `Page` of `Section`s and blocks and hands `render(page)` to whoever writes files::

    page = Page(title="Trust report", sections=(Section("Verdict", (Callout("good", "Better than repetition"),)),))
    html = render(page)

The page needs no network, no script and no font of its own; everything that came from a file is escaped.
"""

from .page import (
    Block,
    Callout,
    Cell,
    Chart,
    Column,
    Details,
    Facts,
    Level,
    Listing,
    Page,
    Picture,
    Pictures,
    Prose,
    Scale,
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
from .statements import OUTCOMES, Statement, gravest_first

__all__ = [
    "OUTCOMES",
    "Block",
    "Callout",
    "Cell",
    "Chart",
    "Column",
    "Details",
    "Facts",
    "Level",
    "Listing",
    "Page",
    "Picture",
    "Pictures",
    "Prose",
    "Scale",
    "Section",
    "Statement",
    "Swipe",
    "Swipes",
    "Table",
    "Tile",
    "Tiles",
    "gravest_first",
    "number",
    "render",
    "spread",
]

"""Pictures and films within a page: SVG that takes the page's colours, and data URIs."""

import base64
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

INK = "#010203"
COLOURS = {  # of matplotlib's, and what stands for them in a page, where the reader's preference decides
    INK: "currentColor",
    "#696969": "var(--soft)",  # dimgrey
    "#808080": "var(--soft)",  # grey
    "#1f77b4": "var(--mark)",
}
STYLE = {
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.linewidth": 0.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.labelcolor": INK,
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
KINDS = {".mp4": "video/mp4", ".gif": "image/gif", ".png": "image/png"}


def drawn(make: Callable[[], Any], name: str) -> str:
    """The figure that `make` makes, as an SVG element; `name` begins its ids, which are those of this one figure."""
    content = io.StringIO()
    with _style(name):
        make().savefig(content, format="svg", metadata=NO_METADATA)
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :]
    for fixed, given in COLOURS.items():
        svg = svg.replace(fixed, given)
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r'\1 role="img"', svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)


def _style(name: str) -> AbstractContextManager[None]:
    import matplotlib

    style: Any = STYLE | {"svg.hashsalt": name}
    return matplotlib.rc_context(style)


def data_uri(path: Path) -> str:
    """The content of a file."""
    return f"data:{KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"

"""The documentation: `make docs` builds it into docs/_build, from these pages, README.md and the docstrings."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sphinx.ext.autodoc.mock import _MockObject

from gpusim.agents.train.discovery import algorithms
from gpusim.version import __version__

_MockObject.__or__ = _MockObject.__ror__ = lambda self, other: self  # in annotations

project = "gpusim"
copyright = "The gpusim authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "code"
nitpicky = True
nitpick_ignore_regex = [("py:(class|data|obj|exc)", ".*")]  # types, for the most part other libraries'

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_mock_imports = [
    "jax", "pufferlib", "ray", "rl_games", "rsl_rl", "sample_factory", "skrl", "stable_baselines3", "tensordict",
    "tianshou", "torchrl",
]  # fmt: skip
napoleon_use_ivar = True
napoleon_custom_sections = [("Returned", "params_style")]
viewcode_line_numbers = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["code.css"]
html_title = f"gpusim {__version__}"
html_show_sphinx = False
templates_path: list[str] = []
pygments_style = "friendly"
pygments_dark_style = "monokai"

NAMED = re.compile(r"    \w+: ")
SECTION = re.compile(r"(Args|Attributes|Raises|Returned|Returns):$")


def as_written(_app: Any, what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings as they are meant.

    What they indent between paragraphs is code, a bar is a bar, and several things may be returned, each with its name. A
    field of a `NamedTuple` is described by the comment beside it. What stands before a colon in a field's first line is no
    type, as napoleon takes it to be unless that line is another: an empty comment.
    """
    if lines and lines[0].startswith("Alias for field number"):
        lines[:] = [comment(name)]
    if what in ("attribute", "property"):
        lines[:] = ["..", "", *(line.replace("|", "\\|") for line in lines)]
    several = "Returns:" in lines and NAMED.match(lines[lines.index("Returns:") + 1])
    lines[:] = ["Returned:" if several and line == "Returns:" else line for line in lines]
    marked: list[str] = []
    code = section = False
    for line, before in zip(lines, ["", *lines], strict=False):
        if line and not line.startswith(" "):
            code, section = False, bool(SECTION.match(line))
        elif line and not before and not code and not section:
            code = True
            marked += ["::", ""]
        marked.append(line)
    lines[:] = marked


def comment(name: str) -> str:
    """Beside a field, by its full name, in the source; it may go on in the next line. Shapes are set as code."""
    module, kind, field = name.rsplit(".", 2)
    source = inspect.getsource(getattr(sys.modules[module], kind))
    match = re.search(rf"^    {field}: [^#\n]*# *(.*(?:\n    # .*)*)", source, re.MULTILINE)
    return re.sub(r"(\[[^\]]*\])", r"`\1`", match[1].replace("\n    # ", " ")) if match else ""


def algorithms_in(_app: Any, page: str, source: list[str]) -> None:
    """A section for each algorithm, at the end of the page about learners."""
    if page == "api/agents":
        section = "\n## {0}\n\n```{{eval-rst}}\n.. automodule:: gpusim.agents.{0}\n   :members: Config, train\n```\n"
        source[0] += "".join(map(section.format, algorithms()))


def settings(_app: Any, what: str, name: str, *_: Any) -> tuple[str, None] | None:
    """Of a configuration the signature would be the list that follows anyway, without its words."""
    return ("(**settings)", None) if what == "class" and name.endswith("Config") else None


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", settings)
    app.connect("source-read", algorithms_in)
    app.connect("autodoc-process-docstring", as_written, priority=400)  # before napoleon

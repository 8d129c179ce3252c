"""The documentation builds without a warning; every snippet of it runs, and its tables hold what the sources say."""

import ast
import dataclasses
import html
import inspect
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpusim.agents.train import discovery
from gpusim.kernels import lang
from tests.pages import NEEDS, ROOT, blocks, desk, lines, run, understood, write_files

DOCS = ROOT / "docs"
PAGES = {str(p.relative_to(DOCS)): p.read_text() for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts}
TRAINERS = {name: text for name, text in PAGES.items() if name.startswith("trainers/") and NEEDS.search(text)}


@pytest.mark.parametrize("name", [n for n, text in PAGES.items() if blocks(text, "python")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_the_snippets_of_a_page_run_in_order(name, tmp_path, monkeypatch):
    run(PAGES[name], name, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", [n for n, text in PAGES.items() if lines(text)])
@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # Box2D's
def test_its_commands_are_understood(name, tmp_path, monkeypatch, capsys):
    write_files(PAGES[name], tmp_path)
    with desk(tmp_path, monkeypatch):
        assert [line for line in lines(PAGES[name]) if not understood(line, monkeypatch, capsys)] == []


@pytest.mark.parametrize(
    "line",
    ["gpusim train ppo CartPole-v1 --learning-rat 1", "gpusim fly", "gpusim plot runs --x moons", "make coffee", "ls",
     'pip install -e ".[moon]"', "python benchmarks/throughput.py --moons 3", "python benchmarks/moon.py"],
)  # fmt: skip
def test_a_wrong_command_is_seen(line, monkeypatch, capsys):
    assert not understood(line, monkeypatch, capsys)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*command, str(DOCS), str(tmp_path / "html")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {str(p.relative_to(tmp_path / "html").with_suffix(".md")) for p in (tmp_path / "html").rglob("*.html")}
    assert set(PAGES) <= pages
    shown = (tmp_path / "html" / "trainers" / "sb3.html").read_text()
    assert "Copies per step on a GPU: one to the host" in shown
    assert "fonts.googleapis" not in shown
    assert "white-space: pre-wrap" in (tmp_path / "html" / "_static" / "code.css").read_text()
    assert 'href="_static/code.css' in (tmp_path / "html" / "quickstart.html").read_text()
    settings = text(tmp_path / "html" / "api" / "agents.html")
    assert [name for name in FIELDS if said(name) not in settings] == []
    assert "learning_rate: Annotated[float, positive and at most 10]" in settings
    assert "Range(" not in settings
    for page in (tmp_path / "html" / "api").glob("*.html"):  # types stand in signatures
        assert "Type:" not in re.sub(r"\s*:", ":", text(page)).split(), page
    page = (tmp_path / "html" / "api" / "lang.html").read_text()
    described = dict(re.findall(r'id="gpusim\.kernels\.lang\.(\w+)".*?<dd>(.*?)</dd>', page, re.DOTALL))
    assert {name for name, text in described.items() if text.strip()} >= set(lang.__all__)


FIELDS = {
    (module.Config, field.name)
    for module in map(discovery.module, discovery.algorithms())
    for field in dataclasses.fields(module.Config)
}


def said(field: tuple) -> str:
    """What the source says beneath a field of a configuration."""
    for cls in field[0].__mro__:
        body = ast.parse(inspect.getsource(cls)).body[0].body if dataclasses.is_dataclass(cls) else []
        for node, after in itertools.pairwise(body):
            if isinstance(node, ast.AnnAssign) and node.target.id == field[1]:
                return plain(after.value.value)
    raise KeyError(field)


def text(page: Path) -> str:
    """What a reader sees of a page."""
    return plain(html.unescape(re.sub(r"<[^>]*>", "", page.read_text())))


def plain(words: str) -> str:
    return " ".join(words.translate(str.maketrans("“”’", '""\'', "`")).split())


def test_the_table_of_trainers_says_what_their_drivers_and_docstrings_do():
    rows = re.findall(
        r"^\| \[.*?\]\((\w+)\.md\) \| `(\w+)` \| (.*?) \| (\w+) \| (\d) \|", PAGES["trainers/index.md"], re.M
    )
    assert {f"trainers/{page}.md" for page, *_ in rows} == set(TRAINERS)
    for page, function, version, mode, copies in rows:
        module = {"numpy": "gymnasium_numpy", "jax": "jax_arrays"}.get(page, page)
        adapter = (ROOT / "gpusim" / "adapters" / f"{module}.py").read_text()
        driver = constants((ROOT / "benchmarks" / "trainers" / f"{module}.py").read_text())
        assert f"`gpusim.adapters.{function}`" in adapter
        assert f"Run with {version}" in adapter.replace("\n    ", " ")
        assert int(copies) == driver["COPIES"], page
        assert mode == ("any" if "in any autoreset mode" in adapter else driver["MODE"]), page


def constants(source: str) -> dict:
    """What a driver assigns at its top."""
    found: dict = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple | ast.Name):
            target, value = node.targets[0], node.value
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = value.elts if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) else [value]
            found |= {n.id: v.value for n, v in zip(names, values, strict=True) if isinstance(v, ast.Constant)}
    return found


@pytest.mark.parametrize("algorithm", discovery.algorithms())
def test_the_page_of_metrics_has_them_all(algorithm, tmp_path):
    """Of a run of every learner, and what it adds in 16 bits."""
    kind = discovery.module(algorithm).Config
    small = {"learning_starts": 64, "batch_size": 16, "total_steps": 256} if hasattr(kind, "learning_starts") else {}
    small |= {"episode_steps": 8} if hasattr(kind, "episode_steps") else {"num_steps": 8}
    config = kind(**{"total_steps": 64, "num_envs": 4, "device": "cpu", **small})
    readings = discovery.module(algorithm).train(config).metrics
    told = set(re.findall(r"`(\w+)`", PAGES["metrics.md"]))
    assert set(readings[-1]) - told == set()

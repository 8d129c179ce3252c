"""README.md runs as a reader would run it, what it names is there, and the Chinese one beside it says the same."""

import io
import re
import tokenize

import pytest

import gpusim
from benchmarks import readme
from gpusim import registry
from gpusim.agents import ppo
from gpusim.envs import ENVIRONMENTS
from gpusim.envs.classic import STATELESS
from gpusim.envs.minatar import ALL_ACTIONS
from gpusim.testing import check_vector_env
from tests.pages import FENCE, ROOT, desk, lines, run, understood, write_files

README = (ROOT / "README.md").read_text()
CHINESE = (ROOT / "README.zh-CN.md").read_text()
MAP = (ROOT / "docs" / "map.md").read_text()
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts]
RESULTS = re.compile(r"<!-- results: (\S+) -->\n(.*?)<!-- end of results -->", re.DOTALL)


def test_it_is_read_in_five_minutes():
    assert len(README.splitlines()) <= 150


def test_the_python_blocks_run_in_order(tmp_path, monkeypatch):
    names = run(README, "README.md", tmp_path, monkeypatch)
    assert names["rollout"].obs.shape == (128, 4096, 4)


def test_its_environment_is_checked_and_trained_on(tmp_path, monkeypatch):
    write_files(README, tmp_path)
    with desk(tmp_path, monkeypatch):
        check_vector_env(gpusim.make("dock:Dock-v0", num_envs=16, device="cpu", max_episode_steps=50))
        config = ppo.Config(env="dock:Dock-v0", device="cpu", num_envs=64, total_steps=100_000, target_return=3.0)
        assert ppo.train(config).ending == "target"


@pytest.mark.parametrize("text", [README, CHINESE], ids=["README.md", "README.zh-CN.md"])
@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # Box2D's
def test_its_commands_are_understood(text, tmp_path, monkeypatch, capsys):
    assert len(lines(text)) > 5
    write_files(text, tmp_path)
    with desk(tmp_path, monkeypatch):
        assert [line for line in lines(text) if not understood(line, monkeypatch, capsys)] == []


def test_the_files_that_it_names_are_there():
    tree = re.search(r"```\n(kernels/.*?)```", MAP, re.DOTALL)
    assert tree
    folder, files = "", []
    for line in tree[1].splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else name
        files.append(folder if name == folder else folder + name)
    paths = [*files, *re.findall(r"`((?:kernels|gpusim|agents|tests)/[\w/]+\.py)`", README + MAP)]
    assert [p for p in paths if not (ROOT / p).exists()] == []


@pytest.mark.parametrize("page", [README, CHINESE, *PAGES], ids=["README.md", "README.zh-CN.md", *map(str, PAGES)])
def test_links_lead_somewhere(page):
    text, folder = (page, ROOT) if isinstance(page, str) else (page.read_text(), page.parent)
    targets = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text))]
    assert [t for t in targets if t and "://" not in t and not (folder / t).exists()] == []


def test_the_table_of_environments_is_of_those_that_there_are():
    """`make readme` writes it."""
    text = (ROOT / "docs" / "environments.md").read_text()
    table = re.search(r"<!-- environments -->\n(.*?)<!-- end of environments -->", text, re.DOTALL)
    assert table
    rows = [line.strip("| ").split(" | ") for line in table[1].splitlines()[2:]]
    assert [row[0] for row in rows] == [env.id for env in ENVIRONMENTS if env not in (*ALL_ACTIONS, *STATELESS)]
    for name, sizes, actions, *_ in rows:
        env = registry.spec(name)
        count = getattr(env.action_space, "n", None) or env.action_space.shape[0]
        assert re.findall(r"\d+", sizes) == [str(size) for size in env.observation_space.shape]
        assert re.findall(r"\d+", actions) == [str(count)]
    assert readme.told(text) == text


def test_llms_txt_lists_all_pages():
    """`make readme` writes it."""
    assert (ROOT / "llms.txt").read_text() == readme.contents()


# --------------------------------------------------------------------------------------------------------- Chinese


def test_the_chinese_one_has_the_same_code():
    ours, theirs = ([(kind, bare(kind, code)) for kind, code in FENCE.findall(text)] for text in (README, CHINESE))
    assert ours == theirs


def test_the_chinese_one_has_the_same_names_links_and_results():
    for what in (spans, links, headings, first_cells):
        assert what(README) == what(CHINESE)
    assert [path for path, _ in RESULTS.findall(README)] == [path for path, _ in RESULTS.findall(CHINESE)]
    assert "(README.zh-CN.md)" in README.splitlines()[2]
    assert "(README.md)" in CHINESE.splitlines()[2]


def bare(kind: str, code: str) -> list[str]:
    """Code without its comments, which are translated; of the tree of files, their names."""
    if kind == "python":
        tokens = tokenize.generate_tokens(io.StringIO(code).readline)
        return [t.string for t in tokens if t.type not in (tokenize.COMMENT, tokenize.NL)]
    return [re.sub(r"\s+#.*", "", line) if kind else line.split()[0] for line in code.splitlines()]


def prose(text: str) -> str:
    return FENCE.sub("", RESULTS.sub("", text))


def spans(text: str) -> list[str]:
    return sorted({" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))})


def links(text: str) -> list[str]:
    """What is linked to and shown, but for the other README."""
    return [link for link in re.findall(r"\]\(([^)]+)\)", prose(text)) if "README" not in link]


def headings(text: str) -> list[str]:
    return re.findall(r"^#+(?= )", prose(text), re.MULTILINE)


def first_cells(text: str) -> list[list[str]]:
    """Of each row of the tables: ids and code in its first cell."""
    return [re.findall(r"`[^`]+`|[\w/]+-v\d", row) for row in re.findall(r"^\| (.*?) \|", prose(text), re.MULTILINE)]

"""Every Python block of README.md runs, in order, as a reader would run them; what it names is there."""

import re
from pathlib import Path

import gymnasium
import pytest

from gpusim import registry
from gpusim.envs import BUILTIN

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def fresh_registry(monkeypatch):
    """The registries of environments, put back afterwards."""
    monkeypatch.setattr(registry, "_ENVS", dict(registry._ENVS))
    before = set(gymnasium.registry)
    yield
    for name in set(gymnasium.registry) - before:
        del gymnasium.registry[name]


@pytest.mark.usefixtures("fresh_registry")
def test_the_python_blocks_run_in_order(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "<README.md>", "exec"), names)
    assert len(blocks) == 6
    assert names["thrifty"] is registry.spec("DockThrifty-v0")
    assert names["rollout"].obs.shape == (128, 4096, 4)
    assert names["result"].ending == "target"
    assert capsys.readouterr().out


def test_the_files_that_it_names_are_there():
    tree = re.search(r"```\n(kernels/.*?)```", README, re.DOTALL)
    assert tree
    folder, files = "", []
    for line in tree[1].splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else name
        files.append(folder if name == folder else folder + name)
    paths = [*files, *re.findall(r"`((?:kernels|gpusim|agents|tests)/[\w/]+\.py)`", README)]
    assert [p for p in paths if not (ROOT / p).exists()] == []


def test_the_table_of_environments_is_that_of_the_registry():
    table = {
        row[0]: row[1:]
        for row in re.findall(r"^\| (\w+-v\d) \| (\d+) \| (?:continuous, )?(\d+) \| (\d+) \|", README, re.MULTILINE)
    }
    assert list(table) == [env.id for env in BUILTIN]
    for name, (entries, actions, limit) in table.items():
        env = registry.spec(name)
        count = getattr(env.action_space, "n", None) or env.action_space.shape[0]
        assert (env.observation_space.shape[0], int(count), env.max_episode_steps) == (
            int(entries),
            int(actions),
            int(limit),
        )

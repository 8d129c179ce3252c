"""Imports point down only, and `import gpusim` does nothing but define things."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gpusim.envs
from gpusim.agents.train.discovery import algorithms

ROOT = Path(__file__).parent.parent
LEVELS = {"kernels": 0, "gpusim": 1, "agents": 2, "tests": 3, "benchmarks": 3, "examples": 3}
LINKS = {("gpusim", "kernels"), ("gpusim", "agents")}


def files():
    for level in LEVELS:
        for path in sorted((ROOT / level).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if parts[:2] not in LINKS and not any(part.startswith(".") for part in parts):
                yield path


FILES = list(files())


def level_of(module):
    """The folder a module lies in; None where it is somebody else's."""
    first, *rest = module.split(".")
    if first == "gpusim" and rest and rest[0] in ("kernels", "agents"):
        return rest[0]
    return first if first in LEVELS else None


def imports(source):
    """The modules that a source imports anywhere, `from a import b` both as `a` and as `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def climbing(folder, source):
    """The imports of a file in `folder` that point up, or to a name that only the repository has."""
    found = []
    for module in imports(source):
        level = level_of(module)
        bare = module.split(".")[0] in ("kernels", "agents")
        if bare or (level is not None and LEVELS[level] > LEVELS[folder]):
            found.append(module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    assert climbing(path.relative_to(ROOT).parts[0], path.read_text()) == []


def test_pointing_up_is_seen():
    assert climbing("kernels", "from gpusim.env import Env") == ["gpusim.env", "gpusim.env.Env"]
    assert climbing("gpusim", "import torch\nfrom gpusim import agents") == ["gpusim.agents"]
    assert climbing("gpusim", "def f():\n    import gpusim.agents.ppo") == ["gpusim.agents.ppo"]
    assert climbing("agents", "from kernels.gae import gae") == ["kernels.gae", "kernels.gae.gae"]
    assert climbing("agents", "from gpusim.kernels.gae import gae\nimport gpusim") == []


def test_every_file_is_looked_at():
    names = {str(p.relative_to(ROOT)) for p in FILES}
    assert {"kernels/lang.py", "gpusim/vector.py", "gpusim/envs/classic/cartpole.py", "agents/__init__.py"} <= names
    assert not any(n.startswith(("gpusim/kernels", "gpusim/agents")) for n in names)


ENVS = sorted((ROOT / "gpusim" / "envs").rglob("*.py"))
ENVIRONMENTS = [p for p in ENVS if re.search(r"^\w+ = (Env|replace)\(", p.read_text(), re.MULTILINE)]
ALGORITHMS = [p for p in sorted((ROOT / "agents").glob("*.py")) if "\nLEARNER = " in p.read_text()]


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda p: p.stem)
def test_environments_do_not_import_each_other(path):
    """They may share a file of their family that holds none."""
    ours = set(imports(path.read_text())) & set(map(named, FILES))
    shared = {named(p) for p in ENVS if p.parent == path.parent and p not in ENVIRONMENTS}
    assert ours <= {"gpusim.env", "gpusim.kernels.lang", "gpusim.render.classic"} | shared


def test_every_environment_is_looked_at():
    files = {Path(inspect.getfile(env.init)) for env in gpusim.envs.ENVIRONMENTS}
    assert files == set(ENVIRONMENTS)


@pytest.mark.parametrize("path", ALGORITHMS, ids=lambda p: p.stem)
def test_algorithms_do_not_import_each_other(path):
    others = {f"gpusim.agents.{p.stem}" for p in ALGORITHMS if p != path}
    assert len(others) == len(ALGORITHMS) - 1
    assert not others & set(imports(path.read_text()))


def test_every_algorithm_is_looked_at():
    assert [p.stem for p in ALGORITHMS] == list(algorithms())
    assert {"a2c", "dqn", "ppo", "pqn", "reinforce"} <= set(algorithms())


def named(path):
    """The module's name, as others import it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("gpusim", *parts)).removesuffix(".__init__")


def circles(sources):
    """Modules that import themselves by way of others, wherever in their source; `sources` by name."""
    to = {name: set(imports(source)) & set(sources) - {name} for name, source in sources.items()}
    found = set()
    for name in sources:
        seen, waiting = set(), set(to[name])
        while waiting:
            seen |= waiting
            waiting = set().union(*(to[other] for other in waiting)) - seen
        found |= {name} & seen
    return sorted(found)


DOORS = {"gpusim.agents", "gpusim.agents.__main__", "gpusim.kernels"}  # every import of the others names the room
AGENTS = {named(p): p.read_text() for p in FILES if p.relative_to(ROOT).parts[0] == "agents"}
INSIDE = {name: source for name, source in AGENTS.items() if name not in DOORS}


@pytest.mark.parametrize(("room", "files"), [("agents", 40), ("kernels", 30)])
def test_nothing_in_a_room_imports_itself_by_way_of_others(room, files):
    inside = {named(p): p.read_text() for p in FILES if p.relative_to(ROOT).parts[0] == room}
    inside = {name: source for name, source in inside.items() if name not in DOORS}
    assert len(inside) > files
    assert circles(inside) == []


def test_a_circle_is_seen():
    sources = {"a": "import b", "b": "def f():\n    from c import x", "c": "import a\nimport d", "d": "import torch"}
    assert circles(sources) == ["a", "b", "c"]


ROOMS = {"parts": 0, "folder": 0, "train": 1, "": 2, "population": 3, "bench": 3, "app": 4}  # "": the algorithms


def room_of(module):
    """The room of `agents` that a module lies in."""
    room = module.removeprefix("gpusim.agents").removeprefix(".").partition(".")[0]
    return room if room in ROOMS else ""


def climbing_between_rooms(name, source):
    """The imports of the module `name` from rooms above its own, or beside it."""
    room = room_of(name)
    ours = set(imports(source)) & set(AGENTS) - DOORS
    return sorted(m for m in ours if room_of(m) != room and ROOMS[room_of(m)] >= ROOMS[room])


@pytest.mark.parametrize("name", INSIDE)
def test_imports_between_rooms_point_down(name):
    assert climbing_between_rooms(name, INSIDE[name]) == []


def test_pointing_up_between_rooms_is_seen():
    up = "def f():\n    from gpusim.agents.app import cli\nfrom gpusim.agents.train.config import RunConfig\nimport gpusim"
    assert climbing_between_rooms("gpusim.agents.train.loop", up) == ["gpusim.agents.app", "gpusim.agents.app.cli"]
    assert climbing_between_rooms("gpusim.agents.parts.graph", up)[-1] == "gpusim.agents.train.config"
    assert climbing_between_rooms("gpusim.agents.folder.lock", "import gpusim.agents.parts.graph") != []
    assert climbing_between_rooms("gpusim.agents.train.loop", "from gpusim.agents import ppo") == ["gpusim.agents.ppo"]
    assert climbing_between_rooms("gpusim.agents.app.cli", "import gpusim.agents.bench.measure\n" + up) == []


def test_every_room_is_in_the_plan():
    folders = {p.parent.name for p in (ROOT / "agents").glob("*/__init__.py")}
    assert folders | {""} == set(ROOMS)
    plan = (ROOT / "CONTRIBUTING.md").read_text().split("```")[1]
    named_there = [line.split()[0].removeprefix("agents/").removesuffix("/") for line in plan.strip().splitlines()]
    assert named_there == list(ROOMS)


def test_a_configuration_makes_nothing():
    assert "gpusim.agents.parts.networks" not in set(imports(INSIDE["gpusim.agents.train.config"]))


LIBRARY = [path for path in FILES if path.relative_to(ROOT).parts[0] in ("kernels", "gpusim", "agents")]
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
OF_OTHERS = {  # libraries that have no other name for it
    "os._exit": "ends a process whose threads hang",
    "kernel._pack_args": "Triton 3.6 compiles without a GPU by no public function",
    "kernel._unsafe_update_src": "Triton takes a function's source from its file, and the lowered one has none",
    "torch._C": "memory of a capture that failed, which torch before 2.13 keeps",
    "torch._C._cuda_endAllocateToPool": "likewise",
    "torch._C._cuda_releasePool": "likewise",
    "torch._inductor": "what AOTInductor compiles and loads by",
    "torch._foreach_copy_": "one kernel for all parameters",
    "torch._foreach_lerp_": "likewise",
    "torch._fused_adam_": "likewise, which torch.optim.Adam calls",
    "x._version": "a tensor's count of writes",
}


def secrets(source):
    """What a module reads or writes of another object that begins with an underscore."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names if _secret(alias.name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
            owner, name = node.args[:2]
            if isinstance(name, ast.Constant) and _secret(name.value) and not _own(owner):
                yield f"{ast.unparse(owner)}.{name.value}"
        elif isinstance(node, ast.Attribute) and _secret(node.attr) and not _own(node.value):
            yield ast.unparse(node)


def _secret(name):
    return name.startswith("_") and not name.startswith("__") and name not in OF_NAMED_TUPLES


def _own(owner):
    return ast.unparse(owner) in ("self", "cls", "super()")


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_reads_anothers_underscore(path):
    assert [found for found in secrets(path.read_text()) if found not in OF_OTHERS] == []


def test_secrets_are_seen():
    assert list(secrets("env._carry = 1\nself.env._step(a)")) == ["env._carry", "self.env._step"]
    assert list(secrets("getattr(env, '_carry')\nfrom gpusim.vector import _live")) == [
        "gpusim.vector._live",
        "env._carry",
    ]
    assert list(secrets("self._carry = step._replace(x=cls._y, z=super()._z)\nenv.__dict__\nimport __future__")) == []


def test_every_secret_of_others_is_still_read():
    read = {found for path in LIBRARY for found in secrets(path.read_text())}
    assert OF_OTHERS.keys() <= read


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = ["triton", "tyro", "rich", "tensorboard", "matplotlib", "gpusim.agents", "torch._dynamo", "torch._inductor"]


def test_importing_does_nothing():
    """No learner, no compiler, no kernel library, no GPU, no seed, no line on the terminal."""
    code = f"""
import random, sys
import numpy, torch
before, numbers = torch.get_rng_state(), numpy.random.get_state()[1].copy()
already, threads, drawn = set(sys.modules), torch.get_num_threads(), random.getstate()
import gpusim
loaded = [m for m in {HEAVY!r} if m in sys.modules and m not in already]
assert not loaded, loaded
assert not torch.cuda.is_initialized()
assert torch.equal(before, torch.get_rng_state())
assert (numbers == numpy.random.get_state()[1]).all() and drawn == random.getstate()
assert threads == torch.get_num_threads()
"""
    assert run(code) == ""


def test_an_eager_environment_needs_neither_compiler_nor_triton():
    code = f"""
import sys
import torch
already = set(sys.modules)
import gpusim
env = gpusim.make("CartPole-v1", 4, device="cpu", backend="eager")
env.reset(seed=0)
env.rollout(3)
loaded = [m for m in {HEAVY!r} if m in sys.modules and m not in already]
assert not loaded, loaded
"""
    assert run(code) == ""


def test_importing_twice_registers_once():
    code = """
import importlib, warnings
warnings.simplefilter("error")
import gpusim
print(importlib.reload(gpusim).env_ids())
"""
    assert run(code).count("'CartPole-v1'") == 1

"""Attributes of vector environments and functions by the names that they had until 0.1."""

import importlib
import warnings

import gymnasium
import pytest

import gpusim
from gpusim.adapters import from_gymnasium
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.sim.stateful import SimulatorVectorEnv
from gpusim.wrappers import Wrapper
from tests.envs import hosted  # noqa: F401  # registers Guess-v0
from tests.envs.slide import Slides

MADE = {
    "VectorEnv": lambda: gpusim.make(CARTPOLE, 2, device="cpu", backend="eager"),
    "HostVectorEnv": lambda: from_gymnasium("Guess-v0", 2, device="cpu", engine="sync"),
    "SimulatorVectorEnv": lambda: SimulatorVectorEnv(Slides(2)),
}


@pytest.mark.parametrize("name", MADE)
def test_env_is_task_now(name):
    made = MADE[name]()
    with pytest.warns(
        DeprecationWarning, match=f"^{name}.env is {name}.task now; the old name goes with gpusim 0.2.$"
    ) as said:
        task = made.env
    assert task is made.task
    assert (len(said), said[0].filename) == (1, __file__)
    made.close()


RENAMED = [
    ("gpusim.render", "chosen", "env_indices"),
    ("gpusim.render", "problem", "render_problem"),
    ("gpusim.kernels.sampling", "Drawn", "ActionSample"),
]


@pytest.mark.parametrize(("name", "old", "new"), RENAMED)
def test_a_module_answers_to_the_old_name_and_says_so(name, old, new):
    module = importlib.import_module(name)
    with pytest.warns(DeprecationWarning, match=f"^{name}.{old} is {name}.{new} now; the old name goes with") as said:
        found = getattr(module, old)
    assert found is getattr(module, new)
    assert (len(said), said[0].filename) == (1, __file__)
    assert all(hasattr(module, public) for public in getattr(module, "__all__", ()))
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize("wrap", [Wrapper, gymnasium.vector.VectorWrapper])
def test_the_env_of_a_wrapper_is_what_it_wraps(wrap):
    """It is Gymnasium's word, and nobody is warned who uses a wrapper."""
    made = gymnasium.make_vec("gpusim/CartPole-v1", num_envs=2, device="cpu", backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrapped = wrap(made)
        wrapped.reset(seed=0)
        wrapped.step(wrapped.action_space.sample())
        assert wrapped.env is made
        assert wrapped.unwrapped.task is CARTPOLE
        wrapped.close()

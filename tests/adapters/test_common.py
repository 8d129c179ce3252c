"""What all adapters share: sentences for bad input, libraries imported late, and the copy to the host."""

import subprocess
import sys

import pytest
import torch

from gpusim import InputError, adapters
from gpusim.adapters.common import Host, require_continuous, require_discrete, require_mode, to_device
from gpusim.wrappers import TransformReward
from tests.envs.test_wrappers import make

BY_ID = ("to_rllib", "to_rl_games", "to_sample_factory")


@pytest.mark.parametrize("module", sorted(adapters.LIBRARIES))
def test_a_missing_library_is_a_sentence(monkeypatch, module):
    imported, library, remedy = adapters.LIBRARIES[module]
    for name in [imported, *(n for n in sys.modules if n.startswith(f"{imported}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"gpusim.adapters.{module}", raising=False)
    function = "to_" + {"jax_arrays": "jax"}.get(module, module)
    with pytest.raises(InputError) as raised:
        getattr(adapters, function)(make() if function not in BY_ID else "CartPole-v1")
    assert str(raised.value) == f"{function} needs {library}, which is not installed: {remedy}."


def test_a_library_that_lacks_another_is_a_sentence(monkeypatch):
    monkeypatch.setattr(adapters, "import_module", raises(ModuleNotFoundError(name="sensai.util")))
    with pytest.raises(InputError, match=r'^to_tianshou needs tianshou, which lacks sensai: pip install "gpusim\[tian'):
        adapters.to_tianshou(make(autoreset_mode="disabled"))
    monkeypatch.setattr(adapters, "import_module", raises(ModuleNotFoundError(name="gpusim.moon")))
    with pytest.raises(ModuleNotFoundError):
        adapters.to_tianshou(make(autoreset_mode="disabled"))


def raises(error):
    def function(_name):
        raise error

    return function


def test_gpusim_and_its_adapters_import_no_trainer():
    libraries = {imported for imported, _, _ in adapters.LIBRARIES.values()}
    code = f"import sys, gpusim, gpusim.adapters; print(sorted({libraries!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_bad_input_is_a_sentence():
    cartpole, pendulum = make(autoreset_mode="next_step"), make("Pendulum-v1")
    sentences = {
        'X resets environments within the step: make this one with autoreset_mode="same_step", not "next_step".': (
            lambda: require_mode(cartpole, "same_step", "X")
        ),
        "X resets environments itself, by a mask: make this one with "
        'autoreset_mode="disabled" or autoreset_mode="same_step", not "next_step".': (
            lambda: require_mode(cartpole, ("disabled", "same_step"), "X")
        ),
        "X has continuous actions only, and those of CartPole-v1 are Discrete(2): "
        "use an environment with a Box, as Pendulum-v1, or another trainer.": lambda: require_continuous(cartpole, "X"),
        "X has discrete actions only, and those of Pendulum-v1 are Box(-2.0, 2.0, (1,), float32): "
        "use an environment with a Discrete, as CartPole-v1, or another trainer.": lambda: require_discrete(
            pendulum, "X"
        ),
        "to_numpy takes what gpusim.make gives, or a wrapper of gpusim.wrappers around it, not str.": (
            lambda: adapters.to_numpy("CartPole-v1")
        ),
    }
    for sentence, call in sentences.items():
        with pytest.raises(InputError) as raised:
            call()
        assert str(raised.value) == sentence


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "MinAtar/Breakout-v1"])
def test_what_is_packed_for_the_way_to_the_host_arrives(env):
    env = make(env, 5)
    env.reset(seed=0)
    for _ in range(3):
        obs, reward, terminated, truncated, infos = env.step(torch.from_numpy(env.action_space.sample()))
        tensors = (
            obs,
            terminated,
            reward,
            truncated,
            infos["final_obs"],
            infos["episode"]["l"],
            reward.double(),
            obs.int(),
        )
        for array, tensor in zip(Host(env)._transferred(tensors), tensors, strict=True):
            assert (array == tensor.numpy()).all()
            assert (array.dtype, array.shape) == (tensor.numpy().dtype, tensor.numpy().shape)
            assert array.flags.aligned
            assert array.flags.writeable


@pytest.mark.parametrize("copy", [True, False])
def test_what_is_on_the_host_is_the_callers_own(copy):
    env = TransformReward(make(num_envs=4, copy=copy), lambda reward: reward * 2)
    host = Host(env)
    env.reset(seed=0)
    kept = []
    for _ in range(30):
        arrays = host(*env.step(torch.ones(4, dtype=torch.int64))[:4])
        kept.append((arrays, [a.copy() for a in arrays]))
    assert all((a == b).all() for arrays, copies in kept for a, b in zip(arrays, copies, strict=True))


def test_on_the_cpu_nothing_is_copied():
    env = make()
    env.reset(seed=0)
    obs, reward, *_ = env.step(torch.zeros(3, dtype=torch.int64))
    assert [a.ctypes.data for a in Host(env)(obs, reward)] == [obs.data_ptr(), reward.data_ptr()]


def test_actions_of_trainers_become_the_environments():
    assert to_device([[0], [1], [1]], make()).tolist() == [0, 1, 1]
    continuous = to_device(torch.tensor([[1.0], [0.5], [-1.0]], dtype=torch.float64), make("Pendulum-v1"))
    assert (continuous.dtype, continuous.shape) == (torch.float32, (3, 1))

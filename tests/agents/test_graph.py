"""What is said of CUDA graphs on a machine that has none: when a capture is made, what happens when it fails, and that the
state of environments stays where a graph would look for it. tests/gpu runs the real thing."""

import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

import gpusim
from gpusim.agents.parts.graph import Captured
from gpusim.agents.ppo import PPO, Config
from gpusim.agents.train import loop
from gpusim.pin import Pin
from gpusim.sim import functional

QUICK = {"num_envs": 8, "num_steps": 4, "minibatches": 2, "epochs": 1, "hidden": (16,), "device": "cpu"}


class Cuda:
    """As much of torch.cuda as a capture touches; `fails` makes the capture one that cannot be."""

    def __init__(self, fails=False):
        self.fails, self.told = fails, []

    def Stream(self, device=None):
        return SimpleNamespace(wait_stream=lambda other: None)

    current_stream = Stream

    @contextmanager
    def stream(self, stream):
        self.told.append("aside")
        yield

    def set_stream(self, stream):
        self.told.append("back")

    def CUDAGraph(self):
        return SimpleNamespace(
            replay=lambda: self.told.append("replay"), register_generator_state=lambda g: self.told.append("generator")
        )

    @contextmanager
    def graph(self, graph, stream=None):
        self.told.append("capture")
        try:
            yield
        finally:
            if self.fails:
                raise RuntimeError("operation not permitted when stream is capturing\nand more")


@pytest.fixture
def cuda(monkeypatch):
    def pretend(**kwargs):
        made = Cuda(**kwargs)
        for name in ("Stream", "current_stream", "stream", "set_stream", "CUDAGraph", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(made, name))
        return made

    return pretend


def test_run_then_captured_then_replayed(cuda):
    made, calls = cuda(), []
    captured = Captured(lambda: calls.append(1) or len(calls), torch.device("cuda"), (torch.Generator(),))
    assert [captured() for _ in range(4)] == [1, 2, 2, 2]
    assert made.told == ["aside", "generator", "capture", "replay", "replay", "replay"]


def test_what_cannot_be_captured_is_called_and_said(cuda):
    cuda(fails=True)
    calls = []
    captured = Captured(lambda: calls.append(1) or len(calls), torch.device("cuda"))
    captured()
    with pytest.warns(UserWarning, match=r"cannot be captured .* \(operation not permitted .* capturing\)"):
        captured()
    before = len(calls)
    assert captured() == before + 1
    assert captured() == before + 2


def test_a_failed_capture_gives_its_generators_back(cuda):
    """The stream and the generators are as before when the warning comes, which may be made an error."""
    made = cuda(fails=True)
    generator = SimpleNamespace(
        clone_state=lambda: "before", graphsafe_set_state=lambda state: made.told.append(f"generator {state}")
    )
    captured = Captured(lambda: None, torch.device("cuda"), (generator,))
    captured()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="cannot be captured"):
            captured()
    assert made.told[-2:] == ["back", "generator before"]
    assert not captured.wanted


def test_the_cause_is_told_and_not_what_followed(cuda):
    cuda(fails=True)

    def function():
        if captured.calls > 1:
            raise RuntimeError("a value was asked for")

    captured = Captured(function, torch.device("cuda"))
    captured()
    with pytest.warns(UserWarning, match="a value was asked for"), pytest.raises(RuntimeError):
        captured()


def test_on_the_cpu_it_is_a_call():
    calls = []
    captured = Captured(lambda: calls.append(1) or len(calls), torch.device("cpu"))
    assert [captured() for _ in range(3)] == [1, 2, 3]


def addresses(env):
    c = env._carry
    return [x.data_ptr() for x in (*c.state, *c.book[:2], c.episode, c.seed)]


def test_environments_are_held_in_the_same_tensors():
    env, twin = (
        gpusim.make("CartPole-v1", 5, device="cpu", params={"gravity": gpusim.Uniform(5.0, 9.0)}) for _ in "ab"
    )
    monkey = torch.zeros(5, dtype=torch.int64)
    for each in (env, twin):
        each._make_stepper = lambda each=each: functional.SyncFree(each.task, each._mode(), each.index, False)
        each.reset(seed=1)
    pin = Pin()
    assert not env.hold(pin)
    where = addresses(env)
    for _ in range(30):
        for each in (env, twin):
            each.step(monkey)
        assert addresses(env) != where
        assert env.hold(pin)
        assert addresses(env) == where
    mine, other = env.get_state(), twin.get_state()
    assert torch.equal(mine.state.x, other.state.x)
    assert torch.equal(mine.params.gravity, other.params.gravity)
    env.set_attr("force", 3.0)
    assert not env.hold(pin)  # a number is compiled in
    assert env.hold(pin)


def test_readings_that_arrive_late_are_all_delivered_in_order(monkeypatch):
    monkeypatch.setattr(loop.Reading, "arrived", lambda self: False)
    seen = []

    class Seen(loop.Observer):
        def reading(self, learner, metrics):
            seen.append((learner.iteration, metrics["iteration"]))

    config = Config(env="CartPole-v1", total_steps=32 * 10, checkpoint_every=8, **QUICK)
    result = loop.run(PPO(config), (Seen(),))
    assert [m["iteration"] for m in result.metrics] == list(range(1, 11))
    assert [at - of for at, of in seen] == [loop.LATE] * 5 + [2, 1, 0] + [1, 0]

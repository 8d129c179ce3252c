"""The host never waits for the GPU, and what it launches can be captured in a graph."""

import pytest
import torch

import gpusim
from gpusim.agents.bench.distinct import distinct
from gpusim.agents.ppo import PPO, Config

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")]
each_env = pytest.mark.parametrize("env", distinct())


def ready(env, num_envs=256, **kwargs):
    vec = gpusim.make(env, num_envs, device="cuda", **kwargs)
    vec.reset(seed=0)
    vec.rollout(8)
    vec.rollout(8, transitions=False)
    return vec, list(vec.rollout(4).action)


@each_env
@pytest.mark.parametrize("mode", ["same_step", "next_step", "disabled"])
def test_step_and_rollout(env, mode, request):
    vec, actions = ready(env, autoreset_mode=mode)
    vec.step(actions[0])
    request.getfixturevalue("no_sync")
    for action in actions:
        vec.step(action)
    vec.rollout(8)
    vec.rollout(8, transitions=False)


def warned(config):
    with pytest.warns(UserWarning, match="PPO runs on torch operations, not on fused kernels"):
        return PPO(config)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("hidden", [(64, 64), (32, 32, 32)], ids=["in kernels", "by torch"])
def test_iterations_of_ppo(env, hidden, request):
    config = Config(
        env=env, num_envs=512, num_steps=16, hidden=hidden, device="cuda", total_steps=10**9,
        normalize_obs=True, normalize_reward=True,
    )  # fmt: skip
    learner = PPO(config) if hidden == (64, 64) else warned(config)
    assert learner.path == ("fused kernels" if hidden == (64, 64) else "torch operations")
    for _ in range(3):  # compiled, and captured where it can be
        learner.iterate()
    request.getfixturevalue("no_sync")
    for _ in range(3):
        losses = learner.iterate()
    torch.cuda.set_sync_debug_mode("default")
    assert all(torch.isfinite(torch.as_tensor(v)).all() for v in losses.values())


@each_env
def test_a_rollout_is_captured_and_replayed(env):
    vec, _ = ready(env)
    state = vec.get_state()
    expected = vec.rollout(8)
    vec.set_state(state)
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        vec.rollout(8)
    torch.cuda.current_stream().wait_stream(stream)
    vec.set_state(state)
    held = vec._carry  # which the graph reads at every replay
    with torch.cuda.graph(graph):
        captured = vec.rollout(8)
    assert vec._carry is not held
    for _ in range(2):
        for x in (captured.obs, captured.reward):
            x.fill_(torch.nan)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(captured.obs, expected.obs)
        assert torch.equal(captured.action, expected.action)
        assert torch.equal(captured.reward, expected.reward)

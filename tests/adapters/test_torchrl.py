"""TorchRL: specs, resets by mask, collectors, and the same transitions as the bare environment gives."""

import logging
import warnings

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("torchrl", reason="torchrl is not installed")
    from tensordict.nn import TensorDictModule
    from torchrl.collectors import Collector
    from torchrl.envs import RewardSum, StepCounter, TransformedEnv
    from torchrl.envs.utils import check_env_specs
    from torchrl.modules import ProbabilisticActor, ValueOperator
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value import GAE

import gpusim
from gpusim.adapters import to_torchrl
from gpusim.wrappers import NormalizeObservation
from tests.envs.test_wrappers import make

logging.getLogger("torchrl").setLevel(logging.WARNING)


def adapted(env="CartPole-v1", num_envs=5, wrap=lambda env: env, **kwargs):
    return to_torchrl(wrap(make(env, num_envs, autoreset_mode="disabled", **kwargs)))


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MinAtar/Breakout-v1"])
def test_specs_are_those_of_what_comes(env):
    env = adapted(env)
    check_env_specs(env)
    assert env.batch_size == (5,)
    assert env.batch_locked


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_transitions_are_those_of_the_bare_environment(env):
    ours, bare = adapted(env, max_episode_steps=30), make(env, 5, autoreset_mode="disabled", max_episode_steps=30)
    ours.set_seed(7)
    seen = ours.rollout(100, break_when_any_done=False)
    obs, _ = bare.reset(seed=7)
    ends = 0
    for step in seen.unbind(1):
        assert torch.equal(step["observation"], obs)
        assert not (step["done"] | step["terminated"] | step["truncated"]).any()
        obs, reward, terminated, truncated, _ = bare.step(step["action"])
        assert torch.equal(step["next", "observation"], obs)
        columns = {"reward": reward, "terminated": terminated, "truncated": truncated, "done": terminated | truncated}
        for name, column in columns.items():
            assert torch.equal(step["next", name], column.unsqueeze(-1)), name
        if (over := terminated | truncated).any():
            obs, _ = bare.reset(options={"reset_mask": over})
            ends += int(over.sum())
    assert ends >= 5


def test_nothing_is_copied():
    env = adapted()
    given = []
    inner = env._env.step
    env._env.step = lambda action: given.append(inner(action)) or given[-1]
    step = env.step(env.rand_action(env.reset()))
    assert step["next", "observation"].data_ptr() == given[0][0].data_ptr()
    assert step["next", "reward"].data_ptr() == given[0][1].data_ptr()


def test_episodes_are_counted_by_torchrls_transforms():
    env = TransformedEnv(adapted(max_episode_steps=20), RewardSum())
    env = env.append_transform(StepCounter())
    seen = env.rollout(60, break_when_any_done=False)["next"]
    over = seen["done"]
    assert over.any()
    assert torch.equal(seen["episode_reward"][over], seen["step_count"][over].float())
    assert seen["step_count"].max() == 20


def test_a_rollout_may_go_on_until_all_are_over():
    env = adapted(max_episode_steps=50)
    env.set_seed(0)
    seen = env.rollout(50, break_when_any_done=False, break_when_all_done=True)
    assert seen["next", "done"].any(1).all()
    lengths = seen["next", "done"].squeeze(-1).int().argmax(1)
    assert len(set(lengths.tolist())) > 1
    assert env._env.validate
    env.rollout(5)  # from a full reset, and complaining again
    with pytest.raises(gpusim.InputError):
        env.step(env.reset().set("action", torch.full((5,), 9)))


def test_seeds():
    a, b, c = adapted(), adapted(), adapted()
    for env, seed in ((a, 1), (b, 1), (c, 2)):
        env.set_seed(seed)
    first = a.reset()["observation"]
    assert torch.equal(first, b.reset()["observation"])
    assert not torch.equal(first, c.reset()["observation"])
    assert not torch.equal(first, a.reset()["observation"])


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_ppo_learns_from_what_a_collector_brings(env):
    torch.manual_seed(0)
    env = adapted(env, wrap=NormalizeObservation)
    observed = env.observation_spec["observation"].shape[-1]
    discrete = env.action_spec.dtype == torch.int64
    heads = ["logits"] if discrete else ["loc", "scale"]
    net = torch.nn.Linear(observed, 2) if discrete else Normal(observed)
    kind = torch.distributions.Categorical if discrete else IndependentNormal
    actor = ProbabilisticActor(
        TensorDictModule(net, ["observation"], heads), heads, distribution_class=kind, return_log_prob=True
    )
    critic = ValueOperator(torch.nn.Linear(observed, 1), ["observation"])
    loss = ClipPPOLoss(actor, critic)
    collector = Collector(
        env,
        actor,
        frames_per_batch=100,
        total_frames=200,
        max_frames_per_traj=15,
        auto_register_policy_transforms=False,
    )
    before, frames = [p.detach().clone() for p in net.parameters()], 0
    optimizer = torch.optim.SGD(loss.parameters(), 0.1)
    for batch in collector:
        frames += batch.numel()
        assert batch["next", "step_count"].max() <= 15
        GAE(gamma=0.99, lmbda=0.95, value_network=critic)(batch)
        losses = loss(batch.reshape(-1))
        (losses["loss_objective"] + losses["loss_critic"]).backward()
        optimizer.step()
    assert frames == 200
    assert all((a != b).any() for a, b in zip(before, net.parameters(), strict=True))


class Normal(torch.nn.Module):
    def __init__(self, observed):
        super().__init__()
        self.mean = torch.nn.Linear(observed, 1)

    def forward(self, obs):
        mean = self.mean(obs).tanh()
        return mean, torch.full_like(mean, 0.1)


class IndependentNormal(torch.distributions.Independent):
    def __init__(self, loc, scale):
        super().__init__(torch.distributions.Normal(loc, scale), 1)


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        (
            {"autoreset_mode": "same_step"},
            "TorchRL resets environments itself, by a mask: "
            'make this one with autoreset_mode="disabled", not "same_step".',
        ),
        (
            {"autoreset_mode": "disabled", "copy": False},
            "TorchRL keeps the tensors of earlier steps: make this environment with copy=True.",
        ),
    ],
)
def test_what_torchrl_cannot_use_is_refused(kwargs, sentence):
    with pytest.raises(gpusim.InputError) as raised:
        to_torchrl(make(**kwargs))
    assert str(raised.value) == sentence

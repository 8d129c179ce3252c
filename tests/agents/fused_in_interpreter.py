"""Run by test_fused.py in processes of their own, in which TRITON_INTERPRET=1 makes kernels run on the CPU."""

import copy
import warnings

import pytest
import torch

import gpusim
from gpusim.agents.parts.optimizer import Adam
from gpusim.agents.ppo import PPO, Config
from gpusim.agents.train.loop import run
from gpusim.errors import NotFinite
from gpusim.kernels.finite import Found
from gpusim.kernels.gae import gae_torch
from gpusim.kernels.launch import recording
from gpusim.kernels.loss import Batch, ppo_loss
from gpusim.kernels.shuffle import shuffle_torch
from tests.agents import probes, test_finite
from tests.agents import ranks as ranked
from tests.interpreter import quicken

quicken()
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # in lanes that the mask leaves out

SMALL = {
    "device": "cpu", "backend": "triton", "num_envs": 20, "num_steps": 7, "minibatches": 3, "epochs": 2,
    "hidden": (16, 24), "total_steps": 140 * 4, "seed": 3,
}  # fmt: skip


def learner(env="CartPole-v1", **changes):
    return PPO(Config(env=env, **(SMALL | changes)))


def by_torch(fused):
    """The parameters and statistics after an iteration from where `fused` stands, by torch alone."""
    config, network = fused.config, copy.deepcopy(fused.network)
    optimizer = Adam(network.parameters(), max_grad_norm=config.max_grad_norm)
    optimizer.load_state_dict(fused.optimizer.state_dict())
    env = gpusim.make(config.env, config.num_envs, device="cpu", backend="eager")
    env.reset(seed=config.seed)
    env.set_state(fused.env.get_state())
    normalizer = network.normalizer
    scaling = (normalizer.mean.float(), normalizer.scale()) if normalizer else (None, None)
    policy = fused.fused.policy._replace(flat=optimizer.flat.clone(), mean=scaling[0], scale=scaling[1])
    rollout = env.rollout(config.num_steps, policy)
    done, extras = rollout.terminated | rollout.truncated, rollout.extras
    reward = copy.deepcopy(fused.reward_scale)(rollout.reward, done) if fused.reward_scale else rollout.reward
    advantage = gae_torch(
        reward, extras["value"], extras["next_value"], rollout.terminated, done, config.gamma, config.lam
    )
    fields = (
        rollout.obs,
        extras["sample"],
        extras["log_prob"],
        extras["value"],
        advantage,
        advantage + extras["value"],
    )
    batch, seed = Batch(*(x.flatten(0, 1) for x in fields)), env.seed
    for epoch in range(config.epochs):
        counter = torch.tensor(fused.iteration * config.epochs + epoch)
        for rows in shuffle_torch(config.steps_per_iteration, seed, counter).tensor_split(config.minibatches):
            part = Batch(*(x[rows] for x in batch))
            losses = ppo_loss(config.loss, part, network.distribution(part.obs), network.value(part.obs))
            optimizer.step(losses.total, fused.learning_rate())
    if normalizer:
        normalizer.update(rollout.obs)
    return network, optimizer, losses


CASES = {
    "plain": {},
    "relu": {"activation": "relu", "clip_value": True, "entropy_coef": 0.01},
    "normalized": {"normalize_obs": True, "normalize_reward": True, "normalize_advantage": False},
    "wide": {"hidden": (96, 16), "normalize_obs": True, "epochs": 1},
    "gaussian": {"env": "Pendulum-v1", "normalize_obs": True, "normalize_reward": True, "entropy_coef": 0.01},
}


@pytest.mark.parametrize("case", CASES)
def test_an_iteration_is_the_one_on_torch(case):
    """Two iterations, each from the same start; what learns, learns the same."""
    fused = learner(**CASES[case])
    for _ in range(2):
        before = fused.optimizer.flat.clone()
        network, optimizer, losses = by_torch(fused)
        metrics = fused.iterate()
        assert (optimizer.flat - before).abs().max() > 1e-3
        torch.testing.assert_close(fused.optimizer.flat, optimizer.flat, atol=3e-5, rtol=1e-4)
        torch.testing.assert_close(fused.optimizer.moment2, optimizer.moment2, atol=1e-6, rtol=1e-3)
        assert fused.optimizer.steps == optimizer.steps
        for name, value in losses._asdict().items():
            torch.testing.assert_close(metrics[name], value.detach(), atol=1e-4, rtol=1e-3, msg=lambda m, n=name: n + m)
        for mine, theirs in zip(fused.network.buffers(), network.buffers(), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("normalize_obs", [False, True])
def test_it_begins_as_on_torch(normalize_obs):
    """With a rollout of no other use than its statistics, where there are such, and otherwise with none."""
    ours, theirs = (learner(normalize_obs=normalize_obs, backend=backend) for backend in ("triton", "eager"))
    assert (ours.path, theirs.path) == ("fused kernels", "torch operations")
    assert ours.env.clock == theirs.env.clock == (SMALL["num_steps"] if normalize_obs else 0)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_two_ranks_are_one_on_kernels(env):
    """The gradient's parts are added up, then the ranks' sums, and then there is a step."""
    changes = {"num_envs": 16, "num_steps": 6, "shards": 4, "minibatches": 3, "epochs": 2, "total_steps": 96 * 4}
    changes |= {"normalize_obs": True, "normalize_reward": True}
    alone, ranks = ranked.fused(env, changes), ranked.together(2, ranked.fused, env, changes)
    for field, whole in alone["rollout"].items():
        assert torch.equal(torch.cat([rank["rollout"][field] for rank in ranks], -1), whole), field
    assert torch.equal(ranks[0]["weights"], ranks[1]["weights"])
    torch.testing.assert_close(ranks[0]["weights"], alone["weights"], atol=1e-5, rtol=0)
    torch.testing.assert_close(ranks[0]["statistics"], alone["statistics"], atol=0, rtol=1e-6)
    for name, loss in alone["losses"].items():
        torch.testing.assert_close(ranks[1]["losses"][name], loss, atol=1e-4, rtol=1e-3)


def test_which_path_is_taken():
    assert learner().path == "fused kernels"
    with recording() as launches:
        fused = learner()
        launches.clear()
        fused.iterate()
    names = [launch.kernel.fn.__name__ for launch in launches]
    assert names.count("rollout_kernel") == names.count("gae_kernel") == 1
    assert names.count("ppo_gradient_kernel") == names.count("sum_parts_kernel") == 2 * 3
    assert names.count("adam_kernel") == 2 * 3
    assert names.count("shuffle_kernel") == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hidden": (16,)}, "the network has 1 hidden layers; kernels take 2"),
        ({"hidden": (8, 16)}, "the hidden layers have 8 and 16 units"),
        ({"target_kl": 0.01}, "target_kl has the host decide"),
        ({"network": "gru", "minibatches": 4}, "the network remembers"),
        ({"precision": "fp16"}, "they do not multiply in fp16"),
    ],
)
def test_torch_serves_where_kernels_cannot_and_says_so(changes, reason):
    with pytest.warns(UserWarning, match=f"not on fused kernels: {reason}"):
        other = learner(**changes)
    assert other.path == "torch operations"
    before = other.optimizer.flat.clone()
    assert other.iterate()["total"].isfinite()
    assert (other.optimizer.flat != before).any()


def test_kernels_learn_on_environments_that_are_handed_in():
    def handed(params):
        env = gpusim.make("CartPole-v1", SMALL["num_envs"], device="cpu", backend="triton", params=params)
        one = PPO(Config(env="CartPole-v1", **SMALL), env)
        assert one.path == "fused kernels"
        one.iterate()
        assert one.env is env
        return one

    other = learner()
    other.iterate()
    as_made, changed = handed(None), handed({"force": gpusim.Uniform(1.0, 2.0)})
    assert torch.equal(as_made.optimizer.flat, other.optimizer.flat)
    assert not torch.equal(changed.optimizer.flat, other.optimizer.flat)
    assert ((changed.env.get_state().params.force >= 1.0) & (changed.env.get_state().params.force < 2.0)).all()


def test_resumed_bit_for_bit():
    changes = CASES["normalized"]
    whole = learner(**changes)
    for _ in range(2):
        whole.iterate()
    first = learner(**changes)
    first.iterate()
    kept = copy.deepcopy(first.state())
    second = learner(**changes)
    second.load(kept)
    second.iterate()
    for name, module in whole.modules().items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, second.modules()[name].state_dict()[key]), (name, key)
    assert torch.equal(whole.env.get_state().elapsed, second.env.get_state().elapsed)
    assert whole.env.clock == second.env.clock


def test_environments_may_be_moved_between_iterations():
    fused = learner()
    fused.iterate()
    fused.env.step(torch.zeros(20, dtype=torch.int64))
    fused.env.set_attr("gravity", 5.0)
    _, optimizer, _ = by_torch_with(fused, gravity=5.0)
    fused.iterate()
    torch.testing.assert_close(fused.optimizer.flat, optimizer.flat, atol=3e-5, rtol=1e-4)


def by_torch_with(fused, **params):
    made = gpusim.make
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpusim, "make", lambda *a, **k: made(*a, **k, params=params))
        return by_torch(fused)


def test_it_learns():
    """The action that follows the observation, as in test_probes.py."""
    settings = {"num_envs": 64, "num_steps": 4, "hidden": (16, 16), "total_steps": 256 * 25, "learning_rate": 1e-2}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        result = run(learner(probes.MATCHED.id, gamma=0.5, epochs=2, minibatches=2, **(settings | {"seed": 1})))
    assert result.learner.path == "fused kernels"
    probability = result.learner.network.distribution(torch.tensor([[1.0], [-1.0]])).logits.softmax(-1)
    assert probability[0, 1] > 0.9
    assert probability[1, 0] > 0.9


@pytest.mark.parametrize("quantity", ["reward", "observation"])
def test_a_number_that_is_none_is_found_within_the_kernels_and_told_with_the_metrics(quantity):
    env, config = test_finite.spoiled(quantity, float("nan")), SMALL | {"total_steps": 140 * 100}
    made = PPO(Config(env=env.id, **config))
    assert made.path == "fused kernels"
    with pytest.raises(NotFinite, match=f"the {quantity} of environment") as stopped:
        run(made)
    error, found, kept = stopped.value, Found(*made.watch.noted.tolist()), made.fused.out
    seen = (kept.obs[:, 1], kept.next_value, kept.reward)[found.quantity]
    assert seen[found.step, error.environment].isnan()
    assert not kept.reward[: found.step].isnan().any()
    assert not kept.obs[: found.step].isnan().any()
    assert error.step == kept.episode_length[found.step, error.environment] - int(found.quantity == 0)
    assert error.episode <= made.env.get_state().episode[error.environment]
    assert error.actions is None


def test_weights_that_are_no_numbers_are_told_from_observations():
    made = learner(env="CartPole-v1", log_every=1000, total_steps=140 * 5)
    made.iterate()
    made.optimizer.flat.data[0] = torch.nan
    made.iterate()
    assert not made.watch.noted.any()
    with pytest.raises(NotFinite, match="weights of the network are not finite"):
        made.require_finite()

"""A NaN or an infinity ends a run in a sentence that says where, nothing of it is kept, and anybody can play it again."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from gymnasium.spaces import Box, Discrete

import gpusim
from gpusim.agents import a2c, dqn, ppo, pqn, reinforce
from gpusim.agents.app.cli import main
from gpusim.agents.parts.finite import Watch
from gpusim.agents.train import evaluate
from gpusim.agents.train.loop import Reading, run
from gpusim.agents.train.run import RunFolder, make_learner
from gpusim.errors import InputError, NotFinite
from gpusim.host import HostEnv, HostStep
from gpusim.kernels.lang import where

LEARNERS = {m.__name__.rpartition(".")[2]: m for m in (ppo, a2c, reinforce, dqn, pqn)}
CARTPOLE = gpusim.spec("CartPole-v1")
EDGE = 0.12  # of the cart's place, which few episodes reach


def bad_reward(state, action, next_state, reward, terminated, params):
    huge = (0.0 * reward + params.huge) * params.huge  # too much for float32
    return where(next_state.x > params.edge, huge * params.sign, reward)  # of 0: NaN


def bad_observation(s, p):
    return s.x, where(s.x > p.edge, (0.0 * s.x + p.huge) * p.huge * p.sign, s.x_dot), s.theta, s.theta_dot


def spoiled(quantity, value, edge=EDGE):
    numbers = {"edge": edge, "huge": 1e30, "sign": 0.0 if value != value else 1.0}
    env = CARTPOLE.with_reward(bad_reward, params=numbers, id=f"{quantity}{value}{edge}-v0")
    if quantity == "observation":
        env = replace(CARTPOLE, id=env.id, params=env.params, step=CARTPOLE.step, observe=bad_observation)
    return gpusim.registry._ENVS.get(env.id) or gpusim.registry.register(env)


def replayed(env, error):
    """The recipe of the documentation: what comes of the environment's actions, played once more."""
    alone = gpusim.make(env, num_envs=error.environment + 1, device="cpu")
    obs, _ = alone.reset(seed=error.seed)
    for _ in range(error.episode):
        obs, _ = alone.reset()
    reward = torch.zeros(error.environment + 1)
    for action in error.actions:
        last = obs, reward
        obs, reward, _, _, infos = alone.step(action.expand(error.environment + 1, *action.shape).contiguous())
    assert last[0][-1].isfinite().all()
    assert last[1][-1].isfinite()
    return infos["final_obs"][-1], reward[-1]


QUICK = {"device": "cpu", "num_envs": 8, "total_steps": 20_000, "hidden": (8, 8)}


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize(("quantity", "value"), [("reward", float("nan")), ("observation", float("inf"))])
def test_a_run_ends_where_a_number_is_none(learner, quantity, value):
    module, env = LEARNERS[learner], spoiled(quantity, value)
    with pytest.raises(NotFinite) as stopped:
        module.train(module.Config(env=env.id, **QUICK))
    error = stopped.value
    assert error.quantity == quantity
    assert (
        f"the {quantity} of environment {error.environment} is not finite (nan or infinite) after step {error.step} of its "
        f"episode {error.episode}, both counted from the reset with seed 0"
    ) in str(error)
    assert "\n" not in str(error)
    assert len(error.actions) == error.step
    obs, reward = replayed(env.id, error)
    assert bool(reward.isfinite()) == (quantity != "reward")
    assert bool(obs.isfinite().all()) == (quantity != "observation")
    assert pickle.loads(pickle.dumps(error)).step == error.step


def test_the_hundredth_episode_of_one_environment_is_found_and_replayed():
    """The actions of episodes that began in earlier rollouts are remembered."""
    env = spoiled("reward", float("nan"), 0.35)
    with pytest.raises(NotFinite) as stopped:
        a2c.train(a2c.Config(env=env.id, **QUICK | {"num_steps": 4}))
    assert stopped.value.step > 4  # which is a rollout
    assert replayed(env.id, stopped.value)[1].isnan()


@pytest.mark.parametrize("learner", LEARNERS)
def test_an_absurd_learning_rate_is_refused(learner):
    module = LEARNERS[learner]
    with pytest.raises(InputError, match="learning_rate must be positive and at most 10, not 1e\\+38"):
        module.train(module.Config(env="CartPole-v1", learning_rate=1e38, **QUICK))


def great_reward(state, action, next_state, reward, terminated, params):
    return reward * params.great


@pytest.mark.parametrize(
    ("learner", "what"), [("ppo", "the metric total is"), ("reinforce", "weights of the network are")]
)
def test_rewards_that_are_too_large_are_told_to_be_the_cause(learner, what):
    env = CARTPOLE.with_reward(great_reward, params={"great": 1e34}, id="Great-v0")
    config = LEARNERS[learner].Config(**QUICK, **({"normalize_reward": False} if learner == "ppo" else {}))
    said = rf"^{what} not finite .*: the rewards are too large for float32 \(the mean return is .*\), so scale them down\.$"
    with pytest.raises(NotFinite, match=said):
        LEARNERS[learner].train(config, env)


def spoiled_after(learner, iteration, spoil):
    """The learner, one of whose iterations ends with `spoil(losses)`."""
    iterate = learner.iterate

    def spoiling():
        losses = iterate()
        return spoil(losses) if learner.iteration == iteration else losses

    learner.iterate = spoiling
    return learner


@pytest.mark.parametrize("name", LEARNERS)
def test_weights_and_losses_that_are_none_end_a_run(name):
    small = QUICK | {"total_steps": 4 * 8 * 500, "checkpoint_every": 3, "log_every": 1000}

    def spoil_weights(losses):
        learner.weights()[-1].data[0] = torch.nan
        return losses

    learner = spoiled_after(make_learner(name, LEARNERS[name].Config(env="CartPole-v1", **small)), 2, spoil_weights)
    with pytest.raises(NotFinite, match=r"weights of the network are not finite .* try a smaller learning_rate"):
        run(learner)
    learner = make_learner(name, LEARNERS[name].Config(env="CartPole-v1", **small | {"log_every": 1}))

    def spoil_a_loss(losses):
        learner.learning = True  # DQN's begins later
        return losses | {next(iter(losses)): torch.tensor(torch.inf)}

    spoiled_after(learner, 3, spoil_a_loss)
    with pytest.raises(NotFinite, match=r"the metric \w+ is not finite .* after iteration 3"):
        run(learner)


def test_actions_that_are_none_are_the_policys():
    learner = ppo.PPO(ppo.Config(env="Pendulum-v1", **QUICK))
    learner.network.actor[-1].bias.data.fill_(torch.nan)
    with pytest.raises(NotFinite, match="what the policy answers to the observation of environment 0 is not finite"):
        learner.collect(2)
    with pytest.raises(NotFinite, match="what the policy answers"):
        evaluate.evaluate(lambda obs: learner.network.act(obs, None), "Pendulum-v1", 3, 0, "cpu")


@pytest.mark.parametrize("quantity", ["reward", "observation"])
def test_an_evaluation_of_what_is_no_number_is_refused(quantity):
    env = spoiled(quantity, float("nan"), 0.1)
    with pytest.raises(NotFinite, match=f"the {quantity} of environment .* played from the reset with seed 7"):
        evaluate.evaluate(lambda obs: torch.ones(len(obs), dtype=torch.int64), env.id, 20, 7, "cpu")


# ------------------------------------------------------------------------------------------------------ run folders


def command(capsys, *args):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in args])
    return ended.value.code or 0, *capsys.readouterr()


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def checkpoints(folder):
    return [torch.load(p, weights_only=True)["state"] for p in sorted((folder / "checkpoints").glob("*.pt"))]


def test_the_last_finite_checkpoint_is_kept_and_resume_finds_it(tmp_path, capsys):
    folder, env = tmp_path / "run", spoiled("reward", float("nan"), 0.35)
    args = ["--num-envs", 8, "--num-steps", 16, "--checkpoint-every", 1, "--run-dir", folder, "--device", "cpu"]
    code, out, err = command(capsys, "train", "ppo", env.id, *args)
    assert code == 1
    assert err.startswith("gpusim: the reward of environment")
    assert err.count("\n") == 1
    assert "scores" not in out
    facts = strict((folder / "not_finite.json").read_text())
    kept = checkpoints(folder)
    assert kept[-1]["iteration"] == facts["iteration"] - 1
    assert all(x.isfinite().all() for state in kept for x in state["network"].values())
    assert f"the newest of iteration {kept[-1]['iteration']}: `gpusim resume {folder}` goes on" in err
    readings = [strict(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["iteration"] for r in readings] == list(range(1, facts["iteration"]))
    strict((folder / "config.json").read_text())
    code, out, again = command(capsys, "resume", folder)
    assert code == 1
    assert "the run had stopped: the reward of environment" in out
    assert again.split(";")[0] == err.split(";")[0]
    assert strict((folder / "not_finite.json").read_text()) | {"actions": 0, "sentence": 0} == facts | {
        "actions": 0,
        "sentence": 0,
    }


def test_no_checkpoint_is_written_of_weights_that_are_none(tmp_path):
    """Seen at the checkpoint, though the next reading is far."""
    config = a2c.Config(env="CartPole-v1", run_dir=tmp_path / "run", log_every=1000, checkpoint_every=2, **QUICK)
    learner = a2c.A2C(config)
    folder = RunFolder.create(config.run_dir, "a2c", config)
    folder.checkpoint(learner, [])
    learner.network.actor[-1].bias.data.fill_(torch.nan)
    with pytest.raises(NotFinite, match="weights"):
        run(learner, (folder,))
    assert [p.name for p in folder.checkpoints.files()] == ["00000000.pt"]
    learner.iteration = 1
    folder.checkpoint(learner, [])
    with pytest.raises(NotFinite, match=r"weights of the policy in .* are not finite"):
        evaluate.load_policy(config.run_dir, device="cpu")


@pytest.mark.parametrize("learner", LEARNERS)
def test_training_from_python_writes_the_folder(learner, tmp_path):
    module, small = LEARNERS[learner], {"episode_steps": 16} if learner == "reinforce" else {"num_steps": 16}
    more = {"learning_starts": 128, "batch_size": 16} if learner == "dqn" else {}
    config = module.Config(run_dir=tmp_path / "run", **QUICK | {"total_steps": 256} | small | more)
    result = module.train(config)
    folder = RunFolder.open(tmp_path / "run")
    assert (folder.algorithm, folder.config) == (learner, config)
    assert [m["iteration"] for m in folder.metrics()] == [m["iteration"] for m in result.metrics]
    assert checkpoints(folder.path)[-1]["iteration"] == 2
    assert (folder.path / "curve.png").stat().st_size
    with pytest.raises(gpusim.InputError, match="exists already"):
        module.train(config)


def test_a_run_from_python_that_stops_says_so_in_its_folder(tmp_path):
    env = spoiled("reward", float("nan"))
    with pytest.raises(NotFinite, match="has the place; there is no checkpoint yet"):
        reinforce.train(reinforce.Config(env=env.id, run_dir=tmp_path / "run", **QUICK))
    facts = strict((tmp_path / "run" / "not_finite.json").read_text())
    assert facts["quantity"] == "reward"
    assert len(facts["actions"]) == facts["step"]


def test_metrics_before_the_first_episode_are_null(tmp_path):
    ppo.train(ppo.Config(run_dir=tmp_path / "run", **QUICK | {"total_steps": 16, "num_steps": 2}))
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert strict(line)["return"] is None
    (read,) = RunFolder.open(tmp_path / "run").metrics()
    assert read["return"] != read["return"]


# ------------------------------------------------------------------------------------------------------ elsewhere


class Walk:
    """Environments of the host whose episodes have five steps; the reward of one is NaN once."""

    where = "here"

    def __init__(self, num_envs):
        self.time, self.num_envs = 0, num_envs

    def reset(self, seed, mask):
        return torch.zeros(self.num_envs, 2).numpy(), None

    def send(self, actions):
        self.time += 1

    def receive(self):
        reward, over = torch.ones(self.num_envs), torch.full((self.num_envs,), self.time % 5 == 0)
        reward[1] = torch.nan if self.time == 13 else 1.0
        obs = torch.full((self.num_envs, 2), 0.1).numpy()
        return HostStep(obs, reward.numpy(), over.numpy(), (~over & False).numpy(), obs if over.all() else None, None)

    def close(self):
        pass

    kill = close


def test_environments_of_the_host_tell_seed_episode_and_step():
    env = HostEnv("Walk-v0", Box(-1.0, 1.0, (2,)), Discrete(2), None, None, {"here": Walk})
    with pytest.raises(
        NotFinite, match=r"the reward of environment 1 .* after step 3 of its episode 2, .* seed 4"
    ) as stopped:
        ppo.train(ppo.Config(env=env, seed=4, **QUICK | {"num_steps": 8}))
    assert (stopped.value.episode, stopped.value.step) == (2, 3)


def test_what_is_found_travels_with_the_metrics():
    """As on a GPU, where the host looks at no value before they have arrived."""
    learner = ppo.PPO(ppo.Config(env="CartPole-v1", **QUICK))
    learner.watch.noted.copy_(torch.tensor([1, 2, 5, 3, 4, 7]))
    reading = Reading(learner, {}, 0.0)
    with pytest.raises(NotFinite, match=r"reward of environment 3 .* after step 7 of its episode 4") as stopped:
        reading.numbers(0.0)
    assert stopped.value.actions is None


def test_only_so_many_actions_are_remembered(monkeypatch):
    monkeypatch.setattr("gpusim.agents.parts.finite.REMEMBERED", 3 * 8 * 4 * 8)
    learner = ppo.PPO(ppo.Config(env="CartPole-v1", **QUICK))
    for _ in range(5):
        learner.collect(4)
    assert len(learner.watch.actions) == 3
    assert isinstance(learner.watch, Watch)


def test_a_return_that_is_too_large_is_no_score():
    env = gpusim.spec("CartPole-v1").with_reward(lambda s, a, n, r, t, p: r * 3e38, id="Huge-v0")
    with pytest.raises(gpusim.NotFinite, match="the return of environment 0 is not finite"):
        evaluate.evaluate(pushed_left, env, 3, 0, "cpu")
    with pytest.raises(gpusim.NotFinite, match="the return of environment 0 is not finite"):
        evaluate.play(pushed_left, gpusim.make(env, 2, device="cpu"), 3, 0)


def pushed_left(obs):
    return torch.zeros(len(obs), dtype=torch.int64)

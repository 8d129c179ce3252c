"""The contract of `VectorEnv`: resets, time limits, statistics, seeds, state, parameters, rollouts."""

import itertools

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

import gpusim
from gpusim import Uniform, book, engine
from gpusim.envs.classic import CLASSIC
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.envs.classic.pendulum import PENDULUM
from gpusim.kernels.lang import STREAM_INIT, STREAM_PARAMS, STREAM_STEP, Rng, uniform
from gpusim.sim import functional
from gpusim.sim.cpu import eager
from gpusim.testing import check_vector_env
from tests.envs.toys import TOY

MODES = ["same_step", "next_step", "disabled"]
each_mode = pytest.mark.parametrize("mode", MODES)
each_env = pytest.mark.parametrize("env", [*CLASSIC, TOY], ids=lambda e: e.id)


def make(env=CARTPOLE, num_envs=5, **kwargs):
    return gpusim.make(env, num_envs, **({"device": "cpu", "backend": "eager"} | kwargs))


def actions(env, count, seed=0):
    """`count` steps of random actions; those of the first environments do not depend on how many there are."""
    columns = []
    for index in range(env.num_envs):
        space = type(env.single_action_space)(**_arguments(env.single_action_space))
        space.seed(seed * 10_000 + index)
        columns.append([space.sample() for _ in range(count)])
    return torch.from_numpy(np.array(columns).swapaxes(0, 1).copy())


def _arguments(space):
    return {"n": space.n} if hasattr(space, "n") else {"low": space.low, "high": space.high}


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return a.dtype == b.dtype and torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


class Plain:
    """One environment, alone, as a plain Python loop would have it: what `VectorEnv` has to agree with, bit for bit."""

    def __init__(self, env, seed, index, mode, limit, params):
        self.env, self.seed, self.mode, self.limit, self.given = env, seed, mode, limit, params
        self.arrays = eager.keeps_to_vocabulary(env)  # the eager step runs on NumPy arrays then
        self.index = np.array([index]) if self.arrays else torch.tensor([index])
        self.episode, self.over = -1, False
        self.begin()

    def rng(self, stream):
        return Rng(self.seed, self.index, self.episode, self.length, stream)

    def begin(self):
        self.episode, self.length, self.total, self.over = self.episode + 1, 0, np.float32(0), False
        drawn = (u for u in self.given if isinstance(u, Uniform))
        drawn = [uniform(self.rng(STREAM_PARAMS), i, u.low, u.high) for i, u in enumerate(drawn)]
        self.params = type(self.given)(*(drawn.pop(0) if isinstance(p, Uniform) else p for p in self.given))
        self.state = self.env.init(self.rng(STREAM_INIT), self.params)

    def obs(self):
        return torch.stack([torch.as_tensor(x) for x in self.env.observe(self.state, self.params)], 1).float()

    def act(self, action):
        lanes = action[None] if action.ndim == 0 else tuple(action[:, None]) if len(action) > 1 else action
        lanes = np.asarray(lanes) if self.arrays else lanes
        new, reward, ended = self.env.step(self.state, lanes, self.rng(STREAM_STEP), self.params)
        if self.arrays:
            new = type(new)(*(x.astype(old.dtype) for x, old in zip(new, self.state, strict=True)))
        self.state = new
        return np.float32(reward[0]), bool(ended)

    def step(self, action):
        """obs, reward, terminated, truncated, final_obs, return, length, whether obs begins an episode."""
        if self.over and self.mode == "next_step":
            self.begin()
            return self.obs(), 0.0, False, False, self.obs(), 0.0, 0, True
        if self.over:
            return self.obs(), 0.0, *self.over, self.obs(), self.total, self.length, False
        reward, terminated = self.act(action)
        self.length, self.total = self.length + 1, self.total + reward
        truncated, final = self.length == self.limit, self.obs()
        if terminated or truncated:
            self.over = (terminated, truncated)
        returned = (terminated, truncated, final, self.total, self.length)
        if self.over and self.mode == "same_step":
            self.begin()
            return self.obs(), reward, *returned, True
        return final, reward, *returned, False


RANDOM = {
    "CartPole-v1": {"gravity": Uniform(5.0, 20.0), "force": Uniform(5.0, 9.0)},
    "Toy-v0": {"edge": Uniform(0.6, 1.0)},
}


@each_mode
@each_env
@pytest.mark.parametrize("drawn", [False, True], ids=["fixed", "drawn"])
def test_it_is_the_plain_loop(env, mode, drawn):
    """Observations, rewards, flags, statistics and parameters of every environment, at every step, in every mode."""
    changes = RANDOM.get(env.id, {}) if drawn else {}
    vec = make(env, 3, autoreset_mode=mode, max_episode_steps=7, params=changes, validate=False)
    plain = [Plain(env, 123, i, mode, 7, env.params._replace(**changes)) for i in range(3)]
    obs, _ = vec.reset(seed=123)
    assert torch.equal(obs, torch.cat([p.obs() for p in plain]))
    ends = 0
    for action in actions(vec, 40):
        before = [bool(p.over) and mode == "disabled" for p in plain]
        obs, reward, terminated, truncated, infos = vec.step(action)
        rows = [p.step(a) for p, a in zip(plain, action, strict=True)]
        for i, row in enumerate(rows):
            episode = infos["episode"]
            got = (
                obs[i],
                reward[i],
                terminated[i],
                truncated[i],
                infos["final_obs"][i],
                episode["r"][i],
                episode["l"][i],
            )
            for x, y in zip((*got, infos["reset"][i]), row, strict=True):
                assert torch.equal(x, torch.as_tensor(y, dtype=x.dtype).reshape(x.shape))
        ended = [bool(row[2] or row[3]) and not was for row, was in zip(rows, before, strict=True)]
        assert infos["_final_obs"].tolist() == infos["_episode"].tolist() == ended
        ends += sum(ended)
    assert ends >= (3 if mode == "disabled" else 10)
    assert vec.get_state().episode.tolist() == [p.episode for p in plain]


def episodes(env, mode, steps=120):
    """For each environment its finished episodes: (observations, rewards, whether terminated, return, length)."""
    vec = make(env, 4, autoreset_mode=mode, max_episode_steps=11)
    obs, _ = vec.reset(seed=5)
    done, running = [[] for _ in range(4)], [[] for _ in range(4)]
    for _ in range(steps):
        before = obs
        action = (
            (before[:, -1] > 0).long()
            if hasattr(vec.single_action_space, "n")
            else before[:, : vec.action_space.shape[1]]
        )
        action = action if action.ndim == 1 else action.clamp(-1, 1)
        was_over = torch.tensor([bool(r) and r[-1] is None for r in running])
        obs, reward, terminated, truncated, infos = vec.step(action)
        for i in range(4):
            if was_over[i]:
                running[i] = []
                continue
            running[i].append((before[i].tolist(), reward[i].item()))
            if terminated[i] or truncated[i]:
                last = infos["final_obs"][i].tolist(), terminated[i].item(), truncated[i].item()
                done[i].append((running[i], last, infos["episode"]["r"][i].item(), infos["episode"]["l"][i].item()))
                running[i] = [None] if mode == "next_step" else []
        over = terminated | truncated
        if mode == "disabled" and over.any():
            obs, _ = vec.reset(options={"reset_mask": over})
    return done


@each_env
def test_all_modes_play_the_same_episodes(env):
    one, two, three = (episodes(env, mode) for mode in MODES)
    for a, b, c in zip(one, two, three, strict=True):
        shared = min(len(a), len(b), len(c))
        assert shared >= 9
        assert a[:shared] == b[:shared] == c[:shared]


@each_mode
def test_the_time_limit_truncates_and_does_not_terminate(mode):
    vec = make(PENDULUM, 2, autoreset_mode=mode, max_episode_steps=3, validate=False)
    vec.reset(seed=0)
    flags = [vec.step(a)[2:4] for a in actions(vec, 3)]
    assert [bool(t.any()) for t, _ in flags] == [False] * 3
    assert [t.tolist() for _, t in flags] == [[False] * 2, [False] * 2, [True] * 2]


@each_env
def test_arrays_step_as_tensors_do(env, monkeypatch):
    """The eager step runs on NumPy arrays where it can; beginnings and actions agree bit for bit, the rest nearly."""
    vec = make(env, max_episode_steps=6)
    monkeypatch.setattr(eager, "keeps_to_vocabulary", lambda _: False)
    twin = make(env, max_episode_steps=6)
    assert vec._stepper.arrays == (env is not TOY)
    vec.reset(seed=1)
    monkeypatch.undo()
    monkeypatch.setattr(twin, "_make_stepper", lambda: twin._stepper)
    twin.reset(seed=1)
    assert not twin._stepper.arrays
    ours, theirs = vec.rollout(20), twin.rollout(20)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert same(
        (ours.action, ours.truncated, ours.episode_length), (theirs.action, theirs.truncated, theirs.episode_length)
    )


def test_an_episode_may_end_in_both_ways_at_once():
    vec = make(max_episode_steps=1, params={"x_limit": 0.0})
    vec.reset(seed=0)
    _, _, terminated, truncated, infos = vec.step(torch.zeros(5, dtype=torch.int64))
    assert terminated.all()
    assert truncated.all()
    assert infos["episode"]["l"].tolist() == [1] * 5


@each_mode
@pytest.mark.parametrize("limit", [1, 2])
def test_the_shortest_episodes(mode, limit):
    """Every environment may have to begin anew at every step."""
    check_vector_env(make(autoreset_mode=mode, max_episode_steps=limit))
    check_vector_env(make(TOY, autoreset_mode=mode, max_episode_steps=limit))


def test_limits():
    assert make().max_episode_steps == 500
    assert make(max_episode_steps=3).max_episode_steps == 3
    endless = make(PENDULUM, max_episode_steps=-1)
    assert endless.max_episode_steps is None
    endless.reset(seed=0)
    assert endless.rollout(250, transitions=False).episodes == 0


def test_reset_mask_takes_arrays_and_leaves_flags_of_others():
    vec = make(autoreset_mode="disabled", max_episode_steps=2, validate=False)
    vec.reset(seed=0)
    for action in actions(vec, 2):
        vec.step(action)
    vec.reset(options={"reset_mask": np.array([True, False, True, False, False])})
    state = vec.get_state()
    assert state.truncated.tolist() == [False, True, False, True, True]
    assert state.elapsed.tolist() == [0, 2, 0, 2, 2]
    assert state.episode.tolist() == [1, 0, 1, 0, 0]
    vec.step(actions(vec, 1)[0])
    assert vec.get_state().elapsed.tolist() == [1, 2, 1, 2, 2]


def test_next_step_does_not_reset_twice():
    """A row that was over and has been reset by hand is an ordinary row of the next step."""
    vec = make(autoreset_mode="next_step", max_episode_steps=2)
    vec.reset(seed=0)
    for action in actions(vec, 2):
        *_, truncated, _ = vec.step(action)
    assert truncated.all()
    vec.reset(options={"reset_mask": torch.tensor([True, False, False, False, False])})
    _, reward, _, _, infos = vec.step(actions(vec, 1)[0])
    assert infos["reset"].tolist() == [False, True, True, True, True]
    assert reward.tolist() == [1, 0, 0, 0, 0]
    assert infos["episode"]["l"].tolist() == [1, 0, 0, 0, 0]


def test_without_a_seed_each_object_differs():
    first, second = make(), make()
    assert not torch.equal(first.reset()[0], second.reset()[0])


def test_a_numpy_seed_is_an_int():
    assert torch.equal(make().reset(seed=np.int64(7))[0], make().reset(seed=7)[0])


@pytest.mark.parametrize("seed", [0, 2**32, 2**63 - 1])
def test_seeds_reach_far(seed):
    vec = make()
    obs, _ = vec.reset(seed=seed)
    assert vec.get_state().seed == seed
    assert obs.unique().numel() == obs.numel()


@each_env
def test_the_number_of_environments_does_not_matter(env):
    """1, 7 and 4096: the first environments' trajectories are the same, bit for bit."""
    walks = []
    for n in (1, 7, 4096):
        vec = make(env, n)
        obs = [vec.reset(seed=3)[0][:7]]
        few = make(env, min(n, 7))
        for action in actions(few, 12):
            padded = torch.cat([action, action[:1].expand(n - len(action), *action.shape[1:])])
            obs.append(vec.step(padded)[0][:7])
        walks.append(torch.stack(obs))
    assert torch.equal(walks[0], walks[1][:, :1])
    assert torch.equal(walks[1], walks[2])


@each_mode
@each_env
def test_a_rollout_is_its_steps(env, mode):
    vec, twin = (make(env, autoreset_mode=mode, max_episode_steps=6, validate=False) for _ in range(2))
    obs, _ = vec.reset(seed=1)
    twin.reset(seed=1)
    rolled = twin.rollout(25)
    ended = torch.zeros(3, dtype=torch.float64)
    for t in range(25):
        assert torch.equal(rolled.obs[t], obs)
        obs, reward, terminated, truncated, infos = vec.step(rolled.action[t])
        assert same((rolled.reward[t], rolled.terminated[t], rolled.truncated[t]), (reward, terminated, truncated))
        assert same((rolled.next_obs[t], rolled.episode_return[t]), (infos["final_obs"], infos["episode"]["r"]))
        assert torch.equal(rolled.episode_length[t], infos["episode"]["l"].float())
        over = infos["_episode"]
        idle = infos["reset"] if mode == "next_step" else (terminated | truncated) & ~over
        assert torch.equal(rolled.valid[t], torch.ones_like(idle) if mode == "same_step" else ~idle)
        stats = torch.ones(5), infos["episode"]["r"], infos["episode"]["l"]
        ended += torch.stack([s[over].double().sum() for s in stats])
    assert torch.equal(rolled.last_obs, obs)
    assert torch.allclose(torch.stack([rolled.episodes, rolled.return_sum, rolled.length_sum]).double(), ended)
    assert ended[0] >= 5
    assert same(vec.get_state(), twin.get_state())


@each_mode
@pytest.mark.parametrize("chunks", [(1,) * 27, (8, 8, 8, 3), (20, 7), (5, 22)], ids=str)
def test_chunks_do_not_matter(mode, chunks):
    vec, twin = (make(TOY, autoreset_mode=mode) for _ in range(2))
    vec.reset(seed=1)
    twin.reset(seed=1)
    whole = vec.rollout(27)
    parts = [twin.rollout(count) for count in chunks]
    for field in gpusim.Rollout._fields[: gpusim.Rollout._fields.index("extras")]:
        assert torch.equal(getattr(whole, field), torch.cat([getattr(p, field) for p in parts])), field
    assert torch.equal(whole.episodes, sum(p.episodes for p in parts))
    assert same(vec.get_state(), twin.get_state())


@each_env
def test_statistics_alone_are_the_same(env):
    vec, twin = (make(env, max_episode_steps=5) for _ in range(2))
    vec.reset(seed=1)
    twin.reset(seed=1)
    full, lean = vec.rollout(30), twin.rollout(30, transitions=False)
    assert lean.obs is lean.reward is lean.valid is None
    for field in ("episodes", "length_sum", "last_obs"):
        assert torch.equal(getattr(full, field), getattr(lean, field)), field
    torch.testing.assert_close(full.return_sum, lean.return_sum, rtol=1e-6, atol=0)  # each environment's, in float32
    assert same(vec.get_state(), twin.get_state())


def test_random_actions_cover_the_space():
    for env in (CARTPOLE, TOY):
        vec = make(env, 400)
        vec.reset(seed=0)
        action = vec.rollout(30).action
        space = vec.single_action_space
        if hasattr(space, "n"):
            share = torch.bincount(action.flatten().long(), minlength=int(space.n)) / action.numel()
            assert (share - 1 / space.n).abs().max() < 0.02
            continue
        low, high = torch.from_numpy(space.low), torch.from_numpy(space.high)
        unit = ((action - low) / (high - low)).flatten(0, 1)
        assert unit.min() >= 0
        assert unit.max() <= 1
        assert (unit.mean(0) - 0.5).abs().max() < 0.02
        assert (unit.var(0) - 1 / 12).abs().max() < 0.01
        assert torch.corrcoef(unit.T)[0, 1].abs() < 0.05


def test_a_policy_is_asked_at_every_step():
    vec = make()
    vec.reset(seed=0)
    seen = []

    def policy(obs):
        seen.append(obs.clone())
        return (obs[:, 2] > 0).long(), {"logprob": obs.sum(1)}

    rolled = vec.rollout(6, policy)
    assert torch.equal(torch.stack(seen), rolled.obs)
    assert torch.equal(rolled.action, (rolled.obs[..., 2] > 0).long())
    assert torch.equal(rolled.extras["logprob"], rolled.obs.sum(2))


def test_a_policy_may_reuse_its_memory():
    """A captured policy returns the same tensors at every call, and may normalize in place what it is given."""
    vec, twin = make(), make()
    vec.reset(seed=0)
    twin.reset(seed=0)
    action, value = torch.zeros(5, dtype=torch.int64), torch.zeros(5)

    def careless(obs):
        action.copy_(obs[:, 2] > 0)
        value.copy_(obs.sum(1))
        obs.mul_(0)
        return action, {"value": value}

    got = vec.rollout(6, careless)
    expected = twin.rollout(6, lambda obs: ((obs[:, 2] > 0).long(), {"value": obs.sum(1)}))
    assert same(got, expected)


def test_state_goes_to_another_object():
    vec = make(TOY, params={"edge": Uniform(0.5, 1.0)})
    vec.reset(seed=4)
    vec.rollout(13)
    state = vec.get_state()
    other = make(TOY, params={"edge": Uniform(0.5, 1.0)})
    other.set_state(state._asdict())
    assert same(vec.rollout(20), other.rollout(20))
    vec.set_state(state)
    other.set_state(state)
    walks = [[e.step(a) for a in actions(vec, 20)] for e in (vec, other)]
    assert same(*walks)


def test_the_state_is_a_copy():
    vec = make()
    vec.reset(seed=4)
    state = vec.get_state()
    kept = [x.clone() for x in state.state]
    vec.rollout(5)
    assert same(list(state.state), kept)
    for tensor in (*state.state, state.elapsed, state.episode):
        tensor.fill_(77)
    assert vec.get_state().elapsed.tolist() != [77] * 5
    vec.set_state(state)
    state.elapsed.fill_(3)
    assert vec.get_state().elapsed.tolist() == [77] * 5


def test_parameters_per_environment():
    force = torch.tensor([5.0, 10.0, 20.0, 10.0, 10.0])
    vec, plain = make(params={"force": force}), make()
    vec.reset(seed=0)
    plain.reset(seed=0)
    action = torch.ones(5, dtype=torch.int64)
    ours, theirs = vec.step(action)[0], plain.step(action)[0]
    equal = (ours == theirs).all(1).tolist()
    assert equal == [False, True, False, True, True]
    force.fill_(1.0)
    assert vec.get_attr("force") == (5.0, 10.0, 20.0, 10.0, 10.0)
    double = make(params={"force": 20.0})
    double.reset(seed=0)
    assert torch.equal(double.step(action)[0][2], ours[2])


def test_parameters_may_be_drawn_for_each_episode():
    vec = make(
        num_envs=200, params={"gravity": Uniform(5.0, 15.0), "mass_pole": Uniform(0.05, 0.2)}, max_episode_steps=4
    )
    vec.reset(seed=0)
    drawn = []
    for _ in range(3):
        gravity, pole = (torch.tensor(vec.get_attr(name)) for name in ("gravity", "mass_pole"))
        assert 5 <= gravity.min() < 6
        assert 14 < gravity.max() < 15
        assert 0.05 <= pole.min() < 0.06
        assert torch.corrcoef(torch.stack([gravity, pole]))[0, 1].abs() < 0.25
        drawn.append(gravity)
        for action in actions(vec, 3):
            vec.step(action)
            assert torch.equal(torch.tensor(vec.get_attr("gravity")), gravity)
        vec.step(actions(vec, 1)[0])
    assert all((a != b).all() for a, b in itertools.combinations(drawn, 2))
    assert vec.get_attr("force") == (10.0,) * 200


def test_call_get_attr_set_attr():
    vec = make()
    assert vec.get_attr("gravity") == (9.8,) * 5
    assert vec.get_attr("backend") == ("eager",) * 5
    assert vec.call("render") == (None,) * 5
    vec.set_attr("gravity", 5.0)
    vec.reset(seed=0)
    assert vec.get_attr("gravity") == (5.0,) * 5
    vec.set_attr("gravity", [1.0, 2.0, 3.0, 4.0, 5.0])
    assert vec.get_attr("gravity") == (1.0, 2.0, 3.0, 4.0, 5.0)
    vec.set_attr("gravity", Uniform(50.0, 60.0))
    assert vec.get_attr("gravity") == (1.0, 2.0, 3.0, 4.0, 5.0)
    vec.reset(options={"reset_mask": torch.tensor([True, False, False, False, False])})
    first, *rest = vec.get_attr("gravity")
    assert 50 <= first < 60
    assert rest == [2.0, 3.0, 4.0, 5.0]
    vec.set_attr("gravity", 9.8)
    assert same(vec.rollout(1).obs[0].shape, torch.Size([5, 4]))
    assert vec.get_attr("gravity") == (9.8,) * 5


def test_set_attr_takes_effect_at_the_next_step():
    vec, other = make(), make(params={"force": 1.0})
    vec.reset(seed=0)
    other.reset(seed=0)
    vec.set_attr("force", 1.0)
    action = torch.ones(5, dtype=torch.int64)
    assert same(vec.step(action), other.step(action))


@each_mode
def test_reused_memory(mode):
    vec, plain = (make(copy=c, autoreset_mode=mode, max_episode_steps=30) for c in (False, True))
    vec.reset(seed=0)
    plain.reset(seed=0)
    first = None
    for action in actions(vec, 6):
        returned = vec.step(action)
        assert same(returned, plain.step(action))
        first = returned if first is None else first
        assert returned[0] is first[0]
        assert returned[4]["episode"]["r"] is first[4]["episode"]["r"]


@pytest.mark.parametrize("copy", [True, False])
def test_what_inference_mode_returns_is_no_inference_tensor(copy):
    """A learner that collects in inference mode may save it for its backward pass."""
    with torch.inference_mode():
        vec = make(copy=copy, max_episode_steps=3)
        obs, _ = vec.reset(seed=0)
        returned = vec.step(torch.zeros(5, dtype=torch.int64))
    for tensor in (obs, *returned[:4], returned[4]["final_obs"], returned[4]["episode"]["l"], returned[4]["_episode"]):
        assert not tensor.is_inference()
    for action in actions(vec, 5):
        vec.step(action)
    assert not vec.rollout(3).obs.is_inference()


def test_the_default_dtype_does_not_matter():
    expected = make()
    expected.reset(seed=0)
    torch.set_default_dtype(torch.float64)
    try:
        vec = make()
        vec.reset(seed=0)
        got = vec.rollout(20)
    finally:
        torch.set_default_dtype(torch.float32)
    assert same(got, expected.rollout(20))


def test_actions_may_be_int32_or_arrays():
    walks = []
    for convert in (lambda a: a, lambda a: a.int(), lambda a: a.numpy(), lambda a: a.numpy()[::-1].copy()[::-1]):
        vec = make()
        vec.reset(seed=0)
        walks.append([vec.step(convert(a)) for a in actions(vec, 5)])
    assert all(same(walks[0], walk) for walk in walks[1:])


MAKE_VEC = {"num_envs": 3, "device": "cpu", "backend": "eager"}


@pytest.mark.parametrize("name", [env.id for env in CLASSIC])
def test_gymnasium_makes_every_id(name):
    vec = gymnasium.make_vec(f"gpusim/{name}", **MAKE_VEC)
    assert isinstance(vec, gpusim.VectorEnv)
    assert vec.spec.max_episode_steps == vec.max_episode_steps == gpusim.spec(name).max_episode_steps
    assert vec.spec.reward_threshold == gpusim.spec(name).reward_threshold
    obs, _ = vec.reset(seed=0)
    twin = make(name, 3)
    assert torch.equal(obs, twin.reset(seed=0)[0])
    vec.close()


def test_gymnasium_passes_arguments_and_keeps_them_in_the_spec():
    vec = gymnasium.make_vec(
        "gpusim/CartPole-v1", max_episode_steps=7, autoreset_mode="next_step", params={"force": 5.0}, **MAKE_VEC
    )
    assert vec.max_episode_steps == 7
    assert vec.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    spec = gymnasium.envs.registration.EnvSpec.from_json(vec.spec.to_json())
    again = gymnasium.make_vec(spec)
    assert (again.num_envs, again.max_episode_steps, again.params) == (3, 7, vec.params)
    vec.reset(seed=0)
    again.reset(seed=0)
    assert same(vec.rollout(20), again.rollout(20))


def test_gymnasium_finds_the_module_by_itself():
    assert gymnasium.make_vec("gpusim:gpusim/Pendulum-v1", **MAKE_VEC).task is PENDULUM


def test_modes_by_any_name():
    for mode in AutoresetMode:
        for name in (mode, mode.value, mode.name, mode.name.lower()):
            assert make(autoreset_mode=name).autoreset_mode is mode


def test_spaces():
    vec = make()
    assert vec.single_observation_space == CARTPOLE.observation_space
    assert vec.observation_space.shape == (5, 4)
    assert vec.action_space.shape == (5,)
    assert repr(vec) == "VectorEnv('CartPole-v1', num_envs=5, device='cpu', backend='eager')"


@each_env
def test_the_step_can_be_differentiated(env):
    """`Env.step` is differentiable in state, parameters and real actions, and the gradient is the slope."""
    vec = make(env, 4, max_episode_steps=-1)
    vec.reset(seed=2)
    vec.rollout(3)
    state, action = vec.get_state().state, actions(vec, 1)[0]
    leaves = [x.double() if x.is_floating_point() else x for x in state]
    wanted = [x for x in leaves if x.is_floating_point()]
    lanes = action if action.ndim == 1 else action[:, 0].double() if action.shape[1] == 1 else tuple(action.double().T)
    rng = Rng(0, torch.arange(4), 0, 0, STREAM_STEP)

    def total(*floats):
        floats = iter(floats)
        s = type(state)(*(next(floats) if x.is_floating_point() else x for x in leaves))
        new, reward, _ = env.step(s, lanes, rng, env.params)
        return sum((i + 1) * x.sum() for i, x in enumerate(new) if x.is_floating_point()) + reward.sum()

    wanted = [w.detach().requires_grad_() for w in wanted]
    assert torch.autograd.gradcheck(total, wanted, eps=1e-6, atol=1e-4, rtol=1e-3)


def dense(env, mode, **changes):
    """The pieces of the step as a GPU runs it."""
    vec = make(env, 6, autoreset_mode=mode, params=RANDOM.get(env.id), max_episode_steps=4, **changes)
    vec.reset(seed=0)
    vec.rollout(3)
    return vec, vec._settled(), vec._mode(), engine.action_lanes(actions(vec, 1)[0])


@each_mode
@each_env
def test_the_step_looks_at_no_value(env, mode):
    """Fake tensors have none: a synchronization or a shape that depends on data would raise."""
    vec, carry, how, action = dense(env, mode)
    tally = book.Tally(*(torch.zeros(6) for _ in range(3)))
    with FakeTensorMode() as fake:
        convert = lambda tree: torch.utils._pytree.tree_map_only(torch.Tensor, fake.from_tensor, tree)  # noqa: E731
        new, out, tally = functional.full_step(
            env, how, *map(convert, (carry, vec.index, action)), True, convert(tally)
        )
    assert out.obs.shape == (6, *env.observation_space.shape)
    assert new.episode.shape == tally.episodes.shape == (6,)


@each_mode
@each_env
def test_the_step_is_one_graph(env, mode):
    vec, carry, how, action = dense(env, mode)

    def step(c, index, action):
        return functional.full_step(env, how, c, index, action, True, None)

    torch._dynamo.reset()
    graph = torch.compile(step, fullgraph=True, backend="eager")
    assert same(graph(carry, vec.index, action)[:2], step(carry, vec.index, action)[:2])


@each_mode
@each_env
def test_the_gpus_way_of_stepping_is_the_cpus(env, mode, monkeypatch):
    """A GPU draws every beginning at every step, the CPU looks ahead; the trajectories are one."""
    kwargs = {"autoreset_mode": mode, "max_episode_steps": 4, "params": RANDOM.get(env.id), "validate": False}
    monkeypatch.setattr(eager, "keeps_to_vocabulary", lambda _: False)  # else it would be NumPy's sine against torch's
    ahead, free = make(env, **kwargs), make(env, **kwargs)
    assert isinstance(ahead._stepper, eager.LookAhead)
    monkeypatch.setattr(free, "_make_stepper", lambda: functional.SyncFree(env, free._mode(), free.index, False))
    ahead.reset(seed=8)
    free.reset(seed=8)
    assert same(ahead.rollout(30), free.rollout(30))
    assert same(ahead.rollout(19, transitions=False), free.rollout(19, transitions=False))
    assert same(ahead.get_state(), free.get_state())
    if mode == "disabled":
        over = ahead.get_state().truncated | ahead.get_state().terminated
        assert same(ahead.reset(options={"reset_mask": over}), free.reset(options={"reset_mask": over}))
        assert same(ahead.rollout(5), free.rollout(5))


MASK = st.lists(st.booleans(), min_size=4, max_size=4).filter(any)


@settings(deadline=None, max_examples=30)
@given(deeds=st.lists(st.one_of(st.none(), MASK), max_size=25), mode=st.sampled_from(MODES))
def test_masks_and_automatic_resets_keep_count(deeds, mode):
    """None is a step, a list resets those environments; a plain count of steps and episodes goes beside it."""
    vec = make(PENDULUM, 4, autoreset_mode=mode, max_episode_steps=3, validate=False)
    first, _ = vec.reset(seed=0)
    elapsed, episode, over, obs = [0] * 4, [0] * 4, [False] * 4, first
    for deed in deeds:
        before = obs
        if deed is None:
            obs, reward, terminated, truncated, infos = vec.step(torch.zeros(4, 1))
            begins = [
                (o and mode == "next_step") or (e == 2 and mode == "same_step")
                for o, e in zip(over, elapsed, strict=True)
            ]
            idle = [o and mode == "disabled" for o in over]
            ends = [e == 2 and not o for o, e in zip(over, elapsed, strict=True)]
            assert infos["_final_obs"].tolist() == infos["_episode"].tolist() == ends
            assert infos["reset"].tolist() == begins
            assert not terminated.any()
            assert truncated.tolist() == [e or i for e, i in zip(ends, idle, strict=True)]
            assert (reward[torch.tensor(idle)] == 0).all()
            elapsed = [0 if b else e + (not i) for b, i, e in zip(begins, idle, elapsed, strict=True)]
            over = [(e and mode != "same_step") or i for e, i in zip(ends, idle, strict=True)]
            held = torch.tensor(idle)
        else:
            obs, _ = vec.reset(options={"reset_mask": torch.tensor(deed)})
            begins = deed
            elapsed = [0 if m else e for m, e in zip(deed, elapsed, strict=True)]
            over = [o and not m for m, o in zip(deed, over, strict=True)]
            held = ~torch.tensor(deed)
        episode = [e + b for e, b in zip(episode, begins, strict=True)]
        assert torch.equal(obs[held], before[held])
        state = vec.get_state()
        assert state.elapsed.tolist() == elapsed
        assert state.episode.tolist() == episode

"""The checker accepts what is right and names what is wrong."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode

import gpusim
from gpusim.envs.classic import CLASSIC, STATELESS
from gpusim.envs.memory.memory_chain import MEMORY_CHAIN
from gpusim.testing import check_vector_env

MODES = ["same_step", "next_step", "disabled"]


def make(kind=gpusim.VectorEnv, env="CartPole-v1", **kwargs):
    return kind(env, **({"num_envs": 6, "device": "cpu", "backend": "eager", "max_episode_steps": 12} | kwargs))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env", [env.id for env in (*CLASSIC, *STATELESS, MEMORY_CHAIN)])
def test_ours_are_right(env, mode):
    check_vector_env(make(env=env, autoreset_mode=mode))


def test_reused_buffers_are_right_where_asked_for():
    check_vector_env(make(copy=False))


def test_random_parameters_are_right():
    check_vector_env(make(params={"gravity": gpusim.Uniform(5.0, 15.0), "force": torch.linspace(5, 10, 6)}))


def test_from_gymnasium():
    env = gymnasium.make_vec("gpusim/Pendulum-v1", num_envs=3, device="cpu", backend="eager", max_episode_steps=9)
    check_vector_env(env)


def test_a_world_without_chance_is_right_where_that_is_meant():
    env = gpusim.spec("CartPole-v1")
    still = gpusim.Env(
        **vars(env) | {"id": "Still-v0", "init": lambda rng, p: type(env.init(rng, p))(*[rng.env * 0.0] * 4)}
    )
    check_vector_env(make(env=still), random=False)
    with pytest.raises(AssertionError, match="different seeds give the same trajectory"):
        check_vector_env(make(env=still))


@pytest.mark.parametrize("given", ["CartPole-v1", None, gymnasium.make("CartPole-v1")], ids=["id", "None", "single"])
def test_what_is_no_vector_environment_is_called_so(given):
    with pytest.raises(AssertionError, match=r"no vector environment, but .*: give what gpusim\.make"):
        check_vector_env(given)


class Changed(gpusim.VectorEnv):
    """A `VectorEnv` of which one value that `step` returns is spoiled."""

    key: str | int

    def spoil(self, value):
        raise NotImplementedError

    def step(self, actions):
        returned = list(super().step(actions))
        if isinstance(self.key, int):
            returned[self.key] = self.spoil(returned[self.key])
        else:
            returned[4][self.key] = self.spoil(returned[4][self.key])
        return tuple(returned)


def changed(key, spoil):
    return type("Spoiled", (Changed,), {"key": key, "spoil": staticmethod(spoil)})


CHANGES = [
    (0, lambda x: x.double(), "obs must be torch.float32, not torch.float64"),
    (0, lambda x: x[:, :3], "obs must have shape"),
    (0, lambda x: x.numpy(), "obs must be a torch tensor, not ndarray"),
    (0, lambda x: x * float("nan"), "obs is not finite"),
    (0, lambda x: x + 100, "obs lies outside"),
    (0, lambda x: x.requires_grad_(), "obs requires grad"),
    (0, lambda x: x.to("meta"), "obs is on meta"),
    (1, lambda x: x.double(), "reward must be torch.float32"),
    (1, lambda x: x[:, None], "reward must have shape"),
    (1, lambda x: x / 0, "reward is not finite"),
    (2, lambda x: x.float(), "terminated must be torch.bool"),
    (3, lambda x: x.int(), "truncated must be torch.bool"),
    (4, lambda x: list(x), "infos must be a dict"),
    (4, lambda x: {k: v for k, v in x.items() if k != "final_obs"}, "mask of a key that is not there"),
    (4, lambda x: {k: v for k, v in x.items() if "final" not in k}, "infos lacks 'final_obs'"),
    (4, lambda x: x | {"TimeLimit": 3}, "must be a torch tensor or a dict, not int"),
    (
        4,
        lambda x: x if x["_episode"].any() else {k: x[k] for k in ("final_obs", "_final_obs")},
        "the same keys at every",
    ),
    ("_final_obs", lambda x: x.float(), "must be torch.bool"),
    ("_final_obs", lambda x: x | True, "must be True where an episode ended"),
    ("_episode", lambda x: x & False, "must be True where an episode ended"),
    ("final_obs", lambda x: x[:3], "final_obs.* must have shape"),
    ("final_obs", lambda x: x + 0.01, "final_obs must equal obs where no episode ended"),
    ("episode", lambda x: x | {"r": x["r"] + 1}, "is not the sum of the rewards"),
    ("episode", lambda x: x | {"l": x["l"] - 1}, "is not the number of its steps"),
]


@pytest.mark.parametrize(("key", "spoil", "sentence"), CHANGES, ids=lambda v: v if isinstance(v, str) else None)
def test_a_wrong_return_is_named(key, spoil, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_vector_env(make(changed(key, spoil)))


class LostFinalObs(gpusim.VectorEnv):
    """What most vector environments on GPUs do: the observation before the reset is gone."""

    def step(self, actions):
        obs, *rest, infos = super().step(actions)
        return obs, *rest, infos | {"final_obs": obs.clone()}


class NoReset(gpusim.VectorEnv):
    """An ended episode simply goes on."""

    def step(self, actions):
        _, *rest, infos = super().step(actions)
        return infos["final_obs"].clone(), *rest, infos


class Aliased(gpusim.VectorEnv):
    """One buffer for all steps, though nobody asked for it."""

    def step(self, actions):
        obs, *rest = super().step(actions)
        self.buffer = getattr(self, "buffer", torch.empty_like(obs)).copy_(obs)
        return self.buffer, *rest


class Shared(gpusim.VectorEnv):
    def step(self, actions):
        *rest, infos = super().step(actions)
        return *rest, infos | {"_episode": infos["_final_obs"]}


class Exposed(gpusim.VectorEnv):
    """The reward handed out is the very tensor that the environment goes on with."""

    def reset(self, **kwargs):
        self.bonus = torch.zeros(self.num_envs)
        return super().reset(**kwargs)

    def step(self, actions):
        obs, reward, terminated, truncated, infos = super().step(actions)
        self.bonus = reward + 0.1 * self.bonus
        infos.pop("episode"), infos.pop("_episode")
        return obs, self.bonus, terminated, truncated, infos


class RewardOnReset(gpusim.VectorEnv):
    def step(self, actions):
        obs, reward, *rest = super().step(actions)
        return obs, torch.ones_like(reward), *rest


class DoneOnReset(gpusim.VectorEnv):
    def step(self, actions):
        obs, reward, terminated, truncated, infos = super().step(actions)
        return obs, reward, terminated | infos["reset"], truncated, infos


class ResetsAll(gpusim.VectorEnv):
    def reset(self, *, seed=None, **_):
        return super().reset(seed=seed)


class ResetsNone(gpusim.VectorEnv):
    def reset(self, *, seed=None, options=None):
        if options:
            return self.observe(), {}
        return super().reset(seed=seed)


class SpoilsOptions(gpusim.VectorEnv):
    def reset(self, *, seed=None, options=None):
        obs, infos = super().reset(seed=seed, options=options)
        (options or {}).pop("reset_mask", None)
        return obs, infos


class Unseeded(gpusim.VectorEnv):
    def reset(self, *, options=None, **_):
        return super().reset(options=options)


class OneSeed(gpusim.VectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None if seed is None else 3, options=options)


class AlwaysSeeded(gpusim.VectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=20 if options is None and seed is None else seed, options=options)


class TakesAnything(gpusim.VectorEnv):
    def check_actions(self, actions):
        if not isinstance(actions, torch.Tensor):
            return torch.zeros(self.num_envs, dtype=torch.int64)
        return actions.flatten()[: self.num_envs].long().clamp(0, 1)


class Clamps(gpusim.VectorEnv):
    def check_actions(self, actions):
        if isinstance(actions, torch.Tensor) and actions.dtype == torch.int64:
            actions = actions.clamp(0, 1)
        return super().check_actions(actions)


class StepsBeforeItRefuses(gpusim.VectorEnv):
    def step(self, actions):
        if not isinstance(actions, torch.Tensor):
            super().step(torch.zeros(self.num_envs, dtype=torch.int64))
        return super().step(actions)


class Forgets(gpusim.VectorEnv):
    """Its state lacks the number of steps so far."""

    def get_state(self):
        return super().get_state()._replace(elapsed=torch.zeros(self.num_envs))


class GivesItselfAway(gpusim.VectorEnv):
    """`get_state` gives the tensors that later steps write to."""

    def get_state(self):
        return self._carry.book.elapsed, super().get_state()

    def set_state(self, state):
        super().set_state(state[1]._replace(elapsed=state[0]))

    def step(self, actions):
        elapsed = self._carry.book.elapsed
        returned = super().step(actions)
        elapsed.copy_(self._carry.book.elapsed)
        self._carry = self._carry._replace(book=self._carry.book._replace(elapsed=elapsed))
        return returned


class InPlace(gpusim.VectorEnv):
    """Keeps what was made inside inference mode, and writes to it outside."""

    def reset(self, **kwargs):
        self.total = torch.zeros(self.num_envs)
        return super().reset(**kwargs)

    def step(self, actions):
        returned = super().step(actions)
        self.total += returned[1]
        return returned


class Four(gpusim.VectorEnv):
    def step(self, actions):
        obs, reward, terminated, truncated, infos = super().step(actions)
        return obs, reward, terminated | truncated, infos


class ObsOnly(gpusim.VectorEnv):
    def reset(self, **kwargs):
        return super().reset(**kwargs)[0]


DEFECTS = [
    (LostFinalObs, "same_step", "final_obs is not the true observation"),
    (NoReset, "same_step", "obs is not the first observation of a new episode"),
    (NoReset, "next_step", None),  # there it is right: the last observation is returned as obs
    (Aliased, "same_step", "memory that an earlier step had returned"),
    (Shared, "same_step", "two tensors that one step returned share memory"),
    (Exposed, "same_step", "writing to a returned tensor"),
    (RewardOnReset, "next_step", "the reward of a row that is reset must be 0"),
    (DoneOnReset, "next_step", "neither terminated nor truncated"),
    (ResetsAll, "same_step", "reset_mask changes the observation of rows that it leaves out"),
    (ResetsNone, "same_step", "reset_mask does not reset the rows that it names"),
    (SpoilsOptions, "same_step", "reset changes the options it was given"),
    (Unseeded, "same_step", "the same seed and actions must give the same trajectory twice"),
    (OneSeed, "same_step", "different seeds give the same trajectory"),
    (AlwaysSeeded, "same_step", "must go on, not begin again from the seed"),
    (TakesAnything, "same_step", "actions for one environment too many are not refused"),
    (Clamps, "same_step", "actions above the space are not refused"),
    (StepsBeforeItRefuses, "same_step", "actions that were refused change the env"),
    (Forgets, "same_step", r"set_state\(get_state\(\)\) does not bring back"),
    (GivesItselfAway, "same_step", "does not bring back|raised"),
    (InPlace, "same_step", "inference_mode"),
    (Four, "same_step", "step must return five values"),
    (ObsOnly, "same_step", r"reset must return \(obs, infos\)"),
]


@pytest.mark.parametrize(("kind", "mode", "sentence"), DEFECTS, ids=lambda v: getattr(v, "__name__", None))
def test_a_defect_is_named(kind, mode, sentence):
    env = make(kind, autoreset_mode=mode)
    if sentence is None:
        check_vector_env(env)
        return
    with pytest.raises(AssertionError, match=sentence):
        check_vector_env(env)


def declared(**attributes):
    env = make()
    for name, value in attributes.items():
        setattr(env, name, value)
    return env


DECLARATIONS = [
    ({"num_envs": 0}, "num_envs must be a positive int"),
    ({"metadata": {}}, "must be an AutoresetMode, not None"),
    ({"metadata": {"autoreset_mode": "SameStep"}}, "must be an AutoresetMode"),
    ({"autoreset_mode": AutoresetMode.DISABLED}, "env.autoreset_mode is"),
    ({"observation_space": Box(-1, 1, (6, 4))}, "observation_space must be batch_space"),
    ({"single_observation_space": gymnasium.spaces.Discrete(3)}, "single_observation_space must be a Box"),
    (
        {"spec": gymnasium.envs.registration.EnvSpec("A-v0", kwargs={"a": object()})},
        "env.spec cannot be written as JSON",
    ),
]


@pytest.mark.parametrize(("attributes", "sentence"), DECLARATIONS, ids=lambda v: v if isinstance(v, str) else None)
def test_a_wrong_declaration_is_named(attributes, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_vector_env(declared(**attributes))


def test_it_says_when_nothing_ends():
    with pytest.raises(AssertionError, match="no episode ended within 30 steps"):
        check_vector_env(make(env="Pendulum-v1", max_episode_steps=-1), max_steps=30)


def test_an_error_of_the_environment_is_an_assertion():
    calls = []

    def step(*args):
        calls.append(args)
        if len(calls) > 30:  # after it was tried
            raise KeyError("mass")
        return gpusim.spec("CartPole-v1").step(*args)

    env = gpusim.Env(**vars(gpusim.spec("CartPole-v1")) | {"id": "Raises-v0", "step": step})
    with pytest.raises(AssertionError, match="raised KeyError while it was stepped"):
        check_vector_env(make(env=env))


class Foreign(gymnasium.vector.VectorEnv):
    """Somebody else's environment: a count up to five, with torch tensors and no `gpusim` inside."""

    def __init__(self, num_envs=4):
        self.num_envs = num_envs
        self.single_observation_space = Box(-10, 10, (1,))
        self.single_action_space = gymnasium.spaces.Discrete(3)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.autoreset_mode = AutoresetMode.DISABLED

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mask = torch.as_tensor((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        begun = torch.as_tensor(self.np_random.uniform(-1, 1, (self.num_envs, 1)), dtype=torch.float32)
        self.state = begun if mask.all() else torch.where(mask[:, None], begun, self.state)
        self.steps = torch.where(mask, 0, 0 if mask.all() else self.steps)
        return self.state.clone(), {}

    def step(self, actions):
        if actions.dtype != torch.int64 or actions.shape != (self.num_envs,):
            raise ValueError("bad actions")
        self.state, self.steps = self.state + actions[:, None] - 1, self.steps + 1
        done = self.steps >= 5
        return self.state.clone(), self.state[:, 0].clone(), done, torch.zeros_like(done), {}


class ForeignExposed(Foreign):
    def step(self, actions):
        _, *rest = super().step(actions)
        return self.state, *rest


def test_others_environments_may_be_checked():
    check_vector_env(Foreign())
    with pytest.raises(AssertionError, match="writing to a returned tensor"):
        check_vector_env(ForeignExposed())

"""`check_vector_env(env)`: does a vector environment keep its promises? For authors of environments and wrappers."""

import copy
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import gymnasium
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor

from gpusim.errors import told
from gpusim.tree import tensors, tree_map
from gpusim.trial import Trial
from gpusim.vector import VectorEnv

SEED = 20
TRIALS = 10
Checked: TypeAlias = gymnasium.vector.VectorEnv
SHORT = 12  # steps of the walks that are compared with one another


class _Step(NamedTuple):
    """One step as it was returned, or a copy of it."""

    obs: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    infos: dict


def check_vector_env(env: gymnasium.vector.VectorEnv, *, max_steps: int = 3000, random: bool = True) -> None:
    """Refuses a vector environment that breaks the contract of `gpusim.VectorEnv`; the first defect found is named.

    It tries the functions of an `Env` from many beginnings, and the environments alone and beside others. It looks at the
    spaces and the metadata, at every tensor that `reset` and `step` return, at the layout of `infos`,
    at shared memory, seeds, the environment's auto-reset mode, `reset_mask`, `torch.inference_mode`, the spec, bad
    actions and `get_state`/`set_state`. The environment is reset and stepped, and left in some state.

        gpusim.testing.check_vector_env(gpusim.VectorEnv(MY_ENV, num_envs=16, max_episode_steps=50))

    Args:
        env: a `gpusim.VectorEnv`, or any Gymnasium `VectorEnv` with a `Box` of observations that returns torch tensors.
        max_steps: how long to wait for episodes to end. An environment with short episodes is checked sooner.
        random: whether different seeds have to give different trajectories.

    Raises:
        AssertionError: the environment breaks a promise; the sentence says which.
    """
    _check_declaration(env)
    _check_spec(env)
    _attempt("its functions were tried", _check_functions, env)
    _attempt("it was reset", _check_reset, env)
    _attempt("it was stepped", _check_episodes, env, max_steps)
    _attempt("it was walked with different seeds", _check_seeds, env, random)
    _attempt("it was walked with fewer environments", _check_alone, env)
    _attempt("its tensors were kept", _check_memory, env)
    _attempt("its tensors were written to", _check_no_influence, env)
    _attempt("some environments were reset", _check_reset_mask, env, random)
    _attempt("it was stepped inside torch.inference_mode() and then outside", _check_inference_mode, env)
    _attempt("bad actions were refused", _check_bad_actions, env)
    _attempt("its state was put back", _check_state, env)


def _attempt(when: str, check: Callable, env: Checked, *args: Any) -> None:
    try:
        check(env, *args)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"the environment raised {type(error).__name__} while {when}: {error}") from error


def _require(holds: object, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)


def _check_declaration(env: Checked) -> None:
    _require(
        hasattr(env, "num_envs"),
        f"this is no vector environment, but {told(env)}: give what gpusim.make or gpusim.VectorEnv returns.",
    )
    n = env.num_envs
    _require(isinstance(n, int) and n > 0, f"num_envs must be a positive int, not {n!r}.")
    _require(isinstance(env.single_observation_space, Box), "single_observation_space must be a Box.")
    for name in ("observation_space", "action_space"):
        single, batched = getattr(env, f"single_{name}"), getattr(env, name)
        _require(batched == batch_space(single, n), f"{name} must be batch_space(single_{name}, num_envs): {batched}.")
    mode = env.metadata.get("autoreset_mode")
    _require(isinstance(mode, AutoresetMode), f'metadata["autoreset_mode"] must be an AutoresetMode, not {mode!r}.')
    attribute = getattr(env, "autoreset_mode", None)
    _require(attribute is mode, f'env.autoreset_mode is {attribute!r}, but metadata["autoreset_mode"] is {mode!r}.')


def _check_spec(env: Checked) -> None:
    if env.spec is None:
        return
    try:
        again = EnvSpec.from_json(json.dumps(json.loads(env.spec.to_json())))
        pickled = pickle.loads(pickle.dumps(env.spec))
    except Exception as error:
        raise AssertionError(f"env.spec cannot be written as JSON or pickled and read again: {error}") from error
    for found in (again, pickled):
        _require(found.id == env.spec.id and found.kwargs == env.spec.kwargs, "env.spec changes when written and read.")


def _check_functions(env: Checked) -> None:
    """What `make` tries once, from many beginnings."""
    if isinstance(env, VectorEnv):
        lanes = tuple(name for name, value in env.params._asdict().items() if not isinstance(value, int | float))
        with warnings.catch_warnings(action="ignore"):  # of observations outside their space, which are refused below
            for seed in range(TRIALS):
                Trial(env.task, lanes, seed).run()


def _check_reset(env: Checked) -> None:
    returned = env.reset(seed=SEED)
    _require(isinstance(returned, tuple) and len(returned) == 2, "reset must return (obs, infos).")
    _require(isinstance(returned[1], dict), f"the infos of reset must be a dict, not {type(returned[1]).__name__}.")
    _check_obs(env, "the obs of reset", returned[0])


def _check_episodes(env: Checked, max_steps: int) -> None:
    """A walk that ends when some environment has ended two episodes, every step of it examined."""
    obs, _ = env.reset(seed=SEED)
    ledger = _Ledger(env)
    keys = None
    for action in islice(_actions(env), max_steps):
        twin = _twin(env)
        returned = env.step(action)
        _require(isinstance(returned, tuple) and len(returned) == 5, "step must return five values.")
        step = _Step(*returned)
        _check_returned(env, step)
        found = _layout(step.infos)
        _require(keys in (None, found), f"infos must have the same keys at every step: {keys} and then {found}.")
        keys = found
        ledger.check(step)
        if twin is not None:
            _check_twin(twin, env, action, step, ledger.over)
        ledger.enter(step)
        obs = _revive(env, step, obs)
        if ledger.ended.max() >= 2:
            return
    _require(
        ledger.ended.any(),
        f"no episode ended within {max_steps} steps, so what follows an end could not be checked: give the environment "
        "a smaller max_episode_steps, or raise max_steps.",
    )


def _check_returned(env: Checked, step: _Step) -> None:
    _check_obs(env, "obs", step.obs)
    _check_tensor(env, "reward", step.reward, torch.float32, (env.num_envs,))
    _require(step.reward.isfinite().all(), "reward is not finite.")
    for name in ("terminated", "truncated"):
        _check_tensor(env, name, getattr(step, name), torch.bool, (env.num_envs,))
    _require(isinstance(step.infos, dict), f"infos must be a dict, not {type(step.infos).__name__}.")
    _check_infos(env, "infos", step.infos)
    if env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP or "final_obs" in step.infos:
        for key in ("final_obs", "_final_obs"):
            _require(key in step.infos, f"infos lacks {key!r}, so the last observation of an episode is lost.")
        _check_obs(env, 'infos["final_obs"]', step.infos["final_obs"])


def _check_obs(env: Any, name: str, obs: Any) -> None:
    space = env.single_observation_space
    _check_tensor(env, name, obs, getattr(torch, space.dtype.name), (env.num_envs, *space.shape))
    _require(obs.isfinite().all(), f"{name} is not finite.")
    low, high = (torch.as_tensor(bound, device=obs.device) for bound in (space.low, space.high))
    _require(((obs >= low) & (obs <= high)).all(), f"{name} lies outside {space}.")


def _check_tensor(env: Checked, name: str, value: Any, dtype: torch.dtype, shape: tuple) -> None:
    _require(isinstance(value, Tensor), f"{name} must be a torch tensor, not {type(value).__name__}.")
    _require(value.dtype == dtype, f"{name} must be {dtype}, not {value.dtype}.")
    _require(value.shape == shape, f"{name} must have shape {shape}, not {tuple(value.shape)}.")
    _require(value.device == _device(env), f"{name} is on {value.device}, but the environment is on {_device(env)}.")
    _require(not value.requires_grad, f"{name} requires grad: every step would keep the whole history alive.")


def _check_infos(env: Checked, name: str, infos: dict) -> None:
    for key, value in infos.items():
        here = f"{name}[{key!r}]"
        if isinstance(value, dict):
            _check_infos(env, here, value)
            continue
        _require(isinstance(value, Tensor), f"{here} must be a torch tensor or a dict, not {type(value).__name__}.")
        _check_tensor(env, here, value, value.dtype, (env.num_envs, *value.shape[1:]))
        if key.startswith("_"):
            _check_tensor(env, here, value, torch.bool, (env.num_envs,))
            _require(key[1:] in infos, f"{here} is the mask of a key that is not there.")


def _layout(infos: dict) -> dict:
    return {k: _layout(v) if isinstance(v, dict) else (v.dtype, tuple(v.shape)) for k, v in sorted(infos.items())}


class _Ledger:
    """What the episodes of a walk must amount to, added up beside it."""

    def __init__(self, env: Checked):
        self.mode = env.metadata["autoreset_mode"]
        zero = torch.zeros(env.num_envs, dtype=torch.float64, device=_device(env))
        self.total, self.length, self.ended = zero, zero.clone(), zero.clone()
        self.over = zero > 0  # whether the last step ended the row's episode and the row has to be reset by this one

    def check(self, step: _Step) -> None:
        done = step.terminated | step.truncated
        if self.mode is AutoresetMode.NEXT_STEP:
            _require((step.reward[self.over] == 0).all(), "in NEXT_STEP the reward of a row that is reset must be 0.")
            _require(not done[self.over].any(), "in NEXT_STEP a row that is reset is neither terminated nor truncated.")
        for key in ("_final_obs", "_episode"):
            _require((step.infos.get(key, done) == done).all(), f"infos[{key!r}] must be True where an episode ended.")
        if self.mode is AutoresetMode.SAME_STEP:
            live = (step.obs == step.infos["final_obs"])[~done]
            _require(live.all(), "final_obs must equal obs where no episode ended.")
        elif "final_obs" in step.infos:
            kept = (step.obs == step.infos["final_obs"])[~self.over]
            _require(kept.all(), f"in {self.mode.name} obs is the true last observation, so final_obs must equal it.")
        if "episode" in step.infos:
            self._check_statistics(step, done)

    def _check_statistics(self, step: _Step, done: Tensor) -> None:
        total, length = self.total + step.reward, self.length + 1
        found = step.infos["episode"]
        close = torch.isclose(found["r"].double(), total, rtol=1e-4, atol=1e-4)[done]
        _require(close.all(), 'infos["episode"]["r"] is not the sum of the rewards of the episode that ended.')
        _require((found["l"] == length)[done].all(), 'infos["episode"]["l"] is not the number of its steps.')

    def enter(self, step: _Step) -> None:
        done = step.terminated | step.truncated
        begin = self.over if self.mode is AutoresetMode.NEXT_STEP else done
        self.total = torch.where(begin, 0.0, self.total + step.reward)
        self.length = torch.where(begin, 0.0, self.length + 1)
        self.ended = self.ended + done
        self.over = done & (self.mode is AutoresetMode.NEXT_STEP)


def _twin(env: Checked) -> VectorEnv | None:
    """The same environments before the step, in an object that does not reset by itself."""
    if not isinstance(env, VectorEnv):
        return None
    twin = _like(env, env.num_envs, backend="eager", autoreset_mode=AutoresetMode.DISABLED, validate=False)
    twin.set_state(env.get_state())
    return twin


def _like(env: VectorEnv, num_envs: int, **changes: Any) -> VectorEnv:
    limit = -1 if env.max_episode_steps is None else env.max_episode_steps
    kept = {
        name: getattr(env, name) for name in ("device", "backend", "autoreset_mode", "params", "validate", "first_env")
    }
    return VectorEnv(env.task, num_envs, max_episode_steps=limit, **kept | changes)


def _check_twin(twin: VectorEnv, env: Any, action: Tensor, step: _Step, over: Tensor) -> None:
    """Of a `gpusim.VectorEnv` it is known what the true successor is and what a new episode begins with."""
    obs, _, terminated, truncated, _ = twin.step(action)
    _require(_close(step.infos["final_obs"], obs)[~over].all(), "final_obs is not the true observation after the step.")
    begun = over if env.autoreset_mode is AutoresetMode.NEXT_STEP else terminated | truncated
    if env.autoreset_mode is not AutoresetMode.DISABLED and begun.any():
        first, _ = twin.reset(options={"reset_mask": begun})
        _require(
            _close(step.obs, first)[begun].all(), "obs is not the first observation of a new episode after a reset."
        )


def _close(a: Tensor, b: Tensor) -> Tensor:
    """`[N]`; two backends differ in the last bits."""
    return torch.isclose(a, b, rtol=1e-4, atol=1e-4).flatten(1).all(1)


def _check_seeds(env: Checked, random: bool) -> None:
    first, again, other = (_walk(env, seed) for seed in (SEED, SEED, SEED + 1))
    _require(_same(first, again), "the same seed and actions must give the same trajectory twice.")
    if not random:
        return
    _require(not _same(first, other), "different seeds give the same trajectory (random=False where that is meant).")
    seeded, _ = env.reset(seed=SEED)
    seeded = seeded.clone()
    _require(
        not torch.equal(seeded, env.reset()[0]), "reset() without a seed must go on, not begin again from the seed."
    )


def _check_alone(env: Checked) -> None:
    """Half of the environments by themselves go the same way."""
    n = env.num_envs // 2
    if type(env) is not VectorEnv or env.backend != "eager" or n == 0:
        return  # another number of environments would be compiled anew
    some = _like(env, n, params=tree_map(lambda x: x[:n], env.params))
    env.reset(seed=SEED)
    some.reset(seed=SEED)
    for action in islice(_actions(env), SHORT):
        many, few = _Step(*env.step(action)), _Step(*some.step(action[:n]))
        for name in ("obs", "reward", "terminated", "truncated"):
            x, y = (getattr(step, name).double() for step in (many, few))
            close = torch.isclose(x[:n], y, rtol=1e-4, atol=1e-4).all()
            _require(close, f"{name} of an environment depends on the environments beside it.")
        _revive(env, many, many.obs)
        _revive(some, few, few.obs)


def _check_memory(env: Checked) -> None:
    """Trainers keep what was returned, and write to it."""
    env.reset(seed=SEED)
    before: set[int] = set()
    kept = []  # a freed tensor's address would be used again
    for action in islice(_actions(env), SHORT):
        step = _Step(*env.step(action))
        kept.append(step)
        addresses = [t.untyped_storage().data_ptr() for t in tensors(step)]
        _require(len(set(addresses)) == len(addresses), "two tensors that one step returned share memory.")
        if getattr(env, "copy", True):
            _require(before.isdisjoint(addresses), "a step returned memory that an earlier step had returned already.")
        before.update(addresses)
        _revive(env, step, step.obs)


def _check_no_influence(env: Checked) -> None:
    def spoil(action: Tensor, step: _Step) -> None:
        for tensor in (action, *tensors(step)):
            tensor.fill_(1)

    undisturbed = _walk(env, SEED)
    disturbed = _walk(env, SEED, spoil)
    _require(
        _same(undisturbed, disturbed), "writing to a returned tensor, or to the actions, changes what comes after."
    )


def _check_reset_mask(env: Checked, random: bool) -> None:
    n = env.num_envs
    mask = torch.arange(n, device=_device(env)) % 2 == 0
    plain = _walk(env, SEED, count=6)
    env.reset(seed=SEED)
    *_, last = _play(env, islice(_actions(env), 3))
    alive = ~mask & torch.stack([~(s.terminated | s.truncated) for s in plain]).all(0)
    given = mask.clone()
    options = {"reset_mask": given}
    obs, _ = env.reset(options=options)
    obs = obs.clone()
    _require(options.get("reset_mask") is given and torch.equal(given, mask), "reset changes the options it was given.")
    _require(torch.equal(obs[alive], last.obs[alive]), "reset_mask changes the observation of rows that it leaves out.")
    if random:
        _require(not torch.equal(obs[mask], last.obs[mask]), "reset_mask does not reset the rows that it names.")
    for expected, got in zip(plain[3:], _play(env, islice(_actions(env), 3, 6)), strict=True):
        _require(
            torch.equal(expected.obs[alive], got.obs[alive]), "reset_mask changes the future of rows it leaves out."
        )


def _check_inference_mode(env: Checked) -> None:
    plain = _walk(env, SEED, count=9)
    env.reset(seed=SEED)
    actions = _actions(env)
    with torch.inference_mode():
        inside = list(_play(env, islice(actions, 6)))
    outside = list(_play(env, islice(actions, 3)))
    _require(_same(plain, inside + outside), "stepping inside torch.inference_mode() changes the trajectory.")
    with torch.inference_mode():
        env.reset(seed=SEED)
    again = list(_play(env, islice(_actions(env), 9)))
    _require(_same(plain, again), "a reset inside torch.inference_mode() changes the trajectory.")


def _check_bad_actions(env: Checked) -> None:
    plain = _walk(env, SEED)
    env.reset(seed=SEED)
    for what, bad in _bad_actions(env):
        try:
            env.step(bad)
        except Exception:
            continue
        raise AssertionError(f"actions {what} are not refused.")
    _require(_same(plain, list(_play(env, islice(_actions(env), SHORT)))), "actions that were refused change the env.")


def _bad_actions(env: Checked) -> Iterator[tuple[str, Any]]:
    good = next(_actions(env))
    space = env.single_action_space
    yield "for one environment too many", torch.cat([good, good[:1]])
    yield "with a dimension too many", good[..., None]
    yield "that are None", None
    yield "of a wrong dtype", good.to(torch.float32) + 0.5 if isinstance(space, Discrete) else good.to(torch.bool)
    if not getattr(env, "validate", False):
        return
    if isinstance(space, Discrete):
        yield "above the space", torch.full_like(good, int(space.start + space.n))
        yield "below the space", torch.full_like(good, int(space.start) - 1)
    elif isinstance(space, Box) and space.is_bounded():
        high = torch.as_tensor(space.high.max())
        above = torch.maximum(high + 1.0, high.nextafter(torch.tensor(torch.inf)))
        yield "above the space", torch.full_like(good, float(above))
        yield "that are NaN", torch.full_like(good, float("nan"))


def _check_state(env: Any) -> None:
    if not hasattr(env, "get_state"):
        return
    env.reset(seed=SEED)
    actions = list(islice(_actions(env), 2 * SHORT))
    for _ in _play(env, iter(actions[:SHORT])):
        pass
    state = env.get_state()
    first = list(_play(env, iter(actions[SHORT:])))
    for _ in range(2):  # twice: what set_state was given may not be used up either
        env.set_state(state)
        again = list(_play(env, iter(actions[SHORT:])))
        _require(_same(first, again), "set_state(get_state()) does not bring back the trajectory.")


def _walk(
    env: Checked, seed: int, then: Callable[[Tensor, _Step], None] | None = None, count: int = SHORT
) -> list[_Step]:
    env.reset(seed=seed)
    return list(_play(env, islice(_actions(env), count), then))


def _play(
    env: Checked, actions: Iterator[Tensor], then: Callable[[Tensor, _Step], None] | None = None
) -> Iterator[_Step]:
    """Steps with the given actions and yields copies of what came back; `then` is given the originals."""
    for action in actions:
        step = _Step(*env.step(action))
        copied = tree_map(torch.clone, step)
        if then is not None:
            then(action, step)
        _revive(env, copied, copied.obs)
        yield copied


def _revive(env: Checked, step: _Step, obs: Tensor) -> Tensor:
    """Where the environment does not do it itself, the episodes that ended begin anew."""
    done = step.terminated | step.truncated
    if env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and done.any():
        return env.reset(options={"reset_mask": done})[0]
    return obs


def _actions(env: Checked) -> Iterator[Tensor]:
    """Always the same random actions, without end."""
    space = copy.deepcopy(env.action_space)
    space.seed(SEED)
    while True:
        yield torch.as_tensor(space.sample(), device=_device(env)).clone()


def _device(env: Checked) -> torch.device:
    return torch.device(getattr(env, "device", "cpu"))


def _same(a: object, b: object) -> bool:
    """Bit for bit."""
    first, second = tensors(a), tensors(b)
    return len(first) == len(second) and all(map(torch.equal, first, second))

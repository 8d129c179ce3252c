"""What a caller may pass, and the sentence he reads when he passes something else."""

import importlib.util
import math
import sys
import warnings
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim.env import Env, Task, Uniform
from gpusim.errors import InputError, told
from gpusim.kernels.cpp import compiler
from gpusim.kernels.lang import BLOCKS
from gpusim.kernels.launch import runs_on
from gpusim.kernels.lower import LoweringError, check, operations
from gpusim.memory import require
from gpusim.trial import GREATEST, not_finite

COUNTERS = 26  # bytes: index, elapsed steps, return, two flags and episode
BACKENDS = ("eager", "native", "compile", "triton")
FEW = 16  # environments; for fewer it does not pay to start a compiler
UNROLLED = 10_000  # operations of a step; of 12,700 torch.compile had made nothing after seven minutes
MAX_STEPS = 2**24  # the largest count that float32 holds exactly


def device(value: object) -> torch.device:
    if isinstance(value, str) and value == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        parsed = torch.device(value if isinstance(value, str | torch.device) else whole("device", value))
    except (RuntimeError, TypeError, ValueError):
        raise InputError(f'device {told(value)} is not a device; use "auto", "cpu", "cuda" or "cuda:N".') from None
    if parsed.type == "cuda":
        if not torch.cuda.is_available():
            why = "no CUDA GPU was found" if torch.version.cuda else f"torch {torch.__version__} is built without CUDA"
            raise InputError(f'device "{value}" is not available: {why}; use device="cpu" (see `gpusim info`).')
        if parsed.index is not None and parsed.index >= torch.cuda.device_count():
            raise InputError(f'device "{value}" is not there; CUDA GPUs on this machine: {torch.cuda.device_count()}.')
        return torch.device("cuda", torch.cuda.current_device() if parsed.index is None else parsed.index)
    if parsed.type == "cpu" and parsed.index in (None, 0):
        return torch.device("cpu")
    if parsed.type == "cpu":
        raise InputError(f'device "{value}" is not there; all CPUs are one device, "cpu".')
    raise InputError(f'device "{value}" is not supported; use "cpu" or "cuda".')


def backend_problem(name: str, device: torch.device, env: Env | None = None) -> str | None:
    """Why `name` cannot run (on `env`, where one is given) on this device here, and how to mend it; None where it can."""
    if name == "triton":
        if not importlib.util.find_spec("triton"):
            return 'triton is not installed; install it (pip install triton), or use backend="eager" or "compile"'
        if not runs_on(device):
            return (
                'it needs a CUDA GPU; use device="cuda" where there is one, or backend="eager" or "compile" '
                "(TRITON_INTERPRET=1, set before Python starts, runs kernels on the CPU, slowly, for tests)"
            )
        return _not_lowered(env) if env else None
    if name == "compile" and device.type == "cpu":
        return backend_problem("native", device, env)
    if name == "compile":
        return _too_long(env) if env else None
    if name == "native":
        if device.type != "cpu":
            return 'it is the CPU\'s; use device="cpu", or backend="triton" or "compile"'
        if not compiler():
            return 'it needs a C++ compiler; install g++ or clang++, name one in CXX, or use backend="eager"'
        return _not_lowered(env) if env else None
    return None


def _too_long(env: Env) -> str | None:
    try:
        count = operations(env.step)
    except LoweringError:
        return None
    if count <= UNROLLED:
        return None
    return (
        f"torch.compile would unroll the loops of {env.id} to {count:,} operations, and not finish; "
        'use backend="triton" or "eager"'
    )


def policy_problem(env: Env) -> str | None:
    """Why no kernel holds a network beside the steps of this environment, one of the vocabulary; None where one can."""
    count = operations(env.step)
    if count <= UNROLLED:
        return None
    return f"a step of {env.id} is {count:,} operations, beside which a network does not fit into registers"


def _not_lowered(env: Env) -> str | None:
    try:
        for function in (env.init, env.step, env.observe):
            check(function)
    except LoweringError as error:
        return str(error).removesuffix(".")
    return None


def backend(name: object, device: torch.device, env: Env | None = None, num_envs: int = FEW) -> str:
    """The one that runs where `name` is asked for."""
    if not isinstance(name, str) or name not in ("auto", *BACKENDS):
        raise InputError(f'backend {told(name)} is not known; use "auto", "eager", "native", "compile" or "triton".')
    if name == "auto" and device.type == "cpu":
        return "eager" if num_envs < FEW or backend_problem("native", device, env) else "native"
    if name == "auto":
        usable = (x for x in ("triton", "compile") if not backend_problem(x, device, env))
        return next(usable, "eager")
    if name == "compile" and device.type == "cpu":
        if not (problem := backend_problem("native", device, env)):
            return "native"
        warnings.warn(
            f'on a CPU, backend "compile" is "native", which cannot run, so that it is "eager": {problem}.',
            stacklevel=3,
        )
        return "eager"
    if problem := backend_problem(name, device, env):
        raise InputError(f'backend "{name}" cannot run on device "{device}": {problem}.')
    return name


def environment(env: Env) -> Env:
    """`env`, if what it declares is such that `VectorEnv` can run it; its functions are for `gpusim.trial` to try."""
    if not isinstance(env.id, str):
        raise InputError(f"the id of an environment must be a text, not {told(env.id)}.")
    spaces(env.id, env.observation_space, env.action_space)
    _held(env.id, "observation_space", env.observation_space)
    _held(env.id, "action_space", env.action_space)
    if isinstance(env.action_space, Discrete) and env.action_space.n > 2**31 - 1:
        raise InputError(f"the action_space of {env.id} has more actions than int32 can number: {env.action_space}.")
    params = env.params
    fields = getattr(params, "_fields", ()) if isinstance(params, tuple) else None
    if fields is None or len(fields) != len(params) or not all(map(_is_number, params)):
        raise InputError(f"the params of {env.id} must be a NamedTuple of numbers, not {told(params)}.")
    for name, value in zip(fields, params, strict=True):
        if wrong := not_finite(value):
            raise InputError(f"the parameter {name!r} of {env.id} is {wrong}.")
    if env.max_episode_steps is not None and positive("max_episode_steps", env.max_episode_steps) > MAX_STEPS:
        raise InputError(
            f"max_episode_steps of {env.id} must be at most {MAX_STEPS}, or None, not {env.max_episode_steps}."
        )
    threshold = env.reward_threshold
    if threshold is not None:
        if not _is_number(threshold):
            raise InputError(f"the reward_threshold of {env.id} must be a number or None, not {told(threshold)}.")
        if wrong := not_finite(threshold):
            raise InputError(f"the reward_threshold of {env.id} is {wrong}.")
    if env.render is not None and not callable(env.render):
        raise InputError(
            f"the render of {env.id} must be a function of (state, params), or None, not {told(env.render)}."
        )
    return env


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _held(name: str, field: str, space: Discrete | Box) -> None:
    """Raises InputError where a `Box` holds nothing, or what no backend computes."""
    if not isinstance(space, Box):
        return
    if not math.prod(space.shape):
        raise InputError(f"the {field} of {name} has no entry: {space}.")
    if space.dtype.name not in ("float32", "uint8", "bool"):
        raise InputError(f"the {field} of {name} must be of float32, or an image of uint8 or bool, not {space.dtype}.")
    if space.dtype == np.float32 and not (space.low <= space.high).all():
        raise InputError(f"the {field} of {name} has a low above its high, or NaN: {space}.")


def spaces(name: str, observation: object, action: object) -> None:
    """Raises InputError where learners could not use these spaces of one environment."""
    if not _flat(observation) and not (isinstance(observation, Box) and len(observation.shape) in (2, 3)):
        raise InputError(
            f"the observation_space of {name} must be a flat float32 Box or an image's (of two or three axes), "
            f"not {observation}."
        )
    if not _flat(action) and not (isinstance(action, Discrete) and action.start == 0):
        raise InputError(
            f"the action_space of {name} must be a Discrete that starts at 0 or a flat float32 Box, not {action}."
        )


def bounded(space: Box) -> bool:
    """Whether actions can be drawn between its bounds, and stretched to them: float32 holds how far apart they are."""
    with np.errstate(over="ignore"):
        return bool(space.is_bounded() and np.isfinite(space.high - space.low).all())


def _flat(space: object) -> bool:
    return isinstance(space, Box) and len(space.shape) == 1 and space.dtype == np.float32


def whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError(f"{name} must be a whole number, not {told(value)}.")
    return int(value)


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, not {told(value)}.")
    return bool(value)


def text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name} must be a text, not {told(value)}.")
    return value


def one_of(name: str, value: object, words: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in words:
        raise InputError(f"{name} must be {' or '.join(map(_quoted, words))}, not {told(value)}.")
    return str(value)


def _quoted(word: str) -> str:
    return f'"{word}"'


def number(name: str, value: Any, what: str, low: float, high: float = math.inf, above: bool = False) -> float:
    """A finite number from `low` (above it, if so wished) to `high`; `what` says so."""
    known = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    finite = known and abs(value) <= sys.float_info.max  # Python compares whole numbers of any length
    if not finite or not low <= value <= high or (above and value == low):
        raise InputError(f"{name} must be {what}, not {told(value)}.")
    return float(value)


def render_mode(value: object) -> None:
    """Raises InputError where it is neither None nor "rgb_array"."""
    if value is not None and not (isinstance(value, str) and value == "rgb_array"):
        raise InputError(f'render_mode must be None or "rgb_array", not {told(value)}.')


def positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a positive whole number, not {told(value)}.")
    if value >= 2**63:
        raise InputError(f"{name} must be less than 2**63, not {told(value)}.")
    return int(value)


def memory(name: str, num_envs: int, observation: Box, device: torch.device) -> None:
    """Raises InputError where so many environments cannot fit: an observation, and the counters of each."""
    each = math.prod(observation.shape) * np.dtype(observation.dtype).itemsize + COUNTERS
    require(f"{num_envs:,} environments of {name}", num_envs * each, device)


def max_episode_steps(env: Task, value: int | None) -> int | None:
    """The time limit in force: None takes the environment's own, -1 takes none (as in Gymnasium)."""
    if value is None:
        return env.max_episode_steps
    if isinstance(value, int | np.integer) and value == -1:
        return None
    if positive("max_episode_steps", value) > MAX_STEPS:
        raise InputError(f"max_episode_steps must be at most {MAX_STEPS}, or -1 for no limit, not {value}.")
    return int(value)


def first_env(value: object, num_envs: int) -> int:
    first = whole("first_env", value)
    if first not in range(2**31 - num_envs + 1):
        raise InputError(f"first_env must be a whole number from 0 to 2**31 - num_envs, not {told(value)}.")
    return first


def autoreset_mode(value: object) -> AutoresetMode:
    for mode in AutoresetMode if isinstance(value, str | AutoresetMode) else ():
        if value in (mode, mode.value, mode.name, mode.name.lower()):
            return mode
    raise InputError(f'autoreset_mode {told(value)} is not known; use "same_step", "next_step" or "disabled".')


def seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**63:
        raise InputError(f"seed must be one whole number in [0, 2**63), not {told(value)}.")
    return int(value)


def later_seed(seed: int, by: int) -> int:
    """Another seed; after the greatest comes 0."""
    return (seed + by) % 2**63


def vectors(value: object, num_envs: int, backend: object) -> int:
    """How many vectors of equal size there are, which not every backend can step side by side."""
    count = positive("vectors", value)
    if num_envs % count:
        raise InputError(f"{num_envs} environments are no {count} vectors of equal size.")
    if count > 1 and backend not in ("auto", "eager", "compile"):
        raise InputError(f'backend "{backend}" steps one vector, not {count} side by side: use "eager" or "compile".')
    return count


def beside(device: torch.device, env: Env) -> str:
    """The backend of vectors side by side."""
    return "eager" if device.type == "cpu" or backend_problem("compile", device, env) else "compile"


def seeds(value: Any, count: int) -> list[int]:
    """As many as there are vectors side by side."""
    given = value.tolist() if isinstance(value, Tensor | np.ndarray) else value
    if not isinstance(given, list | tuple | range) or len(given) != count:
        raise InputError(f"seed must be {count} whole numbers, one for each vector, not {told(value)}.")
    return [seed(each) for each in given]


def params(env: Any, given: Any, num_envs: int, device: torch.device) -> Any:
    """`env.params` with what was given put in its place: numbers, `[N]` float32 tensors, or `Uniform` ranges."""
    if given is None:
        return env.params
    changes = given._asdict() if hasattr(given, "_asdict") else given
    if not isinstance(changes, dict):
        raise InputError(f"params must be a dict of changed parameters by name, not {type(given).__name__}.")
    changes = dict(changes)
    for name, value in changes.items():
        if name not in env.params._fields:
            raise InputError(f"{env.id} has no parameter {told(name)}; it has {', '.join(env.params._fields)}.")
        made = changes[name] = param(name, value, num_envs, device)
        unseen = isinstance(value, Uniform) or (
            isinstance(made, Tensor) and made.device.type != "cpu"
        )  # or a GPU waits
        if unseen:
            continue
        if bool(torch.as_tensor(made).isnan().any()):
            raise InputError(f"parameter {name!r} is not a number (nan).")
        if not bool(torch.as_tensor(made, dtype=torch.float32).isfinite().all()):
            raise InputError(f"parameter {name!r} must lie within the {GREATEST:.2g} of float32, not be {told(value)}.")
    drawn = sum(isinstance(value, Uniform) for value in changes.values())
    if drawn > BLOCKS:
        raise InputError(f"at most {BLOCKS} parameters can be drawn from ranges, not {drawn}.")
    return env.params._replace(**changes)


def param(name: str, value: Any, num_envs: int, device: torch.device) -> Any:
    if isinstance(value, Uniform):
        numbers = all(isinstance(x, int | float | np.number) and not isinstance(x, bool) for x in value)
        if not numbers or not -math.inf < value.low < value.high < math.inf:
            raise InputError(f"parameter {name!r} needs finite Uniform(low, high) with low < high, not {told(value)}.")
        if not max(-value.low, value.high, value.high - value.low) <= GREATEST:
            raise InputError(
                f"parameter {name!r} needs a Uniform(low, high) within the {GREATEST:.2g} of float32, and so far apart at "
                f"most, not {told(value)}."
            )
        return value
    if isinstance(value, int) and abs(value) >= 2**63:  # more than a tensor of ints holds
        value = float(value) if abs(value) <= GREATEST else math.inf
    try:
        tensor = as_tensor(name, value, device)
        dense = tensor.layout is torch.strided and not tensor.is_nested
        real = dense and not tensor.is_complex() and tensor.dtype != torch.bool
        tensor = tensor.to(torch.float32) if real else torch.empty(0)
    except InputError:
        tensor = torch.empty(0)
    if tensor.shape not in ((), (num_envs,)):
        raise InputError(
            f"parameter {name!r} must be a number, a tensor of shape ({num_envs},) or a gpusim.Uniform(low, high)."
        )
    return float(value) if tensor.ndim == 0 else tensor.detach().clone()


def as_tensor(name: str, value: object, device: torch.device | None = None) -> Tensor:
    """What torch makes of it."""
    try:
        return torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # NotImplementedError too, of the device "meta"
        raise InputError(f"{name} must be numbers, in a tensor, an array or a list, not {told(value)}.") from None


def _tensor(value: object) -> Any:
    """An array as a tensor of its own where torch has its dtype; anything else as it is."""
    try:
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("="))) if isinstance(value, np.ndarray) else value
    except TypeError:
        return value


def mask(value: object, num_envs: int, device: torch.device) -> Tensor:
    """A `reset_mask` as a bool tensor `[N]` on the device."""
    value = _tensor(value)
    if not isinstance(value, Tensor) or value.dtype != torch.bool or value.shape != (num_envs,):
        got = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"reset_mask must be a bool tensor or array of shape ({num_envs},), not {got}.")
    if value.device.type not in ("cpu", device.type) or value.layout is not torch.strided:
        raise InputError(
            f'reset_mask must be a dense tensor on device "{device}", not {value.layout} on "{value.device}".'
        )
    return value.to(device)


def actions(value: object, space: Discrete | Box, num_envs: int, device: torch.device, values: bool) -> Tensor:
    """The actions of one step as a tensor on the device; `values` says whether to look at their range too."""
    if isinstance(value, np.ndarray) and device.type == "cpu":
        value = _tensor(value)
    if not isinstance(value, Tensor):
        raise InputError(f'actions must be a torch tensor on device "{device}", not {type(value).__name__}.')
    if value.device != device and (value.device.type != "cpu" or device.type != "cpu"):  # "cpu:0" is "cpu"
        raise InputError(f'actions are on device "{value.device}" but the environment is on "{device}".')
    if value.layout is not torch.strided or value.is_nested:
        raise InputError(f"actions must be a dense tensor, not {'nested' if value.is_nested else value.layout}.")
    shape = (num_envs, *(space.shape or ()))
    if value.shape != shape:
        raise InputError(f"actions must have shape {shape}, not {tuple(value.shape)}.")
    allowed = (torch.int64, torch.int32) if isinstance(space, Discrete) else (torch.float32,)
    if value.dtype not in allowed:
        names = " or ".join(str(d).removeprefix("torch.") for d in allowed)
        raise InputError(f"actions must be {names} for {space}, not {str(value.dtype).removeprefix('torch.')}.")
    value = value.detach()
    if values:
        _range(value, space)
    return value.clone()  # the caller may write to his own, and a state may keep this one


def _range(value: Tensor, space: Discrete | Box) -> None:
    array: Any = value
    if value.device.type == "cpu":
        array = value.numpy()  # NumPy's reductions have less overhead than torch's
        if isinstance(space, Discrete) and array.view(f"u{array.itemsize}").max() < space.n:  # one below 0 is huge
            return
    low, high = float(array.min()), float(array.max())
    if isinstance(space, Discrete):
        if low < 0 or high >= space.n:
            raise InputError(f"actions must lie in 0 to {space.n - 1}; these reach from {low:.0f} to {high:.0f}.")
        return
    least, most = torch.from_numpy(space.low).to(value), torch.from_numpy(space.high).to(value)
    if not (low >= float(least.max()) and high <= float(most.min())) and not bool(
        ((value >= least) & (value <= most)).all()
    ):
        raise InputError(f"actions must lie in {space}; these reach from {low:g} to {high:g}: clamp them first.")

"""A step of a few environments, taken before anything is made of a definition, and one sentence where it breaks a promise.

What the functions give is compared with what `gpusim.Env` asks for, and with what they give for some of the environments
alone; meanwhile `gpusim.watch` looks at what they do. A number is as good as a lane of it: `ready` makes it one.
"""

import dataclasses
import inspect
import numbers
import os
import re
import traceback
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from gpusim import errors, fill
from gpusim.errors import InputError
from gpusim.fill import Field, Numbers
from gpusim.kernels import lang
from gpusim.kernels.lang import STREAM_INIT, STREAM_STEP, Rng, TriedTable
from gpusim.precision import float32
from gpusim.remember import by_env
from gpusim.tables import joined
from gpusim.watch import Forbidden, watched

N = 5  # environments
GREATEST = float(np.finfo(np.float32).max)
ALL, SOME = slice(0, None), slice(2, None)
ARGUMENTS = {"init": "rng, params", "step": "state, action, rng, params", "observe": "state, params"}
REMEDIES = {
    "must be Tensor, not": "a word is given a lane first, never a number alone",
    "can't set attribute": "a State is never changed: make a new one, State(...)",
    "__new__() missing": "every field of the State is given",
}
HERE = os.path.dirname(__file__)
OURS = (  # of what an error passes on its way, all that is not the author's
    *(os.path.dirname(str(module.__file__)) + os.sep for module in (torch, np, lang)),
    *(os.path.join(HERE, f"{name}.py") for name in ("trial", "reward", "engine", "watch", "fill")),
)


@by_env
def ready(env: Any, lanes: tuple[str, ...] = ()) -> Any:
    """`env`, tried; where its functions give numbers for lanes, one like it whose functions give lanes.

    Args:
        lanes: the parameters that are to be lanes, not numbers.

    Raises:
        InputError: a function has the wrong arguments, fails, gives what it should not, writes into what it was given,
            draws by other means than its `rng`, looks at values, or makes one environment depend on others.
    """
    try:
        state, fields, found = Trial(env, lanes).run()
    except InputError as refused:
        if not (torch.cuda.is_available() and "on the same device" in str(refused)):
            raise
        state, fields, found = Trial(env, lanes, device="cuda").run()  # the author's own tensors lie there
    if not any(found):
        return env
    return ready(dataclasses.replace(env, **fill.filled(env, state, fields, found)), lanes)


class Trial:
    """The functions of one environment, run on five, and later on three of them alone."""

    def __init__(self, env: Any, lanes: tuple[str, ...] = (), seed: int = 0, device: str = "cpu"):
        self.env, self.lanes, self.seed, self.device = env, lanes, seed, device
        self.space = env.observation_space
        self.numbers: list[str] = []  # the fields that init gives numbers for
        self.watched: set[str] = set()  # the functions that have run: once is enough

    @float32
    def run(self) -> tuple[Any, dict[str, Field], Numbers]:
        """The State's class, its fields, and where numbers stand for lanes."""
        for role, arguments in ARGUMENTS.items():
            self._takes(role, arguments)
        if self.env.render is not None:
            takes(self.env.render, "state, params", f"the render of {self.env.id}")
        with torch.inference_mode(False), torch.no_grad(), on(self.device):
            begun = self.init(ALL)
            fields = {name: _field(value) for name, value in begun._asdict().items()}
            self.numbers = [f"`{name}`" for name in _numbers(begun, fields)]
            for _ in range(3):
                state = self._state(begun, fields)
                new, reward, terminated = self.step(state, ALL)
                settled = self._settled(begun, new, fields)
                if settled == fields:
                    break
                fields = settled
            else:
                self.refuse("step", "gives State fields of another dtype at every step")
            seen = self.observe(state, ALL)
            self._alone(state, begun, new, reward, terminated, seen)
            self._inside(seen)
        number = _numbers(begun, fields), _numbers(new, fields)
        picture = len(self.space.shape) > 1
        entries = () if picture else tuple(i for i, x in enumerate(seen) if is_number(x))
        partial = picture and (is_number(seen) or seen.shape != (N, self._cells()))
        dtype = torch.as_tensor(seen).dtype if partial else None
        return type(begun), fields, Numbers(*number, is_number(reward), is_number(terminated), entries, dtype)

    @float32
    def transition(self, rows: slice = ALL) -> tuple[Any, ...]:
        """State, action and what the step gives: State, reward and terminated."""
        with torch.inference_mode(False), torch.no_grad(), on(self.device):
            state = self.init(rows)
            return state, self._action(rows), *self.step(state, rows)

    def init(self, rows: slice) -> Any:
        state = self.call("init", self._rng(rows, STREAM_INIT), self.params_of(rows))
        if not _is_record(state):
            self.refuse(
                "init",
                f"gives {described(state)} where a State is meant, a NamedTuple of lanes (class State(NamedTuple): ...)",
            )
        if not state._fields:
            self.refuse("init", "gives a State without a field")
        for name, value in state._asdict().items():
            self._lane("init", f"`{name}` of the State", value, _size(rows), wide=True)
        return state

    def step(self, state: Any, rows: slice) -> tuple[Any, Any, Any]:
        n = _size(rows)
        given = self.call("step", state, self._action(rows), self._rng(rows, STREAM_STEP), self.params_of(rows))
        if not isinstance(given, tuple) or type(given) is type(state) or len(given) != 3:
            what = f"{len(given)} values" if type(given) is tuple else described(given)
            self.refuse("step", f"gives {what} where three are meant, (State, reward, terminated)")
        new, reward, terminated = given
        if type(new) is not type(state):
            self.refuse("step", f"gives {described(new)} first, where the {type(state).__name__} of init is meant")
        for name, value in new._asdict().items():
            self._lane("step", f"`{name}` of the State", value, n, wide=True)
        self._lane("step", "reward", reward, n)
        if not isinstance(terminated, bool | np.bool_):
            if is_number(terminated):
                self.refuse(
                    "step", f"gives {terminated!r} as terminated, where True or False, or a bool lane, is meant"
                )
            self._lane("step", "terminated", terminated, n)
            if terminated.dtype != torch.bool:
                self.refuse(
                    "step",
                    f"gives {described(terminated)} as terminated, where a bool lane is meant: compare, as in `x > 0`",
                )
        return new, reward, terminated

    def observe(self, state: Any, rows: slice) -> Any:
        n, params = _size(rows), self.params_of(rows)
        if len(self.space.shape) > 1:
            return self._picture(state, params, n)
        seen = self.call("observe", state, params)
        wanted = f"a tuple of {self.space.shape[0]} lanes"
        if not isinstance(seen, tuple):
            comma = ": mind the comma, `return x,`" if self.space.shape == (1,) else ""
            self.refuse("observe", f"gives {described(seen)} where {wanted} is meant{comma}")
        if len(seen) != self.space.shape[0]:
            self.refuse(
                "observe", f"gives a tuple of {len(seen)} where {wanted} is meant, as the observation_space says"
            )
        for i, value in enumerate(seen):
            name = f"entry {i} of the observation"
            self._lane("observe", name, value, n)
            if isinstance(value, Tensor) and value.dtype != torch.float32:
                self.refuse(
                    "observe", f"gives {described(value)} as {name}, where a float32 lane is meant: to_float(x)"
                )
        return seen

    def _picture(self, state: Any, params: Any, n: int) -> Any:
        rows = (type(x)(*(f[:, None] if isinstance(f, Tensor) else f for f in x)) for x in (state, params))
        state, params = rows
        cells = self._cells()
        seen = self.call("observe", state, torch.arange(cells, dtype=torch.int32)[None], params)
        if not is_number(seen):
            dense = isinstance(seen, Tensor) and not seen.is_nested and seen.layout is torch.strided
            shape = tuple(seen.shape) if dense else None
            if shape not in ((n, cells), (n, 1), (1, cells)):
                self.refuse(
                    "observe",
                    f"gives {described(seen)} where the cells of an image are meant, [{n}, {cells}] for {n} environments",
                )
        self._finite("observe", "a cell", seen)
        value = torch.as_tensor(seen)
        if value.is_complex() or (value.dtype == torch.float64 and isinstance(seen, Tensor)):
            self.refuse("observe", f"gives {described(seen)} where float32, ints or bools are meant")
        kept = value.to(getattr(torch, self.space.dtype.name))
        truth = kept.dtype == torch.bool and not value.is_floating_point()  # of a whole number: all but 0 is True
        if not truth and not torch.equal(kept.to(value.dtype), value):
            self.refuse(
                "observe", f"gives values for cells that {self.space.dtype} does not hold, the dtype of its space"
            )
        return seen

    def _lane(self, role: str, name: str, value: Any, n: int, wide: bool = False) -> None:
        """Refuses what is neither a number nor a lane (or, if `wide`, entities), by its kind."""
        if is_number(value):
            self._finite(role, name, value)
            if role == "init" and not held(value, fill.DTYPES[_kind(value)]):
                self.refuse(role, f"gives {described(value)} as {name}, which an int32 lane does not hold")
            return
        meant = f"where a lane is meant, a tensor [{n}] for {n} environments" + (", or a number" if n == N else "")
        if not isinstance(value, Tensor):
            array = ": zeros_like(x) and the other words make tensors" if isinstance(value, np.ndarray) else ""
            self.refuse(role, f"gives {described(value)} as {name}, {meant}{array}")
        if value.is_nested or value.layout is not torch.strided:
            self.refuse(role, f"gives {described(value)} as {name}, {meant}: a lane is a dense tensor")
        entities = wide and value.ndim == 2 and value.shape[0] == n
        if value.shape != (n,) and not entities:
            one = "" if value.ndim else ": a reduction joins the entities of one environment, never environments"
            column = ": leave out the last axis" if value.shape == (n, 1) else ""
            self.refuse(role, f"gives {described(value)} as {name}, {meant}{one}{column}")
        if entities and value.shape[1] & (value.shape[1] - 1) | (value.shape[1] == 0):
            self.refuse(
                role,
                f"gives {described(value)} as {name}: the number of entities must be a power of two; some may be idle",
            )
        if value.device.type != self.device:
            self.refuse(role, f'gives {name} on device "{value.device}" where all it was given is on "{self.device}"')
        if value.dtype not in (torch.float32, torch.int32, torch.int64, torch.bool):
            self.refuse(
                role,
                f"gives {described(value)} as {name}, where float32, int32, int64 or bool is meant: to_float(x), to_int(x)",
            )
        self._finite(role, name, value)

    def _finite(self, role: str, name: str, value: Any) -> None:
        if problem := not_finite(value):
            self.refuse(role, f"gives {problem} as {name} at the first step")

    def _settled(self, begun: Any, new: Any, fields: dict[str, Field]) -> dict[str, Field]:
        """`fields`, those that begin as a number in the form that the step gives them."""
        settled = dict(fields)
        for name, old in begun._asdict().items():
            value, field = getattr(new, name), fields[name]
            if is_number(value):
                settled[name] = self._joined(name, is_number(old), value, field)
            elif (given := _field(value)) != field:
                if not is_number(old) or not _holds(given.dtype, field.dtype):
                    self._differs(name, value, field)
                settled[name] = given
        return settled

    def _joined(self, name: str, free: bool, number: Any, field: Field) -> Field:
        """The field that holds a number too; if `free`, a lane of floats will do where it is one of ints."""
        dtype = fill.DTYPES[_kind(number)]
        if _holds(field.dtype, dtype):
            if not held(number, field.dtype):
                self._differs(name, number, field)
            return field
        if not (free and _holds(dtype, field.dtype)):
            self._differs(name, number, field)
        return Field(dtype, field.width)

    def _differs(self, name: str, value: Any, field: Field) -> NoReturn:
        dtype = str(field.dtype).removeprefix("torch.")
        what = f"{dtype} tensor [{N}, {field.width}]" if field.width else f"{dtype} lane"
        self.refuse(
            "step",
            f"gives {described(value)} as `{name}` of the State, where it was given {_a(what)}: a field keeps the dtype and "
            "shape that init gives it (to_float(x), to_int(x))",
        )

    def _state(self, state: Any, fields: dict[str, Field], rows: slice = ALL) -> Any:
        def lane(value: Any, field: Field) -> Any:
            if isinstance(value, Tensor):
                return value[rows].clone()
            shape = (N, field.width) if field.width else (N,)
            return torch.full(shape, value, dtype=field.dtype)[rows]

        return type(state)(*(lane(value, fields[name]) for name, value in state._asdict().items()))

    def _alone(self, state: Any, begun: Any, new: Any, reward: Any, terminated: Any, seen: Any) -> None:
        """Some of the environments by themselves go the same way, whichever ints their actions are."""
        part = type(state)(*(x[SOME].clone() for x in state))
        try:
            again = self.step(part, SOME)
        except InputError as refused:
            if "must match the size of tensor" in str(refused):
                return  # it holds a tensor with a value for each of so many environments
            raise
        for name, value in new._asdict().items():
            other = getattr(again[0], name)
            if isinstance(value, Tensor) and isinstance(other, Tensor) and value.dtype != other.dtype:
                self.refuse(
                    "step",
                    f"gives `{name}` of the State the dtype of the action, which may be int32 or int64: to_int(action)",
                )
        for role, whole, some, repeat in (
            ("init", begun, lambda: self.init(SOME), lambda: self.init(ALL)),
            ("step", (new, reward, terminated), lambda: again, lambda: self.step(state, ALL)),
            ("observe", seen, lambda: self.observe(part, SOME), lambda: self.observe(state, ALL)),
        ):
            if alike(whole, some(), SOME):
                continue
            if alike(whole, repeat(), ALL):
                self.refuse(
                    role, "makes environments depend on one another: one alone goes another way than beside others"
                )
            self.refuse(
                role, "gives something else when it is called again: draw from rng, and keep what changes in the State"
            )

    def _inside(self, seen: Any) -> None:
        entries = seen if isinstance(seen, tuple) else [seen]
        bounds = zip(self.space.low.flatten().tolist(), self.space.high.flatten().tolist(), strict=True)
        for i, (value, (low, high)) in enumerate(zip(entries, bounds, strict=False)):
            value = torch.as_tensor(value)
            value = (value != 0 if self.space.dtype == np.bool_ else value).double()
            if bool(((value < low - 1e-6 * abs(low)) | (value > high + 1e-6 * abs(high))).any()):
                where = f"entry {i} of the observation" if isinstance(seen, tuple) else "a cell"
                self.warn(
                    f"gives {value.min():g} to {value.max():g} as {where} at reset, outside [{low:g}, {high:g}] of its space"
                )

    def warn(self, what: str) -> None:
        at = written_at(self.env.observe)
        warnings.warn(f"the observe of {self.env.id}{at and f' ({at})'} {what}.", UserWarning, stacklevel=2)

    def call(self, role: str, *args: Any) -> Any:
        function = getattr(self.env, role)
        try:
            return function(*args) if role in self.watched else watched(function, *args)
        except Forbidden as problem:
            self.refuse(role, str(problem), line(problem))
        except (Exception, SystemExit) as error:
            said = errors.said(error)
            remedy = next((f": {remedy}" for symptom, remedy in REMEDIES.items() if symptom in said), "")
            if role == "step" and self.numbers and not remedy:
                remedy = (
                    f"; init gives numbers for {', '.join(self.numbers)}, each a lane here: entities are written out"
                )
            what = f"fails by {type(error).__name__}{said and f' ({said})'}{remedy}"
            self.refuse(role, what, line(error), error)
        finally:
            self.watched.add(role)

    def refuse(self, role: str, what: str, at: str = "", cause: BaseException | None = None) -> NoReturn:
        place = at or written_at(getattr(self.env, role))
        raise InputError(f"the {role} of {self.env.id}{place and f' ({place})'} {what}.") from cause

    def _takes(self, role: str, arguments: str) -> None:
        if role == "observe" and len(self.space.shape) > 1:
            arguments = "state, cell, params"
        takes(getattr(self.env, role), arguments, f"the {role} of {self.env.id}")

    def params_of(self, rows: slice) -> Any:
        params = self.env.params
        lanes = {name: torch.full((N,), float(getattr(params, name)))[rows] for name in self.lanes}
        params, tables = params._replace(**lanes), self.env.tables
        return params if tables is None else joined(type(params), type(tables))(*params, *map(TriedTable, tables))

    def _rng(self, rows: slice, stream: int) -> Rng:
        index = torch.arange(N)[rows]
        step: Any = 0 if stream == STREAM_INIT else torch.zeros(len(index))
        return Rng(torch.tensor(self.seed), index, torch.zeros_like(index), step, stream)

    def _action(self, rows: slice) -> Any:
        space = self.env.action_space
        if isinstance(space, Discrete):
            return torch.arange(N, dtype=torch.int64 if rows is ALL else torch.int32)[rows] % int(space.n)
        some = np.clip(np.linspace(-1.0, 1.0, N)[:, None], space.low, space.high).astype(np.float32)
        lanes = torch.from_numpy(some).to(self.device)[rows].T.contiguous().unbind()
        return lanes if len(lanes) > 1 else lanes[0]

    def _cells(self) -> int:
        return int(np.prod(self.space.shape))


def on(device: str) -> AbstractContextManager:
    """Tensors are made on that device within it, whatever `torch.set_default_device` says."""
    return nullcontext() if torch.get_default_device().type == device else torch.device(device)


def takes(function: object, arguments: str, name: str) -> None:
    """Raises InputError where `function` cannot be called with these arguments."""
    count = len(arguments.split(", "))
    if not callable(function):
        raise InputError(f"{name} must be a function of ({arguments}), not {errors.told(function)}.")
    try:
        inspect.signature(function).bind(*arguments.split(", "))
    except (TypeError, ValueError):  # a builtin has no signature
        at = written_at(function)
        raise InputError(f"{name}{at and f' ({at})'} must take {count} arguments: ({arguments}).") from None


def written_at(function: object) -> str:
    """File and line of an author's function."""
    while made := getattr(function, "recipe", None):
        function = made[1][0]
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


def line(error: BaseException) -> str:
    """Where in the author's code it was raised."""
    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    theirs = [place for place in places if not place[0].startswith((*OURS, "<lanes "))]
    return "{}:{}".format(*theirs[-1]) if theirs else ""


def is_number(x: object) -> bool:
    return isinstance(x, int | float | np.bool_ | np.integer | np.floating)


def not_finite(value: Any) -> str:
    """What it is, where a number or a tensor has no finite float32; else nothing."""
    if isinstance(value, Tensor):
        value = value if value.is_complex() else value.to(torch.float32)
        return "" if bool(value.isfinite().all()) else "NaN" if bool(value.isnan().any()) else "an infinite number"
    if value != value:
        return "NaN"
    if not abs(value) <= GREATEST:
        return f"{described(value)} (float32 ends at {GREATEST:.2g})"
    return f"{described(value)} (int64 ends at 2**63)" if _kind(value) is int and not held(value, torch.int64) else ""


def held(number: Any, dtype: torch.dtype) -> bool:
    """Whether a lane of that dtype can be that number; one of floats can be any, rounded."""
    if dtype in (torch.int32, torch.int64):
        return torch.iinfo(dtype).min <= number <= torch.iinfo(dtype).max
    return True


def _kind(x: object) -> type:
    if isinstance(x, bool | np.bool_):
        return bool
    return int if isinstance(x, numbers.Integral) else float


def _field(value: Any) -> Field:
    if is_number(value):
        return Field(fill.DTYPES[_kind(value)], 0)
    return Field(value.dtype, value.shape[1] if value.ndim == 2 else 0)


def _holds(dtype: torch.dtype, number: torch.dtype) -> bool:
    """Whether a lane of `dtype` may stand for a number that is a lane of `number` by itself."""
    return dtype == number or (number == torch.int32 and dtype in (torch.int64, torch.float32))


def _numbers(state: Any, fields: dict[str, Field]) -> dict[str, Field]:
    return {name: fields[name] for name, value in state._asdict().items() if is_number(value)}


def _is_record(x: object) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def _size(rows: slice) -> int:
    return len(range(N)[rows])


def alike(whole: object, some: object, rows: slice) -> bool:
    """Whether `some` are these rows of `whole`, but for last bits."""
    if isinstance(whole, tuple):
        return isinstance(some, tuple) and all(alike(x, y, rows) for x, y in zip(whole, some, strict=True))
    if not isinstance(whole, Tensor) or not isinstance(some, Tensor):
        return bool(whole == some) if is_number(whole) and is_number(some) else False
    mine = whole[rows] if len(whole) == N else whole
    return mine.shape == some.shape and torch.allclose(mine.double(), some.double(), rtol=1e-4, atol=1e-5)


def described(value: object) -> str:
    """A value in a sentence."""
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        if value.is_nested or value.layout is not torch.strided:
            kind = "nested" if value.is_nested else str(value.layout).removeprefix("torch.").replace("_", " ")
            return f"a {kind} tensor of {dtype}"
        return f"{_a(dtype)} tensor {list(value.shape)}" + (' on "meta"' if value.is_meta else "")
    if is_number(value):
        return f"the number {errors.told(value.item() if isinstance(value, np.generic) else value)}"
    name = type(value).__name__
    return "None" if value is None else _a(name)


def _a(name: str) -> str:
    return f"{'an' if re.match('[aeiouAEIOU]|ndarray', name) else 'a'} {name}"

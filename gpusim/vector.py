"""`VectorEnv`: many environments behind Gymnasium's vector interface, on torch tensors."""

import secrets
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from torch import Tensor

from gpusim import checks, engine
from gpusim.base import apart
from gpusim.book import Book, Rules, Step, Tally
from gpusim.engine import Carry, Mode
from gpusim.env import Env, Uniform
from gpusim.errors import InputError
from gpusim.kernels.cpp import CompileError
from gpusim.kernels.policy import MlpPolicy
from gpusim.pin import Pin
from gpusim.precision import float32
from gpusim.registry import runnable, spec
from gpusim.render import fps, frames, render_problem
from gpusim.rollout import Policy, Rollout
from gpusim.sim.cpu.eager import LookAhead
from gpusim.sim.cpu.native import Native
from gpusim.sim.functional import SyncFree, compiled_actions
from gpusim.sim.protocol import Stepper
from gpusim.state import Snapshot, VectorState, carry_of, fitted, possible, vector_state
from gpusim.stepped import SteppedVectorEnv
from gpusim.tables import placed, replaced
from gpusim.tree import each_field, tree_map


class VectorEnv(SteppedVectorEnv):
    """`num_envs` environments that step together; observations, rewards and flags are torch tensors on `device`.

    A trajectory depends on the seed, the environment's index and the actions, and on nothing else: not on `num_envs`,
    nor on how steps are chunked into calls. (Two backends may differ in the last bits of a float.) Nothing is differentiated
    through; `Env.step` itself can be.

    Args:
        env: an id, with or without `gpusim/` before it, or an `Env`.
        num_envs: N.
        device: `"auto"` (CUDA where there is a GPU), `"cpu"`, `"cuda"`, `"cuda:N"`.
        backend: `"eager"`, `"native"` (C++ for this processor, on the CPU; needs a C++ compiler, for a second or two, once),
            `"compile"` (`torch.compile`, on a GPU; on the CPU it stands for native, or eager where that cannot be, with a
            warning), `"triton"` (a fused kernel; needs a GPU, or TRITON_INTERPRET=1), or `"auto"`: on the CPU native from 16
            environments on where it can be, else eager; on a GPU triton where the environment can be lowered, else compile.
            Eagerly on the CPU, an environment made of the vocabulary alone is computed by NumPy in the tensors' memory,
            with less overhead; any other by torch.
        autoreset_mode: what `step` does with an episode that ends (Gymnasium's `AutoresetMode` or its name).
            `"same_step"` resets it at once, `"next_step"` at the next call, whose row is then no transition,
            `"disabled"` leaves it to `reset(options={"reset_mask": mask})`; meanwhile its row repeats itself with reward 0.
        params: changed parameters by name; each a number, a tensor `[N]`, or a `gpusim.Uniform` drawn at every reset.
        max_episode_steps: the time limit; None takes the environment's own, -1 takes none.
        copy: whether every step returns tensors of its own. With False the same tensors are filled anew at each step.
        validate: whether to look at the values of actions and masks, for which a GPU has to stop; None: on the CPU only.
        render_mode: `"rgb_array"` makes `render` give frames; `gpusim.render` draws without it.
        tables: other tables than the environment's own, by name, of as many columns and any length: test data in the place
            of training data.
        first_env: the number of the first environment: these are rows `first_env` to `first_env + num_envs - 1` of a larger
            vector, bit for bit, as for another GPU's share.
        vectors: there are so many vectors of equal size, row after row, each as it would be alone: `reset(seed=[...])` gives
            each its own seed, by which its rows draw as environments 0 and on. By the backends "eager" and "compile".

    Attributes:
        task: the `Env` that steps.

    Raises:
        InputError: an argument cannot be used, or the environment breaks a promise of `gpusim.Env`; the sentence says what
            can, and where.
    """

    def __init__(
        self,
        env: str | Env,
        num_envs: int = 1,
        *,
        device: str | torch.device = "auto",
        backend: str = "auto",
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        params: Any = None,
        max_episode_steps: int | None = None,
        copy: bool = True,
        validate: bool | None = None,
        render_mode: str | None = None,
        first_env: int = 0,
        tables: Any = None,
        vectors: int = 1,
    ):
        checks.render_mode(render_mode)
        self.task: Env = runnable(env if tables is None else replaced(spec(env), tables))
        self.render_mode, undrawn = render_mode, render_problem(self.task)
        if render_mode and undrawn:
            raise InputError(undrawn)
        self.num_envs = checks.positive("num_envs", num_envs)
        self.device = checks.device(device)
        checks.memory(self.task.id, self.num_envs, self.task.observation_space, self.device)
        self.task = placed(self.task, self.device)
        self.vectors = checks.vectors(vectors, self.num_envs, backend)
        if self.vectors > 1 and backend != "eager":
            backend = checks.beside(self.device, self.task)
        self._asked, self.backend = backend, checks.backend(backend, self.device, self.task, self.num_envs)
        self._declare(self.task, autoreset_mode, max_episode_steps, copy, validate, first_env)
        if self.vectors > 1:
            self.index = self.first_env + torch.arange(self.num_envs // self.vectors, device=self.device).repeat(
                self.vectors
            )
        modes = [] if undrawn else ["rgb_array"]
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": modes, "render_fps": fps(self.task)}
        self._params = self._checked_params(params)
        self._carry: Carry | None = None
        self._acted: tuple[int, Tensor] | None = None  # the clock after the last step, and its actions
        self._stepper = self._make_stepper()

    @property
    def params(self) -> Any:
        """The parameters, a `NamedTuple` of numbers, tensors `[N]` and `Uniform` ranges; change them by `set_attr`."""
        return self._params

    @property
    def episodes(self) -> Tensor:
        """`[N]` int64, the number of every environment's episode, from 0 at the reset with a seed."""
        return self._settled().episode

    def _checked_params(self, given: Any) -> Any:
        params = checks.params(self.task, given, self.num_envs, self.device)
        if lanes := [k for k, v in params._asdict().items() if isinstance(v, Tensor | Uniform)]:
            self.task = runnable(self.task, lanes)
        return params

    def _make_stepper(self) -> Stepper:
        if self.backend == "triton":
            from gpusim.sim.triton import TritonStepper

            return TritonStepper(self.task, self._mode(), self.index, self.first_env)
        mode = self._mode()
        if self.device.type != "cpu":
            return SyncFree(self.task, mode, self.index, self.backend == "compile")
        if self.backend == "native":
            try:
                return Native(self.task, mode, self.index, self._params)
            except CompileError as error:
                if self._asked == "native":
                    raise InputError(f'backend "native" cannot run: {error}.') from None
                warnings.warn(f"gpusim steps eagerly: {error}.", stacklevel=2)
                self.backend = "eager"
        return LookAhead(self.task, mode, self.index)

    def __getstate__(self) -> dict[str, Any]:
        """Without the stepper, which is made anew where the copy is."""
        return vars(self) | {"_carry": self._carry and self._settled(), "_stepper": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._stepper = self._make_stepper()

    def _mode(self) -> Mode:
        per_env = tuple(k for k, v in self._params._asdict().items() if isinstance(v, Tensor))
        ranges = tuple((k, *v) for k, v in self._params._asdict().items() if isinstance(v, Uniform))
        rules = Rules(self.autoreset_mode, self.max_episode_steps)
        return Mode(rules, ranges, engine.draws(self.task.step), per_env)

    @float32
    def reset(self, *, seed: int | Sequence[int] | None = None, options: dict | None = None) -> tuple[Tensor, dict]:
        """Begins new episodes: of all environments, or of those in `options["reset_mask"]`.

        Args:
            seed: an int in [0, 2**63) that starts all random streams anew. Without one they go on (the first time: from
                the operating system's entropy). Of several vectors, a sequence of one for each.
            options: `{"reset_mask": mask}`, bool `[N]`, tensor or array; the other environments stay as they are.

        Returns:
            obs: `[N, *obs]` of all environments.
            infos: an empty dict.
        """
        mask = self._masked(seed, options, self.validate)
        if mask is not None:
            with apart():
                self._carry = self._stepper.begin(self._live(), mask.clone())
                return self.observe(), {}
        seeds = None if seed is None else checks.seeds(seed, self.vectors) if self.vectors > 1 else [checks.seed(seed)]
        super().reset(seed=seeds[0] if seeds else None)
        with apart():
            if seeds or self._carry is None:
                self._stepper = self._make_stepper()
                self._carry = self._blank(*(seeds or [secrets.randbits(63) for _ in range(self.vectors)]))
                self.clock = 0
            everyone, self._acted = torch.ones(self.num_envs, dtype=torch.bool, device=self.device), None
            self._carry = self._stepper.begin(self._carry, everyone)
            return self.observe(), {}

    def _blank(self, *seeds: int) -> Carry:
        """Before the first episode, which is number 0."""
        zero = torch.zeros(self.num_envs, dtype=torch.float32, device=self.device)
        flag = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        episode = torch.full((self.num_envs,), -1, device=self.device)
        params = type(self._params)(*(zero.clone() if isinstance(p, Uniform) else p for p in self._params))
        key = torch.tensor(seeds or [0] * self.vectors, device=self.device)
        key = key.repeat_interleave(self.num_envs // self.vectors) if self.vectors > 1 else key[0]
        state = engine.fresh(self.task, self._mode(), params, key, self.index, episode + 1).state
        return Carry(state, params, Book(zero, zero.clone(), flag, flag.clone()), episode, key)

    def _settled(self) -> Carry:
        """The carry as a whole, for whatever is not a step."""
        self._carry = self._stepper.settle(self._live())
        return self._carry

    def require_reset(self) -> None:
        self._live()

    @property
    def seed(self) -> Tensor:
        """As `seeded`, an int64 scalar on the device, `[N]` of several vectors; not to be written to."""
        return torch.as_tensor(self._live().seed)

    @float32
    def observe(self) -> Tensor:
        """`[N, *obs]`, what to act on next, as `reset` or the last step gave it."""
        return self._stepper.observe(self._live())

    def _live(self) -> Carry:
        if self.closed:
            raise InputError("this VectorEnv has been closed; make a new one.")
        if self._carry is None:
            raise ResetNeeded("call reset() before anything else.")
        return self._carry

    def begun(self) -> Tensor:
        """`[N]` bool, where `observe` gives the first of an episode."""
        return torch.as_tensor(self._settled().book.elapsed == 0.0)

    def over(self) -> Tensor:
        """`[N]` where an episode was over before this step, of a mode that leaves it so."""
        return self._stepper.over(self._live())

    @float32
    def advance(
        self, actions: Tensor, *, observe: bool = True, tally: Tally | None = None
    ) -> tuple[Step, Tally | None]:
        """As `step`, of actions that were checked; see `gpusim.rollout.Steppable`."""
        with apart():
            self._carry, out, tally = self._stepper.step(self._live(), engine.action_lanes(actions), observe, tally)
        self.clock += 1
        self._acted = self.clock, actions
        return out, tally

    @float32
    def advance_several(self, actions: list[Tensor], tally: Tally) -> Tally:
        """Some steps, of which nothing is wanted but the tally."""
        with apart():
            self._carry, tally = self._stepper.steps(self._live(), [engine.action_lanes(a) for a in actions], tally)
        self.clock += len(actions)
        self._acted = self.clock, actions[-1]
        return tally

    @float32
    def random_actions(self, block: int, count: int) -> Tensor:
        """Some blocks of the stream of random actions, see `gpusim.engine.random_actions`."""
        with apart():
            blocks = torch.arange(block, block + count, device=self.device)
            eager = partial(engine.random_actions, self.single_action_space)
            draw = compiled_actions(self.task) if self.backend == "compile" else eager
            return draw(self._live().seed, self.index, blocks)

    @float32
    def fast_rollout(self, num_steps: int, policy: Policy | None, transitions: bool) -> Rollout | None:
        """A rollout in one kernel; None where it has to be made step by step."""
        with apart():
            made = self._stepper.rollout(self._live(), self.clock, num_steps, policy, transitions)
        if made is None:
            return None
        self._carry, rolled = made
        self.clock += num_steps
        return rolled

    def hold(self, pin: Pin) -> bool:
        """Moves the state into the tensors of `pin`, should it be elsewhere; False where it fits only into new ones."""
        if self._carry is pin.carry and self._stepper is pin.stepper:
            return True
        fits = pin.take(self._live(), self._mode(), self._stepper)
        self.put_back(pin)
        return fits

    def put_back(self, pin: Pin) -> None:
        """The state is the one that `pin` holds, whatever has happened meanwhile."""
        self._carry = pin.carry

    @float32
    def rollout_into(self, out: Any, policy: MlpPolicy, clock: Tensor) -> None:
        """By the backend "triton": as many steps as `out` has room for, in one launch. It writes to `out`, and in
        place to the state.

        Args:
            out: a `gpusim.kernels.rollout_triton.Collected`.
            clock: int64 scalar on the device, `self.clock`, which is the caller's to count up.
        """
        self._stepper.rollout_into(self._live(), out, policy, clock)

    def snapshot(self, rows: list[int]) -> Snapshot:
        """Those environments as they stand, for whoever draws them."""
        c, row = self._settled(), torch.tensor(rows, device=self.device)
        state, params = (
            each_field(lambda x: x[row].cpu() if isinstance(x, Tensor) else x, fields) for fields in (c.state, c.params)
        )
        acted = (c.book.elapsed[row] > 0).cpu()
        last = self._acted[1] if self._acted and self._acted[0] == self.clock else None  # else a kernel chose them
        actions = [None] * len(rows) if last is None else last[row].cpu().numpy()
        return Snapshot(state, params, [a if b else None for a, b in zip(actions, acted, strict=True)])

    def get_state(self) -> VectorState:
        """A copy of all that a trajectory depends on: tensors and numbers, in tuples."""
        return vector_state(tree_map(torch.clone, self._settled()), self.clock)

    @float32
    def set_state(self, state: VectorState | dict) -> None:
        """Puts back what `get_state` gave, here or in another `VectorEnv` of this environment and `num_envs`.

        Args:
            state: a `VectorState`, as it was or with fields replaced, or its nested `_asdict()`; from any device.

        Raises:
            InputError: a field is missing, or has another shape or dtype than here; nothing has changed then.
        """
        with apart():
            here = vector_state(self._blank() if self._carry is None else self._settled(), self.clock)
            new = fitted(state, here, self.num_envs, self.device)
            if self.validate:
                possible(new)
            self._carry, self.clock, self._stepper = carry_of(new), new.clock, self._make_stepper()
            self._acted = None

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple:
        """The method (or attribute) `name` of this object, its result once for each environment; of `render` its frame."""
        value = getattr(self, checks.text("name", name))
        if name == "render":
            return self.render() or (None,) * self.num_envs
        return (value(*args, **kwargs) if callable(value) else value,) * self.num_envs

    def get_attr(self, name: str) -> tuple:
        """A parameter of the environment (each environment's own value) or an attribute of this object, N times."""
        if checks.text("name", name) not in self.task.params._fields:
            return self.call(name)
        value = getattr(self._settled().params if self._carry else self._params, name)
        return tuple(value.tolist()) if isinstance(value, Tensor) else (value,) * self.num_envs

    @float32
    def set_attr(self, name: str, values: Any) -> None:
        """Sets a parameter from the next step on: a number for all, one for each, or a `gpusim.Uniform` (from the next
        reset on). Compiled, another number for all is compiled anew; one for each is not.

        Raises:
            InputError: the environment has no such parameter, or the values do not fit.
        """
        self._params = self._checked_params({**self._params._asdict(), checks.text("name", name): values})
        carry = self._settled() if self._carry else None
        self._stepper = self._make_stepper()
        if carry is None:
            return
        value = getattr(self._params, name)
        if isinstance(value, Uniform):
            value = torch.tensor(self.get_attr(name), dtype=torch.float32, device=self.device)
        self._carry = carry._replace(params=carry.params._replace(**{name: value}))

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Every environment's frame `[H, W, 3]` uint8, or None without a `render_mode`; `gpusim.render` puts them in one."""
        return tuple(frames(self, list(range(self.num_envs)))) if self.render_mode else None

    def __repr__(self) -> str:
        device, backend = str(self.device), self.backend
        return f"VectorEnv({self.task.id!r}, num_envs={self.num_envs}, {device=}, {backend=})"

"""`MujocoWarp`: N worlds of a `PhysicsEnv`, stepped by MuJoCo Warp in memory that torch sees too.

Warp's arrays are torch's, without a copy. A step of the environment is one launch: its steps of the model were recorded
once. Episodes begin by torch operations on the masked rows, drawn as everything here is, so that a world depends on the
seed, its number and its actions, and on none beside it.

The functions of the author are shown copies of what MuJoCo has computed, of those arrays alone that they read. For derived
quantities belong to the last evaluation, which is one for all worlds: where an episode begins, the model is evaluated
anew, and the worlds that go on keep what they had, as each of Gymnasium's environments does.
"""

from copy import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpusim import checks
from gpusim.env import Uniform
from gpusim.errors import InputError
from gpusim.kernels.lang import STREAM_INIT, STREAM_PARAMS, Rng, uniform
from gpusim.physics import PhysicsEnv
from gpusim.physics_trial import started, tried, widened
from gpusim.sim.faults import Count
from gpusim.sim.mujoco_model import STATE, Model, Rows, host_field, library, set_host_field
from gpusim.sim.plane_capsule import correct
from gpusim.sim.warp_graph import Graph, on, warp

AFTER_CONTACTS = ("cacc", "cfrc_int", "cfrc_ext")  # what rne_postconstraint computes, as Gymnasium has it after a step
DERIVED = (  # what set_const computes, of `WEIGHTS` and their like
    "body_subtreemass", "body_invweight0", "dof_invweight0", "tendon_invweight0", "tendon_length0", "actuator_acc0",
)  # fmt: skip
WEIGHTS = ("qpos0", "body_mass", "body_inertia", "body_ipos", "body_iquat", "body_pos", "body_quat", "dof_armature")
DROPS_CONTACTS, DROPS_ROWS = ("BROADPHASE", "NARROWPHASE", "CCD"), ("NEFC", "NJMAX_NNZ")


class MujocoState(NamedTuple):
    """All that a trajectory depends on, by name, `[N, ...]`."""

    physics: dict[str, Tensor]  # what the integrator goes by
    seen: dict[str, Tensor]  # what observations and rewards go by
    params: dict[str, Tensor]  # those that each world has for itself


class MujocoWarp:
    """`gpusim.sim.protocol.Simulator`.

    Args:
        env: what is simulated.
        num_envs: N worlds.
        device: where.
        params: changed parameters, as of `gpusim.make`.
        deterministic: whether a GPU has to add up in one order, which costs time; a CPU does so anyway.

    Raises:
        InputError: the model or the functions of `env` cannot be used, or a library is missing.
    """

    def __init__(
        self,
        env: PhysicsEnv,
        num_envs: int,
        device: str | torch.device = "auto",
        *,
        params: Any = None,
        deterministic: bool = False,
    ):
        self.task, self.num_envs, self.device = env, checks.positive("num_envs", num_envs), checks.device(device)
        checks.memory(env.id, self.num_envs, env.observation_space, self.device)
        self.given = checks.params(env, params, self.num_envs, self.device)
        self.lanes = [name for name, p in self.given._asdict().items() if isinstance(p, Tensor | Uniform)]
        self.ranges = {name: p for name, p in self.given._asdict().items() if isinstance(p, Uniform)}
        self.reads = tried(env, *self.lanes).reads
        self.wp, self.mjw = warp(), library("mujoco_warp", env.id)
        correct()
        with torch.inference_mode(False), torch.no_grad():
            zero = torch.zeros(self.num_envs, device=self.device)
            self.params = type(self.given)(*(zero.clone() if isinstance(p, Uniform) else p for p in self.given))
            self._make(checks.flag("deterministic", deterministic))
            self._record()
        self.faults = Count(self.device, _sentences(env, self.d))
        self.parts: dict[str, Tensor] = {}
        self._observed: Tensor | None = None

    # ------------------------------------------------------------------------------------------------------ making

    def _make(self, deterministic: bool) -> None:
        """The model and the data of mujoco_warp, and torch's views of them."""
        env, host = self.task, self._host()
        own = list(env.fields) if self.lanes else []
        self.constants = any(name in WEIGHTS for name in own)
        batched = [name for name in own if "." not in name] + list(DERIVED if self.constants else ())
        try:
            with on(self.device):
                self.m = self.mjw.put_model(host, batch_sizes=dict.fromkeys(batched, self.num_envs))
                self.d = self.mjw.make_data(host, nworld=self.num_envs, nconmax=env.nconmax, njmax=env.njmax)
                for name in own:
                    if "." in name:
                        self._widen(name)
        except (NotImplementedError, ValueError) as error:
            why = " ".join(str(error).split()).rstrip(".")
            raise InputError(f"mujoco_warp cannot run the model of {env.id}: {why}.") from None
        self.m.opt.warn_overflow = 0  # it would print at every step; here it is counted, and said once
        self.m.opt.deterministic = deterministic
        self.fields = {name: self._view(self.m, name) for name in own}
        self.own = {name: view[:1].clone() for name, view in self.fields.items()}
        self.model = Model(host, env.frame_skip, env.id, lambda name: self._view(self.m, name))
        self.state_views = {name: self._view(self.d, name) for name in STATE}
        self.state_views = {name: view for name, view in self.state_views.items() if view.numel()}
        self.views = {name: self._view(self.d, name) for name in dict.fromkeys([*self.state_views, *self.reads])}
        self.after = [self._view(self.d, name) for name in AFTER_CONTACTS if self._contacts_wanted()]
        self.overflow = self.wp.to_torch(self.d.overflow)
        flags = self.mjw.OverflowType
        self.masks = [sum(int(flags[name]) for name in names) for names in (DROPS_CONTACTS, DROPS_ROWS)]

    def _host(self) -> Any:
        """The model on the host, its fields by parameters that are numbers, and with a solver that mujoco_warp has."""
        mujoco, host = library("mujoco", self.task.id), copy(tried(self.task, *self.lanes).host)
        if host.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
            host.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
        if self.task.fields and not self.lanes:
            for name, field in self.task.fields.items():
                set_host_field(host, name, field(host_field(host, name, 1), self.given))
            mujoco.mj_setConst(host, mujoco.MjData(host))
        return host

    def _widen(self, name: str) -> None:
        """Gives each world a row of its own in an option of the model."""
        holder, field = self.m.opt, name.removeprefix("opt.")
        old = getattr(holder, field)
        rows = self.wp.to_torch(old).expand(self.num_envs, *self.wp.to_torch(old).shape[1:]).contiguous()
        setattr(holder, field, self.wp.from_torch(rows, dtype=old.dtype))

    def _view(self, holder: Any, name: str) -> Tensor:
        for part in name.split("."):
            holder = getattr(holder, part)
        return self.wp.to_torch(holder)

    def _contacts_wanted(self) -> bool:
        return any(name in AFTER_CONTACTS for name in self.reads)

    def _record(self) -> None:
        """What is launched at a step, and where episodes begin."""
        blank = {name: view.clone() for name, view in self.state_views.items()}
        self.blank = {**blank, "qpos": self.model.qpos0}
        self.evaluates = self.constants or any(name not in self.state_views for name in self.reads)
        with on(self.device):  # compiles
            self._launch_steps()
            if self.evaluates:
                self._launch_evaluation()
        self._steps = Graph(self._launch_steps, self.device)
        self._evaluation = Graph(self._launch_evaluation, self.device) if self.evaluates else None
        for name, view in self.state_views.items():
            view.copy_(blank[name])
        self.overflow.zero_()
        self.seen = {name: self.views[name].clone() for name in self.reads}
        self.before = {name: seen.clone() for name, seen in self.seen.items()}
        self.data, self.data_before = (Rows(model=self.model, **rows) for rows in (self.seen, self.before))

    def _launch_steps(self) -> None:
        for _ in range(self.task.frame_skip):
            self.mjw.step(self.m, self.d)
        if self._contacts_wanted():
            self.mjw.rne_postconstraint(self.m, self.d)

    def _launch_evaluation(self) -> None:
        if self.constants:
            self.mjw.set_const(self.m, self.d)
        self.mjw.forward(self.m, self.d)

    # ------------------------------------------------------------------------------------------- gpusim.sim.protocol

    def begin(self, mask: Tensor, seed: Tensor, index: Tensor, episode: Tensor) -> None:
        """See `gpusim.sim.protocol.Simulator`."""
        if self.device.type == "cpu" and not mask.any():
            return
        self._draw_params(mask, seed, index, episode)
        new: dict[str, Any] = {}
        if self.task.begin is not None:
            rng = Rng(seed, index, episode, 0, STREAM_INIT)
            new = started(self.task.begin(rng, self.model, self.params)) or {}
        for name, view in self.state_views.items():
            put(view, mask, new.get(name, self.blank[name]))
        for view in self.after:
            put(view, mask, 0.0)
        self._evaluate()
        for name, seen in self.seen.items():
            put(seen, mask, self.views[name])
        self._observed = None

    def _evaluate(self) -> None:
        if self._evaluation:
            self._evaluation.launch()

    def _draw_params(self, mask: Tensor, seed: Tensor, index: Tensor, episode: Tensor) -> None:
        rng = Rng(seed, index, episode, 0, STREAM_PARAMS)
        for block, (name, range_) in enumerate(self.ranges.items()):
            put(getattr(self.params, name), mask, uniform(rng, block, *range_))
        self._apply_fields(mask)

    def _apply_fields(self, mask: Tensor) -> None:
        for name, view in self.fields.items():
            own = self.own[name]
            put(view, mask, self.task.fields[name](own, widened(self.params, own.ndim)))

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """See `gpusim.sim.protocol.Simulator`. A world whose physics are no numbers any more (nan or infinite) is over: with
        reward 0, seen as it was before the step. It stands in its first state then."""
        env = self.task
        if (ctrl := self.state_views.get("ctrl")) is not None:
            ctrl.copy_(actions if env.control is None else env.control(actions, self.params))
        for name, seen in self.seen.items():
            self.before[name].copy_(seen)
        self._steps.launch()
        for name, seen in self.seen.items():
            seen.copy_(self.views[name])
        broken = self._mend()
        reward, self.parts = added(env.reward(self.data_before, self.data, actions, self.params))
        terminated = broken if env.terminated is None else env.terminated(self.data, self.params) | broken
        self._observed = None
        return torch.where(broken, 0.0, reward), terminated

    def _mend(self) -> Tensor:
        """`[N]` bool, where physics broke down; those worlds are set back. What overflowed is counted too."""
        watched = {id(x): x for x in (self.state_views["qpos"], self.state_views["qvel"], *self.seen.values())}
        finite = [x.isfinite().flatten(1).all(1) for x in watched.values() if x.is_floating_point()]
        broken = ~torch.stack(finite).all(0)
        dropped = [(self.overflow & bits) != 0 for bits in self.masks]
        self.faults.add(broken, *dropped)
        self.overflow.zero_()
        if self.device.type == "cpu" and not broken.any():
            return broken
        for name, view in self.state_views.items():
            put(view, broken, self.blank[name])
        for name, seen in self.seen.items():
            put(seen, broken, self.before[name])
        return broken

    def observe(self) -> Tensor:
        """See `gpusim.sim.protocol.Simulator`."""
        if self._observed is None:
            self._observed = self.task.observe(self.data, self.params)
        return self._observed

    def infos(self) -> dict[str, Tensor]:
        """The parts of the last step's reward by name, `[N]` each, where the environment tells them."""
        return self.parts

    def state(self) -> MujocoState:
        """See `gpusim.sim.protocol.Simulator`."""
        return MujocoState(self.state_views, self.seen, {name: getattr(self.params, name) for name in self.lanes})

    def load(self, state: MujocoState) -> None:
        """See `gpusim.sim.protocol.Simulator`."""
        everyone = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        for name, lane in state.params.items():
            getattr(self.params, name).copy_(lane)
        self._apply_fields(everyone)
        for into, given in ((self.state_views, state.physics), (self.seen, state.seen)):
            for name, values in given.items():
                into[name].copy_(values)
        if self.constants:
            self._evaluate()
        self._observed = None


def put(into: Tensor, mask: Tensor, values: Any) -> None:
    """Writes the masked rows, of values that broadcast to all."""
    rows = mask.view(-1, *[1] * (into.ndim - 1))
    into.copy_(torch.where(rows, values, into))


def added(reward: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """A reward as a whole, and its parts by name, of which there may be none."""
    if not isinstance(reward, dict):
        return reward, {}
    total, *rest = reward.values()
    for part in rest:
        total = total + part
    return total, reward


def _sentences(env: PhysicsEnv, d: Any) -> tuple[str, str, str]:
    """What to say of each fault, once."""
    room = d.naconmax // d.nworld
    return (
        f"the physics of {env.id} became nan or infinite in a world, which begins anew: if it goes on, take a smaller "
        "timestep, or smaller controls.",
        f"worlds of {env.id} had more contacts than there is room for, and lost some: give it an nconmax above {room}.",
        f"a world of {env.id} had more rows of constraints than there is room for, and lost some: give it an njmax above "
        f"{d.njmax}.",
    )

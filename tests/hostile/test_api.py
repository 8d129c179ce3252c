"""The API with arguments of every kind: what cannot be meant is refused in a sentence and changes nothing."""

import dataclasses
import warnings
from typing import Any

import pytest
import torch
from gymnasium.error import ResetNeeded
from hypothesis import strategies as st

from gpusim import NotFinite, wrappers
from gpusim.agents import a2c, dqn, load_policy, ppo, pqn, reinforce
from gpusim.agents.train import evaluate
from gpusim.agents.train.ranges import hints
from tests.envs import wrong as definitions
from tests.hostile.counts import Ledger, call, command, draw
from tests.hostile.expressions import Call, Hole, Input, inputs

EXAMPLES = 18  # of each kind

COUNT = Hole(["1", "3", "np.int64(2)", "np.uint8(2)", "2"], wrong=["3.0", "1e30", "'four'"])
BOOL = Hole(["True", "False", "np.bool_(True)"])
SEEDS = Hole(
    ["None", "0", "1", "2**63 - 1", "np.int64(2)", "2", "2**31"], ["np.uint8(2)"], ["1.0", "np.int64(-1)",
        "[0, 1, 2, 3]"]
)  # fmt: skip
LIMITED = dataclasses.replace(COUNT, never=["2**31"])
DEVICE = Hole(
    ["'auto'", "'cpu'", "torch.device('cpu')", "'cpu:0'"], ["None"],
    ["'gpu'", "'CPU'", "'cuda:99'", "'mps'", "'meta'", "'cpu:1'", "'cuda:-1'", "'xla'", "'cpu:'"],
)  # fmt: skip
MODE = Hole(
    ["'same_step'", "'next_step'", "'disabled'", "AutoresetMode.DISABLED", "'NEXT_STEP'", "'NextStep'"],
        ["'DISABLED'"],
    ["'Same_Step'", "'same step'", "'samestep'", "AutoresetMode.SAME_STEP.value.lower()"],
)  # fmt: skip
PARAMS = Hole(
    ["None", "{}", "{'gravity': 9.0}", "{'gravity': np.float32(9)}", "{'gravity': torch.full((4,), 9.0)}",
        "{'gravity': 9}",
     "{'gravity': gpusim.Uniform(8, 10)}", "{'gravity': np.full(4, 9.0)}", "{'gravity': [9.0, 9.5, 10, 10]}",
     "gpusim.spec('CartPole-v1').params", "{'gravity': torch.tensor(9.0)}",
     "gpusim.spec('CartPole-v1').params._asdict()"],
    ["{'gravity': 1e60}", "{'gravity': inf}"],
    ["{'gravitation': 9.0}", "{'gravity': '9'}", "{'gravity': None}", "{'gravity': nan}",
        "{'gravity': torch.zeros(5)}",
     "{'gravity': torch.full((4,), nan)}", "{'gravity': [1, 2]}", "{'gravity': gpusim.Uniform(1, 1)}",
     "{'gravity': 1j}",
     "{'gravity': gpusim.Uniform('a', 2)}", "{'gravity': gpusim.Uniform(0, inf)}", "{1: 2}", "{'gravity': {}}",
     "{'gravity': torch.zeros(4, dtype=torch.complex64)}", "{'gravity': torch.zeros(4, device='meta')}",
     "{'gravity': True}",
     "gpusim.spec('Pendulum-v1').params", "[('gravity', 9.0)]", "{'gravity': (8, 10)}", "{None: 1.0}",
     "{'gravity': object()}",
     "{'gravity': np.array('9')}", "{'gravity': torch.eye(4).to_sparse()}", "{'gravity': lambda: 9.0}",
     "{'gravity': 10**400}", "{'gravity': torch.tensor([1, 2, 3, 4]) > 2}"],
)  # fmt: skip
LIMIT = Hole(
    ["None", "-1", "5", "np.int64(2)", "1", "2", "np.uint8(2)"], ["np.int64(-1)"], ["-2", "5.0", "2**24 + 1", "'5'"]
)
ENV = Hole(
    ["'CartPole-v1'", "'gpusim/CartPole-v1'", "gpusim.spec('CartPole-v1')"], ["np.str_('CartPole-v1')"],
    ["'CartPole-v9'", "'cartpole'", "'CartPole'", "'gpusim/'", "'LunarLander-v3'", "'nowhere:Mine-v0'",
        "'nowhere.py:Mine-v0'",
     "':'", "'a:'", "'.py'", "'x.py'", "'a b:c'", "'\\ud800:Mine-v0'", "'\\0.py:A-v0'", "'x' * 5000 + '.py:A-v0'",
     "'/:A'",
     "['CartPole-v1']", "b'CartPole-v1'", "gpusim.Env"],
)  # fmt: skip
DISCRETE = Hole(
    ["torch.zeros(4, dtype=torch.int64)", "torch.ones(4, dtype=torch.int32)", "np.zeros(4, np.int64)",
        "np.ones(8, int)[::-2]",
     "torch.ones(8, dtype=torch.int64)[::2]", "np.zeros(4, np.int32)", "np.zeros(4, '>i8')"],
    ["torch.ones(4, dtype=torch.int64).expand(4)"],
    ["torch.zeros(4)", "torch.zeros(3, dtype=torch.int64)", "torch.zeros(4, 1, dtype=torch.int64)",
        "torch.full((4,), 2)",
     "torch.full((4,), -1)", "torch.zeros(4, dtype=torch.bool)", "torch.zeros(4, dtype=torch.int8)", "[0, 1, 0, 1]",
     "(0,) * 4",
     "torch.zeros((), dtype=torch.int64)", "torch.zeros(4, dtype=torch.int64, device='meta')", "np.zeros(4)",
     "np.zeros(4, bool)",
     "np.array(['0'] * 4)", "np.zeros(4, object)", "np.zeros(4, 'datetime64[s]')", "torch.zeros(4, dtype=torch.uint8)",
     "torch.full((4,), 2**40)", "np.zeros(4, np.uint64)", "torch.zeros(4, dtype=torch.float16)",
     "torch.zeros(2, 2).long()",
     "torch.nested.nested_tensor([torch.zeros(4)])", "torch.quantize_per_tensor(torch.zeros(4), 1, 0, torch.quint8)",
     "torch.zeros(4, dtype=torch.int64).to_sparse()", "env.action_space"],
)  # fmt: skip
BOX = Hole(
    ["torch.zeros(4, 1)", "np.zeros((4, 1), np.float32)", "torch.full((4, 1), -2.0)",
        "torch.zeros(4, 1, requires_grad=True)",
     "torch.ones(1, 4).T", "np.ones((8, 1), np.float32)[::-2]", "torch.zeros(1, 1).expand(4, 1)"],
    [],
    ["torch.zeros(4)", "torch.zeros(4, 1).double()", "torch.zeros(4, 1).long()", "torch.full((4, 1), 2.5)",
        "np.zeros((4, 1))",
     "torch.full((4, 1), nan)", "torch.full((4, 1), inf)", "torch.zeros(1, 4)", "torch.zeros(4, 1).half()",
     "[[0.0]] * 4",
     "torch.zeros(4, 1, device='meta')", "torch.zeros(4, 1, dtype=torch.complex64)", "torch.zeros(4, 2)",
     "torch.zeros(4, 1, 1)",
     "torch.zeros(4, 1).to_sparse()", "np.full((4, 1), np.nan, np.float32)"],
)  # fmt: skip
OPTIONS = Hole(
    ["None", "{}", "{'reset_mask': None}"], [],
    ["{'reset_mask': [True, False, True, False]}", "{'reset_mask': torch.ones(3, dtype=torch.bool)}",
        "{'reset_mask': True}",
     "{'reset_mask': torch.ones(4)}", "{'reset_mask': np.zeros(4, bool)}", "{'mask': 1}", "{1: 2, 'a': 3}",
     "{None: 1, 2: 3}",
     "{'reset_mask': torch.ones(4, dtype=torch.bool, device='meta')}", "{'reset_mask': np.ones((4, 1), bool)}",
     "['reset_mask']",
     "{'reset_mask': torch.ones(4, dtype=torch.bool).to_sparse()}", "{'reset_mask': np.array(['a'] * 4)}",
     "{'low': -0.1}",
     "{'reset_mask': np.ones(4, object)}", "{'reset_mask': torch.ones(4, dtype=torch.int64)}", "{'reset_mask': ...}"],
)  # fmt: skip
POLICY = Hole(
    ["None", "lambda obs: (obs[:, 0] > 0).long()", "lambda obs: np.zeros(4, np.int64)",
     "lambda obs: (torch.ones(4).int(), {'value': obs.sum(1)})", "lambda obs: (torch.ones(4).int(), {})"], [],
    ["lambda obs: obs", "lambda obs: None", "lambda obs: [0] * 4", "lambda obs: torch.full((4,), 2)",
        "lambda obs: (0, 1, 2)",
     "lambda obs: (torch.ones(4).int(), None)", "lambda obs: (torch.ones(4).int(), {'reward': obs})", "lambda obs: ()",
     "lambda obs: (torch.ones(4).int(), {'value': 1.0})", "lambda obs: (torch.ones(4).int(), {1: obs})",
     "lambda obs: 0",
     "lambda obs: (torch.ones(4).int(), [obs])", "lambda obs: torch.ones(3).int()", "'random'",
     "torch.zeros(4).long()",
     "lambda obs: {'action': torch.ones(4).int()}", "lambda obs: (torch.ones(4).int(), {'a': torch.ones(3)})"],
    ["lambda: 0", "int", "AutoresetMode"],  # fail by themselves
)  # fmt: skip
STATE = Hole(
    ["env.get_state()", "env.get_state()._asdict()", "env.get_state()._replace(clock=7)"],
    ["env.get_state()._replace(state=env.get_state().state._asdict())",
     "env.get_state()._replace(state=env.get_state().state._replace(x=torch.full((4,), nan)))"],
    ["other.get_state()", "gpusim.make('CartPole-v1', 3, device='cpu').reset()", "env.get_state()._replace(clock=-1)",
     "env.get_state()._replace(clock='1')", "env.get_state()._replace(seed=None)",
     "env.get_state()._replace(state=())",
     "env.get_state()._replace(elapsed=torch.zeros(3))", "env.get_state()._replace(episode=torch.zeros(4))",
     "env.get_state()._replace(state=env.get_state().state._replace(x=torch.zeros(4).double()))",
     "tuple(env.get_state())",
     "env.get_state()._replace(state=env.get_state().state._replace(x=[0, 0, 0, 0]))", "env.get_state().state",
     "env.get_state()._replace(params=None)", "env.get_state()._replace(clock=True)",
     "env.get_state()._replace(clock=2**70)",
     "env.get_state()._replace(elapsed=torch.zeros(4, device='meta'))",
     "env.get_state()._replace(params={'gravity': 1})",
     "env.get_state()._replace(params=env.get_state().params._replace(gravity=nan))",
     "env.get_state()._replace(clock=1.5)",
     "env.get_state()._replace(elapsed=torch.full((4,), -5.0))", "env.get_state()._replace(seed=torch.tensor(-1))",
     "env.get_state()._replace(episode=torch.full((4,), -2))", "env.get_state()._replace(clock=None)",
     "env.get_state()._replace(params=env.get_state().params._replace(gravity='9'))"],
)  # fmt: skip
INDICES = Hole(
    ["None", "0", "[0, 1]", "range(4)", "np.int64(2)", "torch.tensor([1, 2])", "(1, 2)", "1", "2", "[1]",
        "np.arange(2)",
     "np.uint8(2)", "iter([1])", "torch.tensor(2)", "np.array(2)"],
    ["{1}", "gpusim.Uniform(1, 0)"], ["4", "-1", "[0, 7]", "[0.0]", "[True]", "np.ones(4, bool)", "'01'", "[[0]]"],
)  # fmt: skip
SIZE = Hole(["None", "(60, 90)", "(1080, 1920)"], ["(1, 2)", "[90, 60]", "(60.0, 90.0)", "gpusim.Uniform(0.5, 1.5)",
    "(1, 2)"], ["(0, 0)", "(-1, 5)", "60", "(1,)", "(1, 2, 3)", "(None, 3)", "(nan, 1)", "('a', 'b')"])  # fmt: skip
FUNC = Hole(
    ["lambda x: x * 2.0", "torch.tanh"], ["lambda x: x", "torch.nn.Linear(4, 2)"],
    ["lambda x: None", "lambda x: x.double()", "lambda x: x[:2]", "lambda x: 1.0", "lambda x: x.sum()", "'tanh'",
     "lambda x: x.to('meta')", "lambda x: x.numpy()"],
    ["lambda: 0", "int", "AutoresetMode"],  # fail by themselves
)  # fmt: skip
POSITIVE = Hole(
    ["1e-8", "1", "0.5", "1e3", "2", "np.float32(2)", "np.int64(2)"],
    ["np.uint8(2)", "2**31", "2**63", "2**70", "10**5000"],
)
SHARE = Hole(["0.99", "0", "1", "0.5", "1.0", "np.float32(0.5)"], ["-0.0", "np.bool_(True)"], ["1.5", "-0.1"])
BOUNDS = ["0", "1", "2", "2**31", "0.5", "-0.0", "np.int64(2)", "np.uint8(2)", "np.float32(2)", "[1]", "np.array(2)",
    "torch.tensor(2)",
          "torch.tensor(0.5)", "2**63", "2**70"]  # fmt: skip
LOWER = Hole(
    ["-1.0", "np.float32(-1)", "-1", "np.array([-1.0])", "[-1.0]", "torch.tensor([-1.0])"],
    [*BOUNDS, "-2**63"],
    ["5000", "'-1'", "[-1, 0]"],
)
UPPER = Hole(["3", "1e3", "np.float32(8)", "[7.0]", "np.array([6.0])"], BOUNDS, ["-7", "'1'"])
BUILT = "env = gpusim.make('CartPole-v1', 4, device='cpu'); env.reset(seed=0)"
SWINGS = "env = gpusim.make('Pendulum-v1', 4, device='cpu'); env.reset(seed=0)"
TWO = f"{BUILT}; other = gpusim.make('Acrobot-v1', 4, device='cpu'); other.reset(seed=0)"
WRAP = {name: getattr(wrappers, name) for name in wrappers.__all__}
INNER = Hole(
    ["env"], ["gpusim.wrappers.NormalizeReward(env)"], ["env.task", "gpusim.adapters.to_numpy(env)", "'CartPole-v1'"]
)


def wrapped(name, more="", before=BUILT, **holes):
    names = {"W": getattr(wrappers, name), "used": used}
    return Call(f"used(W({{env}}{more}))", {"env": INNER, **holes}, before, names)


def used(env):
    """A wrapper around what steps."""
    env.reset(seed=0)
    drawn = env.unwrapped if isinstance(env, wrappers.ClipAction) else env
    return env.step(drawn.rollout(1).action[0])


def field_hole(hint: Any) -> Hole:
    """What a setting of that type may be, from what is said beside it."""
    text = str(hint)
    optional = ["None"] if "None" in text else []
    if "tuple" in text:
        return Hole(["(4,)", "(4, 4)", "[4]", "(1, 2)"], ["[1]", "(2.0,)"], ["(0,)", "('4',)", "(nan,)", "(True,)"])
    if "bool" in text:
        return Hole(["True", "False", "np.bool_(True)"])
    if "float" in text:
        return Hole(["1e-3", "0.5"], [*optional, "0", "1", "2", "-1", "1e3", "-0.0", "np.int64(2)", "np.uint8(2)",
            "np.float32(2)", "2**31",
                     "-2**63", "2**63", "2**70", "10**5000", "np.array(2)"], ["'0.5'", "(0.5,)"])  # fmt: skip
    if "int" in text:
        return Hole(["8"], [*optional, "1", "2", "0", "-1", "1e3", "np.int64(2)", "np.uint8(2)", "np.float32(2)",
            "2**31", "2**63", "-0.0"],
                    ["7.5", "'8'", "-8", "2**62 + 1"])  # fmt: skip
    return Hole([], [*optional, "np.str_('8')", "''", "' '", "'8'", "'1e3'", "'ü' * 3", "'x' * 10_000", "'\\0'",
                 "'cpu'"], [])  # fmt: skip


LEARNERS = {m.__name__.rpartition(".")[2]: m for m in (ppo, a2c, reinforce, dqn, pqn)}


def setting(algorithm, name, hint):
    """A configuration that is small, and checked."""
    config = LEARNERS[algorithm].Config
    hole = field_hole(hint)
    if name in ("normalize_obs", "capacity", "learning_starts"):  # which other settings, or the algorithm, may forbid
        hole = dataclasses.replace(hole, right=[], either=[*hole.right, *hole.either])
    if name in ("device", "env"):
        hole = (
            DEVICE
            if name == "device"
            else Hole(["'CartPole-v1'"], [*ENV.either, "gpusim.spec('CartPole-v1')", "'CartPole-v1'"], ENV.wrong)
        )
    if name == "env":
        hole = dataclasses.replace(hole, wrong=[x for x in hole.wrong if "LunarLander" not in x])
    return Call(f"checked(Config({name}={{value}}))", {"value": hole}, "", {"Config": config, "checked": checked})


def checked(config):
    config.check()
    config.check_memory()
    return config


@st.composite
def a_setting(draw):
    algorithm = draw(st.sampled_from(sorted(LEARNERS)))
    name, hint = draw(st.sampled_from(sorted(hints(LEARNERS[algorithm].Config()).items(), key=str)))
    if name == "run_dir":
        name, hint = "num_envs", hints(LEARNERS[algorithm].Config())["num_envs"]
    return draw(inputs(setting(algorithm, name, hint)))


@st.composite
def a_definition(draw):
    """Two things wrong at once, of those in tests/envs/wrong.py."""
    names = draw(st.lists(st.sampled_from(sorted(definitions.WRONG)), min_size=1, max_size=2, unique=True))
    deed = draw(
        st.sampled_from(
            ["gpusim.make({}, 4, device='cpu')", "gpusim.register({})", "{}.with_reward(lambda s, a, n, r, t, p: r)"]
        )
    )
    text = deed.format(f"replace(RIGHT, **{' | '.join(f'WRONG[{name!r}][0]' for name in names)})")
    given = {"replace": dataclasses.replace, "RIGHT": definitions.RIGHT, "WRONG": definitions.WRONG}
    return Input(text, "", False, given)


REWARD = Hole(
    ["lambda s, a, n, r, t, p: r * 2", "lambda s, a, n, r, t, p: 0.0", "lambda s, a, n, r, t, p: 1"],
    ["lambda s, a, n, r, t, p: True", "lambda s, a, n, r, t, p: r.double()"],
    ["lambda s: 0.0", "lambda s, a, n, r, t, p: None", "lambda s, a, n, r, t, p: r[:2]",
        "lambda s, a, n, r, t, p: r.sum()",
     "lambda s, a, n, r, t, p: nan", "lambda s, a, n, r, t, p: p.nothing",
     "lambda s, a, n, r, t, p: r.add_(1)", "lambda s, a, n, r, t, p: 'r'", "lambda s, a, n, r, t, p: [r]",
     "lambda s, a, n, r, t, p: r + torch.rand(5)", "lambda s, a, n, r, t, p: r.item()",
     "lambda s, a, n, r, t, p: -r if t else r",
     "lambda *x: x[9]", "lambda s, a, n, r, t, p: r / 0 * 0"],
)  # fmt: skip
MORE = Hole(["None", "{}", "{'height': 1.0}", "{'a': 1}"], ["{'height': inf}", "gpusim.Uniform(0.5, 1.5)",
    "gpusim.Uniform(1, 0)"], ["{'height': '1'}", "{'gravity': 1.0}", "{'1a': 1.0}", "{1: 1.0}", "{'height': nan}",
    "{'height': True}", "{'class': 1}", "{'_a': 1}", "{'height': None}", "['height']"])  # fmt: skip
NAME = Hole(
    ["None", "'Mine-v0'"],
    ["''", "' '", "'8'", "'1e3'", "'ü' * 3", "'x' * 10_000", "'\\0'", "'cpu'", "np.str_('8')"],
    [],
)
RUN = Hole(["run", "str(run)"], [], ["run / 'config.json'", "run / 'nothing'", "'nothing'", "run.parent"])
EPISODES = Hole(["3", "np.int64(2)", "1", "2", "np.uint8(2)"], [], ["2**40", "'3'", "3.0"])
METHODS = [
    "env.step(torch.zeros(4, dtype=torch.int64))", "env.reset()", "env.reset(seed=0)", "env.rollout(3)",
    "env.get_state()",
    "gpusim.render(env)", "env.episodes", "env.seeded", "env.reset(options={'reset_mask': np.ones(4, bool)})",
    "env.rollout(2, transitions=False)", "gpusim.wrappers.TimeLimit(env, 5).step(torch.zeros(4, dtype=torch.int64))",
    "gpusim.adapters.to_numpy(env).step(np.zeros(4, int))", "gpusim.wrappers.NormalizeObservation(env).reset()",
    "env.set_state(state)", "env.set_attr('gravity', 9.0)",
]  # fmt: skip
NO_STATE = "env = gpusim.make('CartPole-v1', 4, device='cpu'); state = None"
AFTER_CLOSING = f"{BUILT}; state = env.get_state(); env.close(); env.close()"

CALLS: dict[str, Any] = {
    "arguments of make": Call(
        "gpusim.make({env}, {num_envs}, device={device}, backend={backend}, autoreset_mode={mode}, "
        "max_episode_steps={limit}, copy={copy}, validate={validate}, render_mode={render})",
        {"env": ENV, "num_envs": COUNT, "device": DEVICE, "mode": MODE, "limit": LIMIT, "copy": BOOL,
         "validate": Hole(["None", "True", "False", "np.bool_(True)"]), "render": Hole(["None", "'rgb_array'"], [],
         ["'human'", "'RGB_array'"]),
         "backend": Hole(["'auto'", "'eager'"], ["None"], ["'triton'", "'cuda'", "'Eager'", "'numpy'", "'inductor'",
         "['eager']"])},
    ),
    "params of make": Call("gpusim.make('CartPole-v1', 4, device='cpu', params={params}).reset(seed=0)",
    {"params": PARAMS}),
    "discrete actions": Call("env.step({actions})", {"actions": DISCRETE}, BUILT),
    "continuous actions": Call("env.step({actions})", {"actions": BOX}, SWINGS),
    "seeds and masks": Call("env.reset(seed={seed}, options={options})", {"seed": SEEDS, "options": OPTIONS}, BUILT),
    "rollouts": Call(
        "env.rollout({steps}, {policy}, transitions={transitions})",
        {"steps": dataclasses.replace(COUNT, never=["2**31", "2**63 - 1"]), "policy": POLICY, "transitions": BOOL},
            BUILT,
    ),
    "states": Call("env.set_state({state})", {"state": STATE}, TWO),
    "parameters by set_attr": Call(
        "env.set_attr({name}, {value})",
        {"name": Hole(["'gravity'", "'half_length'"], ["np.str_('8')"], ["'mass'", "'x'", "'num_envs'", "'device'"]),
         "value": Hole(["9.0", "9", "[1, 2, 3, 4]", "np.full(4, 9.0)", "gpusim.Uniform(8, 9)", "torch.full((4,), 9.0)",
                        "gpusim.Uniform(0.5, 1.5)", "0", "-1", "1", "2", "0.5", "1e3", "np.int64(2)", "np.float32(2)",
                        "torch.zeros(4)",
                        "torch.zeros(4, requires_grad=True)", "torch.tensor(2)", "torch.tensor(0.5)", "np.array(2)"],
                       ["-0.0", "2**31", "2**63", "2**70", "-2**63", "np.uint8(2)", "1e300", "inf", "-inf",
                           "range(4)"], ["'9'", "[1, 2]", "nan", "[nan] * 4", "(8, 9)", "[9, 9, 9, '9']"])},
        BUILT,
    ),
    "what is asked by name": Call(
        "env.{verb}({name})",
        {"verb": Hole(["get_attr", "call"], anything=False),
         "name": Hole(["'num_envs'", "'backend'", "'episodes'"], [], ["'nothing'"])}, BUILT,
    ),
    "pictures": Call("gpusim.render({env}, {indices}, size={size})", {"env": INNER, "indices": INDICES, "size": SIZE},
    BUILT),
    "before a reset": Call("{verb}", {"verb": Hole(METHODS[1:3], [*METHODS[13:], METHODS[12]],
    [m for m in METHODS if m not in [*METHODS[1:3], *METHODS[12:]]], anything=False)}, NO_STATE),
    "after closing": Call("{verb}", {"verb": Hole(["env.close()", "repr(env)", "env.num_envs"], [METHODS[14]],
    METHODS[:14], anything=False)}, AFTER_CLOSING),
    "TimeLimit": wrapped("TimeLimit", ", {n}", n=LIMITED),
    "FrameStackObservation": wrapped("FrameStackObservation", ", {n}, padding_type={pad}", n=COUNT,
    pad=Hole(["'reset'", "'zero'"], [], ["'Reset'"])),
    "NormalizeObservation": wrapped("NormalizeObservation", ", {epsilon}", epsilon=POSITIVE),
    "NormalizeReward": wrapped("NormalizeReward", ", {gamma}, {epsilon}", gamma=SHARE, epsilon=POSITIVE),
    "RecordEpisodeStatistics": wrapped(
        "RecordEpisodeStatistics", ", {n}, {key}", n=COUNT, key=Hole(["'episode'", "'true'", "'8'", "'1e3'", "'cpu'"],
        ["' '", "'ü' * 3", "'x' * 10_000", "'\\0'", "np.str_('8')"], ["'_a'", "'final_obs'"])
    ),
    "TransformObservation": wrapped(
        "TransformObservation", ", {func}, single_observation_space={space}", func=FUNC,
        space=Hole(["None", "Box(-9, 9, (4,))"], [], ["Box(-1, 1, (4,), np.float64)", "Box(-1, 1, (3,))"]),
    ),
    "TransformReward": wrapped("TransformReward", ", {func}", func=dataclasses.replace(FUNC, either=[*FUNC.either,
    "lambda x: x.double()"], wrong=[x for x in FUNC.wrong if "double" not in x])),
    "RescaleAction": wrapped("RescaleAction", ", {low}, {high}", SWINGS, low=LOWER, high=UPPER),
    "ClipAction": wrapped("ClipAction", "", SWINGS),
    "statistics handed on": Call(
        "setattr(env, 'obs_rms', {moments})",
        {"moments": Hole(["env.obs_rms", "types.SimpleNamespace(mean=np.zeros(4), var=np.ones(4), count=3.0)"], [],
                         ["types.SimpleNamespace(mean=0.0, var=1.0, count=1.0)",
                             "types.SimpleNamespace(mean=np.full(4, nan), var=np.ones(4), count=3.0)",
                          "types.SimpleNamespace(mean=np.zeros(4), var=-np.ones(4), count=3.0)",
                          "types.SimpleNamespace(mean=np.zeros(4), var=np.ones(4), count=-1.0)",
                          "types.SimpleNamespace(mean='a', var=np.ones(4), count=3.0)", "env.obs_rms._asdict()"])},
        f"import types; {BUILT}; env = gpusim.wrappers.NormalizeObservation(env)",
    ),
    "definitions": a_definition(),
    "rewards": Call(
        "gpusim.make(cartpole.with_reward({reward}, params={params}, id={id}), 2, device='cpu')",
        {"reward": REWARD, "params": MORE, "id": NAME}, "cartpole = gpusim.spec('CartPole-v1')",
    ),
    "settings": a_setting(),
    "loaded policies": Call(
        "load_policy({run}, {deterministic}, {device})(torch.zeros(3, 4))", {"run": RUN, "deterministic": BOOL,
        "device": DEVICE},
        "", {"load_policy": evaluate.load_policy},
    ),
    "what a policy is asked": Call(
        "policy({obs})",
        {"obs": Hole(["torch.zeros(3, 4)", "np.zeros((1, 4))", "np.zeros((2, 4), np.float32)", "[[0.0] * 4]"],
            ["torch.zeros(0, 4)", "torch.eye(4).to_sparse()", "torch.full((2, 4), nan)"],
                     ["torch.zeros(4)", "torch.zeros(3, 5)", "[0.0] * 4", "torch.zeros(2, 4, device='meta')",
                         "np.array([['a'] * 4])"])},
        "policy = load_policy(run)", {"load_policy": load_policy},
    ),
    "evaluations": Call(
        "evaluate(policy, {env}, {episodes}, {seed}, {device})",
        {"env": ENV, "episodes": EPISODES, "seed": dataclasses.replace(SEEDS, either=["None", *SEEDS.either],
            right=SEEDS.right[1:]), "device": DEVICE},
        "policy = load_policy(run)", {"load_policy": load_policy, "evaluate": evaluate.evaluate},
    ),
    "to_numpy": Call(
        "gpusim.adapters.to_numpy({env}).step({actions})",
        {"env": INNER, "actions": Hole(["np.zeros(4, int)", "np.ones(4, np.uint8)", "[0, 1, 0, 1]",
            "np.zeros((4, 1), int)", "(0, 1, 1, 0)"],
                                       ["np.ones(4, bool)", "range(4)"], ["np.zeros(3, int)", "np.zeros(4)",
                                           "np.full(4, 2)", "['a'] * 4", "[0, 1]", "np.array(['0'] * 4)"])},
        BUILT,
    ),
    "environments by name": Call("gpusim.spec({env})", {"env": ENV}),
    "what is registered": Call("gpusim.register({env})", {"env": Hole(["gpusim.spec('CartPole-v1')"], [],
    ["'CartPole-v1'", "gpusim.Env"])}),
}  # fmt: skip
ALSO = {"what is asked by name": (AttributeError,)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    where = tmp_path_factory.mktemp("api") / "run"
    small = ["--num-envs", 4, "--num-steps", 8, "--minibatches", 2, "--hidden", 4, "--total-steps", 64]
    assert command("train", "ppo", "CartPole-v1", *small, "--run-dir", where).code == 0
    return where


def same(a, b):
    if isinstance(a, tuple):
        return all(same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def tried(ledger, kind, drawn, run):
    """Evaluates an input; what is refused must have changed nothing."""
    meant = drawn.meant
    with warnings.catch_warnings(action="ignore"):
        names = (
            drawn.prepared()
            if "run" not in drawn.before
            else dataclasses.replace(drawn, names=drawn.names | {"run": run}).prepared()
        )
        names["run"] = run
        env = names.get("env")
        before = env.get_state() if env is not None and "reset(" in drawn.before and not env.unwrapped.closed else None
        answer = call(lambda: eval(drawn.text, names), (ResetNeeded, NotFinite, *ALSO.get(kind, ())))
        if (
            before is not None
            and answer.code == 2
            and kind not in ("rollouts",)
            and not kind[0].isupper()
            and not same(before, env.get_state())
        ):
            answer.raw = f"refused, and yet something changed: {answer.err}"
    text = str(drawn)
    if answer.code == 2 and meant:
        answer.raw = f"refused, though it is right: {answer.err}"
    ledger.note(kind, text, answer, lambda answer: meant is not False)


def test_of_calls_none_is_raw_and_none_silently_wrong(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ledger = Ledger()
    for kind, calls in CALLS.items():
        drawn = inputs(calls) if isinstance(calls, Call) else calls
        draw(lambda x: tried(ledger, *x, run), st.tuples(st.just(kind), drawn), EXAMPLES)
    print(f"\n{ledger}")
    assert not ledger.bad, "\n\n".join(ledger.bad)

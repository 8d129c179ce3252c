"""The peers that are measured beside gpusim: a driver file and an entry here make another one."""

from peers.process import Learner, Peer, Venv

# What peers have of ours.
CLASSIC = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")
GAMES = ("Breakout", "Asterix", "Freeway", "SpaceInvaders", "Seaquest")
UNDERSCORED = {"SpaceInvaders": "space_invaders"}


def games(pattern: str, underscored: bool = False) -> dict[str, str]:
    """Our ids of MinAtar's games with minimal actions, and a peer's by its pattern."""
    names = {g: UNDERSCORED.get(g, g.lower()) if underscored else g for g in GAMES}
    return {f"MinAtar/{ours}-v1": pattern.format(theirs) for ours, theirs in names.items()}


SAME = {env: env for env in CLASSIC}

PEERS = (
    Peer(
        "Gymnasium",
        Venv("gymnasium"),
        "gymnasium_rollout.py",
        "NumPy",
        {"CartPole-v1": "CartPole-v1"},
        ("step", "bare"),
        "Steps in float64 and shows float32; a reset takes a step of its own, which is not counted.",
    ),
    Peer(
        "Gymnasium",
        Venv("gymnasium"),
        "gymnasium_rollout.py",
        "sync",
        {env: env for env in CLASSIC[1:]},
        ("step", "bare"),
        "A Python object for each environment, in float64; a reset takes a step of its own, which is not counted.",
        most_envs=1024,
    ),
    Peer(
        "EnvPool",
        Venv("envpool"),
        "envpool_rollout.py",
        "C++ threads",
        SAME,
        ("step", "bare"),
        "Steps in float64 and shows float32; a reset takes a step of its own, which is not counted; statistics are kept "
        "in NumPy, by the driver.",
    ),
    Peer(
        "gymnax",
        Venv("gymnax"),
        "gymnax_rollout.py",
        "jit+scan",
        SAME | games("{}-MinAtar"),
        ("sim", "transitions", "bare"),
        "float32; MinAtar's boards are float32 too, its episodes end after 1,000 steps, and `bare` has no sticky actions.",
    ),
    Peer(
        "Pgx",
        Venv("pgx"),
        "pgx_rollout.py",
        "jit+scan",
        games("minatar-{}", underscored=True),
        ("sim", "transitions", "bare"),
        "Sticky actions in every mode; boards are boolean, the last one of an episode is not returned; statistics are "
        "kept by the driver.",
    ),
    Peer(
        "Stable-Baselines3",
        Venv("sb3"),
        "sb3_rollout.py",
        "DummyVecEnv",
        SAME,
        ("step", "bare"),
        "Gymnasium's environments in a Python loop, in float64.",
        most_envs=1024,
    ),
    Peer(
        "MinAtar",
        Venv("minatar"),
        "minatar_rollout.py",
        "Python",
        games("{}", underscored=True),
        ("step", "bare"),
        "A Python object for each environment; `bare` shows no boards.",
        most_envs=256,
    ),
)

LEARNERS = (
    Learner(
        "Stable-Baselines3",
        Venv("sb3"),
        "sb3_cartpole.py",
        ("ppo", "dqn"),
        "The settings of RL Baselines3 Zoo.",
    ),
    Learner(
        "SBX",
        Venv("sbx"),
        "sbx_cartpole.py",
        ("ppo", "dqn"),
        "Stable-Baselines3 in JAX, with the settings of RL Baselines3 Zoo; compilation is within the training.",
    ),
    Learner(
        "Rejax",
        Venv("rejax"),
        "rejax_cartpole.py",
        ("ppo", "dqn", "pqn"),
        "Its published settings, compiled in parts of one evaluation interval, so that it can stop at the target.",
    ),
    Learner(
        "PureJaxRL",
        Venv("rejax"),
        "purejaxrl_cartpole.py",
        ("ppo",),
        "As published; it reports its episodes as it runs, runs to its end, and what is scored is its end.",
        checkout="PUREJAXRL",
        repository="luchris429/purejaxrl",
    ),
    Learner(
        "CleanRL",
        Venv("cleanrl"),
        "cleanrl_cartpole.py",
        ("ppo", "dqn"),
        "As published, stopped at the target.",
        checkout="CLEANRL",
        repository="vwxyzjn/cleanrl",
    ),
)


def beside(env: str, mode: str | None = None) -> list[Peer]:
    """The peers that have this environment of ours, and this mode."""
    return [p for p in PEERS if env in p.envs and (mode is None or mode in p.modes)]

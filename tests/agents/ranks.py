"""Runs a function on several ranks at once, each a process of its own, connected by gloo (and NCCL); and such functions."""

import datetime
import multiprocessing
import pickle
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from gpusim.agents.parts.world import ALONE, World, enter
from gpusim.agents.train.discovery import learner_class, module
from gpusim.agents.train.loop import Observer, Reading, run

TIMEOUT = datetime.timedelta(seconds=60)
SMALL = {"num_envs": 16, "hidden": (16, 16), "device": "cpu", "seed": 3}


def together(size, function, *args):
    """What `function(*args)` gives on each rank.

    Raises:
        RuntimeError: it failed on one of them.
    """
    if size == 1:
        return [function(*args)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.agents.ranks", "gpusim.agents.ppo", "gpusim.agents.dqn"])
    with tempfile.TemporaryDirectory() as folder:
        each = [context.Process(target=_rank, args=(rank, size, folder, function, args)) for rank in range(size)]
        for process in each:
            process.start()
        for process in each:
            process.join()
        answers = [pickle.loads((Path(folder) / str(rank)).read_bytes()) for rank in range(size)]
    if failures := [f"rank {rank}: {failure}" for rank, (_, failure) in enumerate(answers) if failure]:
        raise RuntimeError("; ".join(failures))
    return [answer for answer, _ in answers]


def _rank(rank, size, folder, function, args):
    torch.set_num_threads(1)
    try:
        with _connected(rank, size, folder):
            answer = function(*args), None
    except BaseException as error:
        answer = None, f"{type(error).__name__}: {error}"
    (Path(folder) / str(rank)).write_bytes(pickle.dumps(answer))


@contextmanager
def _connected(rank, size, folder):
    meeting = f"file://{folder}/meeting"
    engine = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(engine, init_method=meeting, rank=rank, world_size=size, timeout=TIMEOUT)
    leave = enter(World(rank, size, rank, True))
    try:
        yield
    finally:
        leave()
        dist.destroy_process_group()


# --------------------------------------------------------------------------------------------------------- on ranks


def learner(algorithm, env, **changes):
    config = module(algorithm).Config(env=env, **(SMALL | changes))
    return learner_class(algorithm)(config)


def iterated(algorithm, env, changes, iterations=1, state=None, fault=None):
    """What becomes of a learner in so many iterations, from `state` on where one is given."""
    with planted(fault) as wrong:
        return _iterated(learner(algorithm, env, **(changes | wrong)), iterations, state)


def _iterated(it, iterations, state):
    if state is not None:
        it.load(state)
    rollouts, collect = [], it.collect

    def collected(num_steps):
        rollouts.append(collect(num_steps))
        return rollouts[-1]

    it.collect = collected
    for _ in range(iterations):
        losses = it.iterate()
    statistics = it.network.normalizer
    return {
        "rollout": {k: getattr(rollouts[0], k).clone() for k in ("obs", "action", "reward", "terminated", "truncated")},
        "weights": torch.cat(it.weights()),
        "statistics": None if statistics is None else torch.stack([statistics.mean, statistics.var]),
        "reading": Reading(it, losses, it.learning_rate()).numbers(0.0),
        "drawn": it.generator.get_state(),
        "state": it.state(),
    }


class Noted(Observer):
    """Keeps the readings, and does its part of checkpoints."""

    def __init__(self):
        self.readings = []

    def reading(self, learner, metrics):
        self.readings.append({k: v for k, v in metrics.items() if k not in ("seconds", "time", "steps_per_second")})

    def checkpoint(self, learner, metrics, seconds=0.0):
        learner.state()


def trained(algorithm, env, changes):
    """The readings of a run, how it ended, and its weights."""
    it, noted = learner(algorithm, env, **changes), Noted()
    result = run(it, (noted,))
    return noted.readings, result.ending, it.iteration, torch.cat(it.weights())


# ---------------------------------------------------------------------------------------------------------- faults


@contextmanager
def planted(fault):
    """Breaks one thing; gives what of the configuration is wrong."""
    from gpusim.agents.parts import normalize, world

    if fault == "a rank's seed":
        yield {"seed": 3 + world.here().rank}
    elif fault == "statistics of a rank alone":
        before = normalize.here
        normalize.here = lambda: ALONE
        yield {}
        normalize.here = before
    elif fault is None:
        yield {}
    else:
        name, wrong = {
            "divergence of a rank alone": ("mean", lambda self, x: x),
            "moments of a rank alone": ("moments", lambda self, *each: ALONE.moments(*each)),
            "gradient of a rank alone": ("mean_", lambda self, x: x),
            "the first rank's numbers": ("own", lambda self, x: x[: len(x) // self.size]),
        }[fault]
        before = getattr(World, name)
        setattr(World, name, wrong)
        yield {}
        setattr(World, name, before)


# ----------------------------------------------------------------------------------------------------------- others


def sampled(algorithm, env, changes):
    it = learner(algorithm, env, **changes)
    it.iterate()
    return it.replay.sample(8, it.generator).place


def kept_by(algorithm, env, changes, state):
    it = learner(algorithm, env, **changes)
    it.load(state)
    return it.state()


def windows(changes):
    """Mean return and count of the window after every iteration."""
    it, found = learner("ppo", "CartPole-v1", **changes), {"means": [], "counts": []}
    for _ in range(8):
        it.iterate()
        window = it.window.of_all()
        found["means"].append(round(float(window.mean()[0]), 3))
        found["counts"].append(int(window.count))
    return found


def interrupted(changes):
    """A signal comes to the last rank alone, in its second iteration."""
    it = learner("ppo", "CartPole-v1", **changes)
    before = it.iterate

    def iterate():
        if it.world.rank == it.world.size - 1 and it.iteration == 2:
            signal.raise_signal(signal.SIGTERM)
        return before()

    it.iterate = iterate
    result = run(it, (Noted(),))
    return result.ending, it.iteration, result.signal


def refused(algorithm, changes):
    learner(algorithm, "CartPole-v1", **changes)


def spoiled(number):
    """A reward of one environment, of all of them that number, becomes no number."""
    it = learner("ppo", "CartPole-v1")
    first, rollout = it.env.first_env, it.env.rollout

    def spoil(*args, **kwargs):
        found = rollout(*args, **kwargs)
        if first <= number < first + it.env.num_envs:
            found.reward[5, number - first] = torch.nan
        return found

    it.env.rollout = spoil
    it.iterate()


def fused(env, changes):
    """What becomes of a learner by kernels in two iterations."""
    it = learner("ppo", env, backend="triton", **changes)
    assert it.path == "fused kernels"
    first = it.fused.out
    it.iterate()
    rollout = {name: getattr(first, name).clone() for name in ("obs", "sample", "reward", "terminated", "truncated")}
    losses = it.iterate()
    statistics = it.network.normalizer
    return {
        "rollout": rollout,
        "weights": it.optimizer.flat,
        "statistics": torch.stack([statistics.mean, statistics.var]),
        "losses": losses,
    }


def written(folder):
    """A run from Python, in a folder, and the same taken up again."""
    from gpusim.agents import ppo, resume

    first = ppo.train(ppo.Config(env="CartPole-v1", **SMALL, num_steps=16, total_steps=1024, run_dir=folder))
    more = resume(folder, total_steps=2048)
    return first.ending, len(first.metrics), more.learner.steps

"""What is told of a run that goes wrong, and that nothing is told of one that does not."""

import json
import math

import numpy as np
import pytest
import torch

from gpusim.agents.app.diagnosis import LEARNING, Run, diagnose, memory_grows, slope
from gpusim.agents.train import monitor
from gpusim.agents.train.devices import Machine, Nvml, Process
from gpusim.agents.train.loop import Observer, run
from gpusim.agents.train.monitor import NAMES, Monitor, figures
from gpusim.agents.train.run import RunFolder, make_learner, preset
from tests.fake_nvml import FakeGpu, fake_nvml

P = 100


def readings(**columns):
    """P of them, of a learner that learns; a column is a number, or one for each."""
    columns = {
        "iteration": np.arange(1, P + 1),
        "steps": 1000 * np.arange(1, P + 1),
        "seconds": np.arange(1.0, P + 1),
        "return": np.linspace(10, 400, P),
        "value": 0.5,
        "greatest_weight": 1.0,
        "entropy": 0.5,
        "kl": 0.01,
    } | columns
    arrays = {name: np.broadcast_to(np.asarray(values, float), P).tolist() for name, values in columns.items()}
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


def told(total=P * 1000, threshold=475.0, **columns):
    known = {name: columns.pop(name) for name in [*columns] if name in Run._fields}
    return diagnose(Run(readings(**columns), total, threshold, **known))


def noise(scale, seed=0):
    return scale * np.random.default_rng(seed).standard_normal(P)


def test_nothing_is_told_of_a_run_that_goes_well():
    assert told() == []
    assert told(process_memory_gib=0.5 + noise(0.01), torch_memory_gib=2.0) == []
    assert told(gpu_utilization=95, device="cuda:0", gpu_slowed_by_heat=0, gpu_temperature=60, gpu_clock_mhz=1700) == []
    assert diagnose(Run([])) == []
    assert diagnose(Run(readings()[:3], P * 1000, 475.0)) == []


@pytest.mark.parametrize("name", ["process_memory_gib", "torch_memory_gib"])
def test_memory_that_grows(name):
    (sentence,) = told(memory_total=32.0, **{name: np.linspace(1, 2, P) + noise(0.01)})
    assert sentence.startswith("Memory grows: ")
    assert "MiB per 1,000 iterations" in sentence
    rate = float(sentence.split(" MiB per")[0].split()[-1].replace(",", ""))
    assert rate == pytest.approx(1024 * 1000 / 99, rel=0.05)
    assert ("32 GiB are full in" in sentence) == (name == "process_memory_gib")


def test_memory_that_grows_after_a_beginning_that_took_more():
    memory = np.where(np.arange(P) < 25, 5.0, np.linspace(1, 2, P))
    assert "Memory grows" in memory_grows(Run(readings(process_memory_gib=memory)))


@pytest.mark.parametrize(
    "memory",
    [
        np.minimum(np.linspace(0, 6, P), 1.0) + 1,  # a warm-up
        1 + 0.3 * (np.arange(P) % 10) / 10,  # what is let go again
        np.linspace(1, 1.001, P),
        1 + np.linspace(0, 0.3, P) + 0.5 * (np.arange(P) % 2),  # what sways more than it grows
        np.where(np.arange(P) < 80, 1.0, 1.5),  # a step, as of a closing evaluation
    ],
)
def test_memory_that_does_not_grow_for_ever(memory):
    assert memory_grows(Run(readings(process_memory_gib=memory))) is None


def test_a_gpu_that_waits_for_the_host():
    (sentence,) = told(gpu_utilization=23, process_cpu=101, device="cuda:0", backend="compile")
    assert sentence.startswith("The GPU waits for the host: it is at work 23 % of the time")
    assert "101 % of a core" in sentence
    assert "--num-envs" in sentence
    assert told(gpu_utilization=23, process_cpu=101, device="cpu") == []
    assert "triton" not in told(gpu_utilization=23, process_cpu=10, device="cuda:0", backend="triton")[0]


def test_heat():
    heat = {"gpu_slowed_by_heat": 0.6, "gpu_temperature": 88, "gpu_clock_mhz": 1200}
    (sentence,) = told(**heat)
    assert "Heat slows the GPU down: in 60 % of the time" in sentence
    assert "88 °C and 1,200 MHz" in sentence
    assert told(**heat | {"gpu_slowed_by_heat": 0.05}) == []
    assert told(gpu_slowed_by_power=1.0) == []  # which is what a power limit is for


def test_a_number_that_is_none():
    assert told(stopped="the reward of environment 3 is not finite.") == [
        "A number was none: the reward of environment 3 is not finite."
    ]
    value = np.where(np.arange(1, P + 1) < 60, 0.5, math.nan)
    assert told(value=value)[0].startswith("value is NaN since iteration 60")


def test_numbers_that_explode():
    (sentence,) = told(greatest_weight=np.where(np.arange(P) < 90, 1.0, 10.0 ** (np.arange(P) - 88)))
    assert sentence.startswith("Numbers explode: the greatest weight of the network is 1e+11, and was 1;")
    assert "iteration 9" in sentence
    (sentence,) = told(value=np.where(np.arange(P) < 95, 0.5, 1e5))
    assert "the metric value is 1e+05" in sentence
    assert told(greatest_weight=np.linspace(1, 30, P)) == []
    assert told(value=np.linspace(0.1, 400, P)) == []  # as returns rise


def test_a_learner_that_stopped_learning():
    rise = np.minimum(np.linspace(10, 700, P), 200)
    (sentence,) = told(**{"return": rise + noise(1)})
    assert sentence.startswith("The learner has stopped learning: the return stands at")
    assert "475 is asked" in sentence
    (sentence,) = told(**{"return": rise, "entropy": np.linspace(0.6, 0.001, P)})
    assert "raise --entropy-coef" in sentence
    (sentence,) = told(**{"return": rise, "kl": 0})
    assert "raise --learning-rate" in sentence
    assert told(**{"return": np.minimum(np.linspace(10, 1500, P), 500)}) == []  # it is solved
    assert told(total=P * 10_000, **{"return": rise}) == []  # it has hardly begun
    (sentence,) = told(**{"return": 20 + noise(2)})
    assert sentence.startswith("Nothing is learned")
    fall = np.concatenate([np.linspace(10, 400, 70), np.linspace(400, 30, 30)])
    (sentence,) = told(**{"return": fall})
    assert sentence.startswith("The learner unlearns: the return was")
    assert told(**{"return": np.full(P, math.nan)}) == []
    assert diagnose(Run(readings(**{"return": 20.0})[: LEARNING - 1], 1, 475.0)) == []


def test_a_slope_is_not_moved_by_single_values():
    x = np.arange(50.0)
    y = 2 * x + 1
    y[7], y[30] = 1e6, -1e6
    assert slope(x, y)[0] == pytest.approx(2)
    assert slope(x, y)[1] > 0.8
    assert slope(x, -2 * x)[1] == -1
    assert slope(np.ones(5), np.arange(5.0)) == (0.0, 0.0)


# ---------------------------------------------------------------------------------------------------------- planted


class Leak(Observer):
    """Keeps what it should let go."""

    def __init__(self, size):
        self.size, self.kept = size, []

    def reading(self, learner, metrics):
        self.kept.append(b"x" * self.size)


@pytest.mark.parametrize("size", [pytest.param(0, marks=pytest.mark.slow), 2**21])
def test_a_planted_leak_is_seen(size, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "PERIOD", 0.005)
    monkeypatch.setattr(monitor, "EVERY", 0.01)
    config = preset("ppo", "CartPole-v1", num_envs=8, num_steps=32, minibatches=2, total_steps=40 * 256)
    folder = RunFolder.create(tmp_path / "run", "ppo", config)
    run(make_learner("ppo", config), (Leak(size), folder))
    found = folder.metrics()
    seen = [reading for reading in found if "process_memory_gib" in reading]
    assert len(seen) > 15
    assert set(seen[-1]) >= {"host_cpu", "host_memory_gib", "process_cpu"}
    sentence = memory_grows(Run(found))
    assert bool(sentence) == bool(size), sentence
    if size:
        rate = float(sentence.split(" MiB per")[0].split()[-1].replace(",", ""))
        assert rate == pytest.approx(2000, rel=0.3)


def test_a_gpu_that_is_slowed_down_is_seen_in_readings(monkeypatch):
    hot = FakeGpu(uuid=b"GPU-hot", temperature=91, slowed=0x44, clock=990)
    monkeypatch.setitem(__import__("sys").modules, "pynvml", fake_nvml(FakeGpu(), hot))
    found = figures(Nvml(), Machine(), Process(), torch.device("cpu"), "hot")
    assert found["gpu_slowed_by_heat"] == found["gpu_slowed_by_power"] == 1
    assert found["gpu_temperature"] == 91
    assert found["gpu_power_w"] == pytest.approx(412.3)
    assert set(found) <= set(NAMES)
    (sentence,) = told(**{name: value for name, value in found.items() if name.startswith("gpu")})
    assert "Heat slows the GPU down: in 100 % of the time" in sentence


def test_a_monitor_takes_means_and_ends(monkeypatch):
    monkeypatch.setattr(monitor, "PERIOD", 0.001)
    seen = iter([{"host_cpu": 10.0}, {"host_cpu": 30.0, "process_cpu": 7.0}])
    watching = Monitor(torch.device("cpu"))
    watching.looks.extend(seen)
    assert watching.take() == {}  # too early
    watching.taken -= monitor.EVERY
    assert watching.take() == {"host_cpu": 20.0, "process_cpu": 7.0}
    watching.taken -= monitor.EVERY
    assert watching.take() == {}  # nothing new
    watching.start()
    watching.stop()
    watching.stop()


def test_figures_of_the_machine_are_in_tensorboard_and_no_losses(tmp_path, monkeypatch, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from gpusim.agents.app.display import line

    monkeypatch.setattr(Monitor, "take", lambda self: {"host_cpu": 12.5, "gpu_temperature": 61.0})
    config = preset("ppo", "CartPole-v1", num_envs=8, num_steps=32, minibatches=2, total_steps=512)
    folder = RunFolder.create(tmp_path / "run", "ppo", config)
    result = run(make_learner("ppo", config), (folder,))
    folder.close()
    shown = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload().Tags()["scalars"]
    assert {"machine/host_cpu", "machine/gpu_temperature"} <= set(shown)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["host_cpu"] == 12.5
    assert "host_cpu" not in result.metrics[-1]
    assert "greatest_weight" not in line(1, 2, None, result.metrics[-1])
    assert 0.1 < result.metrics[-1]["greatest_weight"] < 10

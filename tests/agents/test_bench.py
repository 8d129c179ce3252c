"""`gpusim bench` measures what it says, refuses what it cannot do, and says where its figures come from."""

import dataclasses
import json

import pytest

import gpusim
from gpusim.agents import bench as b
from gpusim.agents.bench import BenchConfig

SMALL = BenchConfig(num_envs=8, device="cpu", backend="eager", steps=4, rounds=3, seconds=1e-3)


@pytest.mark.parametrize("mode", list(b.MODES))
def test_a_result_has_its_mode_and_its_origin(mode, tmp_path, capsys):
    file = tmp_path / "bench.json"
    result = b.bench(dataclasses.replace(SMALL, mode=mode, json=file))
    assert json.loads(file.read_text()) == result
    assert list(tmp_path.iterdir()) == [file]
    assert result["mode"] == b.MODES[mode]
    assert len(result["steps_per_second"]) == 3
    assert 0 < result["low"] <= result["median"] <= result["high"]
    assert result["first_call_s"] > 0
    assert {"hardware", "versions", "commit", "command", "date", "load"} <= set(result)
    printed = capsys.readouterr().out
    assert mode in printed
    assert "CartPole-v1, 8 environments" in printed


@pytest.mark.parametrize("mode", list(b.MODES))
def test_a_call_takes_as_many_steps_as_it_is_counted_for(mode):
    ready = b.prepare(dataclasses.replace(SMALL, mode=mode))
    before = ready.env.clock
    ready.call()
    assert ready.env.clock - before == 4
    assert ready.work == 4 * 8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"env": "CartPool-v1"}, "CartPole-v1"),
        ({"num_envs": 0}, "num_envs must be a positive whole number"),
        ({"rounds": 0}, "rounds must be a positive whole number"),
        ({"steps": -1}, "steps must be a positive whole number"),
        ({"seconds": 0.0}, "seconds must be a positive number"),
        ({"mode": "fast"}, "mode 'fast' is not known"),
        ({"backend": "triton"}, "it needs a CUDA GPU"),
    ],
)
def test_bad_settings_are_refused(change, words):
    with pytest.raises(gpusim.InputError, match=words):
        b.bench(dataclasses.replace(SMALL, **change))


def test_a_file_that_cannot_be_written_is_refused_before_measuring(tmp_path):
    with pytest.raises(gpusim.InputError, match="does not exist"):
        b.bench(dataclasses.replace(SMALL, json=tmp_path / "nowhere" / "bench.json"))


def test_the_summary_is_the_median_and_the_extremes():
    assert b.summarize([3.0, 1.0, 2.0]) == b.Rate(2.0, 1.0, 3.0)

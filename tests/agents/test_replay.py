"""The replay: what comes out is what went in, its memory is told and bounded, its priorities are where they should be."""

import pytest
import torch
from gymnasium.spaces import Box, Discrete

import gpusim
from gpusim import memory as machine
from gpusim.agents.parts import replay as module
from gpusim.agents.parts.replay import Replay, check_memory, memory, transition_bytes
from gpusim.errors import InputError
from gpusim.memory import free_memory
from tests.agents import probes

CPU = torch.device("cpu")
CARTPOLE = gpusim.spec("CartPole-v1")
BREAKOUT = gpusim.spec("MinAtar/Breakout-v1")


def make(capacity=60, num_envs=3, n_step=1, alpha=None, env=CARTPOLE):
    spaces = (env.observation_space, env.action_space)
    return Replay(capacity, num_envs, *spaces, n_step, 0.5, alpha, CPU)


def generator():
    return torch.Generator().manual_seed(0)


def played(env, num_envs=3):
    venv = gpusim.make(env, num_envs, device="cpu")
    venv.reset(seed=0)
    return venv


def test_a_sample_is_a_transition_that_was_played():
    ring, env = make(), played("CartPole-v1")
    seen = {}
    for _ in range(12):
        rollout = env.rollout(4)
        ring.add(rollout)
        for t in range(4):
            for e in range(3):
                done = bool(rollout.terminated[t, e] | rollout.truncated[t, e])
                answer = (
                    int(rollout.action[t, e]),
                    float(rollout.reward[t, e]),
                    0.5 * (not rollout.terminated[t, e]),
                    tuple(rollout.next_obs[t, e].tolist()),
                )
                seen[tuple(rollout.obs[t, e].tolist())] = (answer, done)
    assert any(done for _, done in seen.values())
    sample = ring.sample(500, generator())
    for i in range(500):
        answer, _ = seen[tuple(sample.obs[i].tolist())]
        found = (int(sample.action[i]), float(sample.returns[i]), float(sample.discount[i]))
        assert (*found, tuple(sample.next_obs[i].tolist())) == answer
    youngest = {tuple(x) for x in ring.obs.tolist()}
    assert {tuple(x) for x in sample.obs.tolist()} == youngest
    assert (sample.probability == 1 / 60).all()


def test_a_truncated_step_bootstraps_from_its_final_observation_and_a_terminated_one_does_not():
    """An episode of Delayed goes 0, 1, end; a limit of one step cuts it at 1."""
    ring = make(capacity=30, n_step=3, env=probes.DELAYED)
    venv = gpusim.make(probes.DELAYED, 3, device="cpu", max_episode_steps=1)
    venv.reset(seed=0)
    ring.add(venv.rollout(8))
    sample = ring.sample(100, generator())
    assert (sample.obs == 0.0).all()
    assert (sample.next_obs == 1.0).all()  # not 0, which the next episode begins with
    assert (sample.discount == 0.5).all()
    venv = played(probes.DELAYED)
    ring = make(capacity=30, n_step=3, env=probes.DELAYED)
    ring.add(venv.rollout(8))
    sample = ring.sample(100, generator())
    assert (sample.discount == 0.0).all()
    torch.testing.assert_close(sample.returns, torch.where(sample.obs[:, 0] == 0.0, 0.5, 1.0))


@pytest.mark.parametrize("name", ["MinAtar/Breakout-v1", "MinAtar/Seaquest-v1"])
def test_boards_come_out_as_they_went_in(name):
    """The ring has a bit for each cell; what is sampled is what the environment showed."""
    env = gpusim.spec(name)
    ring, venv = make(capacity=60, env=env), played(name)
    cells = env.observation_space.shape[2] * 100
    assert ring.obs.shape == (60, -(-cells // 8))
    rollouts = [venv.rollout(10) for _ in range(3)]
    for rollout in rollouts:
        ring.add(rollout)
    sample = ring.sample(200, generator())
    assert sample.obs.dtype == sample.next_obs.dtype == torch.bool
    for found, of in ((sample.obs, "obs"), (sample.next_obs, "next_obs")):
        everything = torch.cat([getattr(r, of).flatten(0, 1) for r in rollouts])
        youngest = torch.cat([everything[60:], everything[30:60]])  # the ring begins where the third rollout ends
        assert torch.equal(found, youngest[sample.place])


def test_images_of_bytes_are_kept_as_bytes():
    space = Box(0, 255, (7, 5, 3), "uint8")
    ring = Replay(12, 3, space, Discrete(4), 1, 0.9, None, CPU)
    assert ring.obs.dtype == torch.uint8
    assert ring.bytes == 2 * 105 + 7


def test_priorities_lie_where_n_steps_are_complete():
    ring, env = make(capacity=30, n_step=3, alpha=1.0), played("CartPole-v1")
    for put in (4, 8, 12, 16, 20):
        ring.add(env.rollout(4))
        complete = {(t * 3 + e) % 30 for t in range(max(0, put - 10), put - 2) for e in range(3)}
        assert set(ring.priority.nonzero().flatten().tolist()) == complete
        assert set(ring.sample(2000, generator()).place.tolist()) == complete


def test_a_priority_is_the_error_to_the_power_alpha():
    ring, env = make(capacity=12, alpha=0.5), played("CartPole-v1")
    ring.add(env.rollout(4))
    assert (ring.priority == 1.0).all()
    ring.update_priority(torch.tensor([2, 5]), torch.tensor([-9.0, 0.0]))
    assert ring.priority[[2, 5, 6]].tolist() == pytest.approx([3.0, 1e-3, 1.0], rel=1e-4)
    place = ring.sample(50_000, generator()).place
    assert (place == 2).float().mean().item() == pytest.approx(3 / 13, abs=0.01)
    ring.add(env.rollout(1))
    assert ring.priority[:3].tolist() == pytest.approx([3.0] * 3, rel=1e-4)  # new ones get the greatest so far


def test_importance_weights_by_hand():
    ring = make(alpha=1.0)
    assert ring.weights(torch.tensor([0.1, 0.4, 0.2]), 1.0).tolist() == pytest.approx([1.0, 0.25, 0.5])
    assert ring.weights(torch.tensor([0.1, 0.4]), 0.5).tolist() == pytest.approx([1.0, 0.5])
    assert ring.weights(torch.tensor([0.1, 0.4]), 0.0).tolist() == [1.0, 1.0]


def test_memory_is_told():
    assert memory(1_000_000, 40) == "1,000,000 × 40 B = 38 MiB"
    assert memory(1_000_000, 400) == "1,000,000 × 400 B = 381 MiB"
    for alpha in (None, 0.6):
        ring = make(alpha=alpha)
        tensors = [b for name, b in ring.named_buffers() if name not in ("count", "greatest")]
        assert sum(b.nbytes for b in tensors) == 60 * ring.bytes
    assert transition_bytes(CARTPOLE.observation_space, Discrete(256), False) == 2 * 16 + 7
    assert transition_bytes(CARTPOLE.observation_space, Discrete(257), False) == 2 * 16 + 10
    assert transition_bytes(BREAKOUT.observation_space, Discrete(3), False) == 2 * 50 + 7
    assert transition_bytes(Box(0, 255, (84, 84, 4), "uint8"), Discrete(3), True) == 2 * 28_224 + 11
    assert make(capacity=62).memory == "60 × 39 B = 2.3 KiB"


def test_too_large_is_refused_before_anything_is_allocated(monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda device: 10_000)
    with pytest.raises(
        InputError, match=r"1,000,000 × 39 B = 37 MiB .* 9.8 KiB .* largest capacity that does is 255\."
    ):
        make(capacity=1_000_000, num_envs=5)
    make(capacity=255, num_envs=5)
    with pytest.raises(InputError, match="is 255"):
        make(capacity=260, num_envs=5)


def test_what_is_free_is_known_here():
    assert free_memory(CPU) > 2**20
    check_memory(1, 1, 1, CPU)
    with pytest.raises(InputError, match="largest capacity"):
        make(capacity=10**15)


GIB = 2**30
TREES = {  # files of control groups, of the process's lines in /proc/self/cgroup, and what is left by hand
    "unlimited": ("0::/", {"memory.max": "max", "memory.current": "5"}, []),
    "version 2": ("0::/job", {"job/memory.max": 8 * GIB, "job/memory.current": 3 * GIB}, [5 * GIB]),
    "its cache": (
        "0::/job",
        {"job/memory.max": 8, "job/memory.current": 7, "job/memory.stat": "anon 1\ninactive_file 4\nslab 9"},
        [5],
    ),
    "the outer is less": (
        "0::/a/b",
        {"a/b/memory.max": 90, "a/b/memory.current": 10, "a/memory.max": 50, "a/memory.current": 49},
        [80, 1],
    ),
    "version 1": (
        "4:memory:/job\n3:cpu,cpuacct:/",
        {"memory/job/memory.limit_in_bytes": 100, "memory/job/memory.usage_in_bytes": 30},
        [70],
    ),
    "seen from inside": (
        "4:memory:/of/the/host",
        {"memory/memory.limit_in_bytes": 100, "memory/memory.usage_in_bytes": 130},
        [0],
    ),
    "none": ("", {}, []),
}


@pytest.mark.parametrize(("lines", "files", "left"), TREES.values(), ids=TREES)
def test_a_control_group_limits_what_is_free(lines, files, left, tmp_path, monkeypatch):
    for name, content in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    process = tmp_path / "cgroup"
    process.write_text(lines)
    assert list(machine._group_memory(tmp_path / "tree", process)) == left
    monkeypatch.setattr(machine, "_group_memory", lambda root: iter(left))
    monkeypatch.setattr(machine, "_machine_memory", lambda: 60)
    assert free_memory(CPU) == min(60, *left, 60)


def test_a_cleared_ring_is_as_new():
    ring, env = make(capacity=12, n_step=2, alpha=0.5), played("CartPole-v1")
    ring.add(env.rollout(3))
    ring.update_priority(torch.tensor([1]), torch.tensor([50.0]))
    ring.clear()
    new = make(capacity=12, n_step=2, alpha=0.5)
    for name in ("count", "priority", "greatest"):
        assert torch.equal(getattr(ring, name), getattr(new, name))


def test_a_state_is_taken_up_where_it_stood():
    env = played("CartPole-v1")
    one, other = make(alpha=0.6, n_step=2), make(alpha=0.6, n_step=2)
    for _ in range(9):
        one.add(env.rollout(3))
    other.load_state_dict(one.state_dict())
    rollout = env.rollout(3)
    for ring in (one, other):
        ring.add(rollout)
    for a, b in zip(one.sample(50, generator()), other.sample(50, generator()), strict=True):
        assert torch.equal(a, b)


def test_more_actions_than_a_byte_holds():
    space = Box(-1.0, 1.0, (2,))
    assert Replay(8, 2, space, Discrete(256), 1, 0.9, None, CPU).action.dtype == torch.uint8
    assert Replay(8, 2, space, Discrete(257), 1, 0.9, None, CPU).action.dtype == torch.int32


@pytest.mark.parametrize("alpha", [None, 0.6])
def test_actions_of_numbers_come_out_as_they_went_in(alpha):
    """Pendulum's, of one number; in a ring that wraps, over windows of three steps."""
    env, three = gpusim.spec("Pendulum-v1"), Box(-1.0, 1.0, (3,))
    ring, venv = make(capacity=60, n_step=3, alpha=alpha, env=env), played("Pendulum-v1")
    rollouts = [venv.rollout(10) for _ in range(3)]
    for rollout in rollouts:
        ring.add(rollout)
    sample = ring.sample(300, generator())
    everything = torch.cat([r.action.flatten(0, 1) for r in rollouts])
    youngest = torch.cat([everything[60:], everything[30:60]])  # the ring begins where the third rollout ends
    assert sample.action.shape == (300, 1)
    assert torch.equal(sample.action, youngest[sample.place])
    assert len(set(sample.action.flatten().tolist())) > 30
    assert transition_bytes(env.observation_space, three, False) == 2 * 12 + 12 + 6
    assert ring.bytes == 2 * 12 + 4 + 6 + (4 if alpha else 0)

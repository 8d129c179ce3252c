"""Where episodes begin in a rollout, and policies that remember what they have seen of one."""

from typing import NamedTuple

import pytest
import torch

from gpusim import InputError
from gpusim.adapters import from_gymnasium
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.policy import begin_anew
from gpusim.sim.stateful import SimulatorVectorEnv
from gpusim.wrappers import FrameStackObservation, RecordEpisodeStatistics
from tests.envs.slide import Slides
from tests.envs.test_vector import MODES, Plain, make, same
from tests.envs.toys import TOY

each_mode = pytest.mark.parametrize("mode", MODES)
MADE = {
    "env": lambda mode: make(CARTPOLE, 6, autoreset_mode=mode, max_episode_steps=9, validate=False),
    "env whose steps draw": lambda mode: make(TOY, 6, autoreset_mode=mode, validate=False),
    "wrappers": lambda mode: RecordEpisodeStatistics(FrameStackObservation(MADE["env"](mode), 2)),
    "simulator": lambda mode: SimulatorVectorEnv(Slides(6), autoreset_mode=mode, validate=False),
    "host": lambda mode: from_gymnasium("CartPole-v1", 6, device="cpu", engine="sync"),
}
each_made = pytest.mark.parametrize(
    ("made", "mode"), [(made, mode) for made in MADE for mode in (MODES[:1] if made == "host" else MODES)]
)


class Seen(NamedTuple):
    steps: torch.Tensor  # [N] observations of the episode so far, int64
    sums: torch.Tensor  # [N, 2] of them, and of their squares


class Remembers:
    """Acts by all that it has seen of an episode, and tells its state before each step."""

    def __init__(self, choose):
        self.choose = choose

    def initial_state(self, num_envs, device):
        return Seen(torch.zeros(num_envs, dtype=torch.int64), torch.full((num_envs, 2), 0.5))

    def act(self, obs, state, begun):
        steps, sums = begin_anew(state, self.initial_state(len(obs), obs.device), begun)
        numbers = obs.flatten(1).float()
        new = Seen(steps + 1, sums + torch.stack([numbers.sum(1), numbers.square().sum(1)], 1))
        return self.choose(new), {"steps": new.steps, "sums": new.sums, "told": begun}, new


def remembering(env):
    if hasattr(env.single_action_space, "n"):
        return Remembers(lambda seen: (seen.sums[:, 0] * 10).long() % 2)
    return Remembers(lambda seen: torch.sin(seen.sums))


def restart(env, mode):
    """As whoever uses an environment has to that resets nothing by itself."""
    if mode == "disabled":
        env.reset(options={"reset_mask": torch.arange(env.num_envs) % 2 == 0})


@each_mode
@pytest.mark.parametrize(
    ("env", "limit"), [(CARTPOLE, 7), (CARTPOLE, 1), (TOY, 7)], ids=["CartPole", "of a step", "Toy"]
)
def test_an_episode_begins_where_it_does_in_the_plain_loop(env, limit, mode):
    """In rollouts that start with an episode and amid one, and in what the environments say themselves."""
    vec = make(env, 4, autoreset_mode=mode, max_episode_steps=limit, validate=False)
    plain = [Plain(env, 3, i, mode, limit, env.params) for i in range(4)]
    vec.reset(seed=3)
    begun, count = [True] * 4, 0
    for steps in (10, 1, 2, 17):
        rollout = vec.rollout(steps)
        for t in range(steps):
            assert rollout.begun[t].tolist() == begun
            count += sum(begun)
            begun = [p.step(a)[-1] for p, a in zip(plain, rollout.action[t], strict=True)]
        assert vec.begun().tolist() == begun
    assert count == 4 if mode == "disabled" else count > 12


@each_made
def test_a_policy_is_told_where_episodes_begin(made, mode):
    env = MADE[made](mode)
    env.reset(seed=1)
    began = 0
    for steps in (13, 1, 30):
        assert torch.equal(rolled := env.begun(), env.begun())
        rollout = env.rollout(steps, remembering(env))
        assert torch.equal(rollout.begun[0], rolled)
        assert torch.equal(rollout.extras["told"], rollout.begun)
        assert rollout.begun.dtype == torch.bool
        began += int(rollout.begun.sum())
        restart(env, mode)
    env.close()
    assert began > (6 if mode == "disabled" else 12)


@each_made
def test_a_state_holds_an_episode_and_no_more(made, mode):
    """Added up here from the observations."""
    env = MADE[made](mode)
    env.reset(seed=1)
    rollout = env.rollout(40, remembering(env))
    env.close()
    steps, sums = torch.zeros(6, dtype=torch.int64), torch.full((6, 2), 0.5)
    for t in range(40):
        steps[rollout.begun[t]], sums[rollout.begun[t]] = 0, 0.5
        numbers = rollout.obs[t].flatten(1).float()
        steps, sums = steps + 1, sums + torch.stack([numbers.sum(1), numbers.square().sum(1)], 1)
        assert torch.equal(rollout.extras["steps"][t], steps)
        assert torch.equal(rollout.extras["sums"][t], sums)
    assert same(rollout.last_policy_state, Seen(steps, sums))
    assert same(rollout.policy_state, remembering(env).initial_state(6, "cpu"))


@each_made
def test_chunks_do_not_matter(made, mode):
    """40 steps are four times 10, each of which begins with the state that the one before has left."""
    one, other, bare = (MADE[made](mode) for _ in range(3))
    for env in (one, other, bare):
        env.reset(seed=2)
    whole, parts, state = one.rollout(40, remembering(one)), [], None
    for _ in range(4):
        parts.append(other.rollout(10, remembering(other), policy_state=state))
        assert state is None or same(parts[-1].policy_state, state)
        state = parts[-1].last_policy_state
    for name in ("obs", "action", "reward", "begun"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(p, name) for p in parts])), name
    assert torch.equal(whole.extras["sums"], torch.cat([p.extras["sums"] for p in parts]))
    assert same(whole.last_policy_state, state)
    tallied = bare.rollout(40, remembering(bare), transitions=False)
    assert same(tallied.last_policy_state, state)
    assert tallied.episodes == whole.episodes
    for env in (one, other, bare):
        env.close()


@pytest.mark.parametrize("mode", ["same_step", "next_step"])
def test_native_environments_tell_the_same(mode):
    env = make(CARTPOLE, 32, backend="native", autoreset_mode=mode, max_episode_steps=15)
    env.reset(seed=7)
    first, second = env.rollout(20, remembering(env)), env.rollout(20, remembering(env))
    begun = torch.cat([first.begun, second.begun])
    done, valid = (
        torch.cat([getattr(r, name) | getattr(r, other) for r in (first, second)])
        for name, other in (("terminated", "truncated"), ("valid", "valid"))
    )
    assert torch.equal(torch.cat([first.extras["told"], second.extras["told"]]), begun)
    assert begun[0].all()
    assert torch.equal(begun[1:], done[:-1] if mode == "same_step" else ~valid[:-1])


def test_an_episode_that_has_begun_before_its_wrapper_does_not_begin_again():
    env = make(CARTPOLE, 3)
    env.reset(seed=0)
    env.rollout(2)
    wrapped = RecordEpisodeStatistics(env)
    rollout = wrapped.rollout(3, remembering(wrapped))
    assert not rollout.begun.any()
    assert torch.equal(rollout.extras["told"], rollout.begun)
    assert rollout.episode_length[0].tolist() == [3.0] * 3


def test_a_policy_may_reuse_its_memory():
    """It writes to what it is given and returns the same tensors at every call; and so may do whoever gave the state."""

    class Careless(Remembers):
        memory = Remembers(None).initial_state(5, "cpu")

        def act(self, obs, state, begun):
            action, extras, new = super().act(obs, state, begun)
            for x in (obs, begun, *state):
                x.zero_()
            for old, now in zip(self.memory, new, strict=True):
                old.copy_(now)
            return action, extras | {"steps": self.memory.steps}, self.memory

    env, twin = make(CARTPOLE), make(CARTPOLE)
    for each in (env, twin):
        each.reset(seed=0)
    careless, careful, given, kept = Careless(remembering(env).choose), remembering(env), None, None
    pairs = []
    for _ in range(3):
        rollout = env.rollout(15, careless, policy_state=given)
        expected = twin.rollout(15, careful, policy_state=kept)
        for x in given or ():
            x.zero_()
        pairs.append((rollout._replace(extras={}), expected._replace(extras={})))
        given, kept = Seen(*(x.clone() for x in rollout.last_policy_state)), expected.last_policy_state
    assert all(same(*pair) for pair in pairs)


@pytest.mark.parametrize("transitions", [True, False])
def test_in_inference_mode(transitions):
    env = make(CARTPOLE)
    env.reset(seed=0)
    with torch.inference_mode():
        rollout = env.rollout(5, remembering(env), transitions=transitions)
    assert not any(x.is_inference() for x in (*rollout.policy_state, *rollout.last_policy_state))
    env.rollout(5, remembering(env), policy_state=rollout.last_policy_state)


def test_what_is_refused():
    env = make(CARTPOLE, 3)
    env.reset(seed=0)

    class Wrong(Remembers):
        def __init__(self, initial, given=None):
            super().__init__(None)
            self.initial, self.given = initial, given

        def initial_state(self, num_envs, device):
            return self.initial

        def act(self, obs, state, begun):
            return self.given(torch.zeros(3, dtype=torch.int64), {}, state)

    good = torch.zeros(3, 2)
    for initial in (torch.zeros(2, 3), None, (), torch.zeros(3, device="meta"), {"h": good, "c": torch.zeros(())}):
        with pytest.raises(InputError, match=r"initial_state must give tensors of shape \(3, \.\.\.\) on cpu"):
            env.rollout(2, Wrong(initial))
    for given in (lambda a, e, s: (a, e, s.double()), lambda a, e, s: (a, e, (s,)), lambda a, e, s: (a, e, None)):
        with pytest.raises(InputError, match=r"the state that a policy gives must be as .* 'float32 \[3, 2\] on cpu'"):
            env.rollout(2, Wrong(good, given))
    for given in (lambda a, e, s: (a, s), lambda a, e, s: a):
        with pytest.raises(InputError, match="a policy that remembers gives actions, a dict of tensors and its state"):
            env.rollout(2, Wrong(good, given))
    with pytest.raises(InputError, match=r"policy_state must be as .* \[3, 2\] on cpu', not 'float32 \[3\] on cpu'"):
        env.rollout(2, Wrong(good, lambda *a: a), policy_state=torch.zeros(3))
    for policy in (None, lambda obs: torch.zeros(3, dtype=torch.int64)):
        with pytest.raises(InputError, match="policy_state is for a policy that remembers"):
            env.rollout(2, policy, policy_state=good)
    assert env.rollout(2, Wrong(good, lambda *a: a)).last_policy_state.equal(good)

"""A shorter time limit."""

from contextlib import suppress

from gymnasium.error import ResetNeeded

from gpusim import checks
from gpusim.errors import InputError
from gpusim.wrappers.wrapper import Wrappable, Wrapper


class TimeLimit(Wrapper):
    """Truncates episodes after `max_episode_steps` steps, if the environment does not do so sooner.

    The limit is set in the environment itself, which resets, counts and keeps `final_obs` by it, in its kernels too. It
    outlives the wrapper.

    Raises:
        InputError: `max_episode_steps` is no positive whole number.
    """

    def __init__(self, env: Wrappable, max_episode_steps: int):
        super().__init__(env)
        steps, base = checks.positive("max_episode_steps", max_episode_steps), self.unwrapped
        if steps > checks.MAX_STEPS:
            raise InputError(f"max_episode_steps must be at most {checks.MAX_STEPS}, not {steps}.")
        base.max_episode_steps = min(steps, base.max_episode_steps or steps)
        with suppress(ResetNeeded):
            base.set_state(base.get_state())  # from now on, episodes that have begun already included

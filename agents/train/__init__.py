"""From a configuration to a trained policy: environments, learner, loop, run and its evaluation, whatever the algorithm."""

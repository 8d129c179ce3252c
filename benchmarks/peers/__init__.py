"""What others made, measured beside ours: each has `measure()`, the environment steps per second of one round."""

"""Settings that were seen to work, by algorithm and environment; what is not named here is the algorithm's default."""

from typing import Any

PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("ppo", "CartPole-v1"): {},
}

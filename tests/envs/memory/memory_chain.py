"""The chain again, in NumPy and loops: bsuite's is no package that could be asked, so this is written after what it says."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Chain:
    """Episodes of one environment."""

    @property
    def against(self) -> tuple[str, str]:
        """No source, and the file that is one."""
        return "", "tests/envs/memory/memory_chain.py"

    def played(self, cues: list[int], delay: int, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What one environment shows before each action, and the reward and the end after it; a cue for each episode."""
        seen, rewards, ends = [], [], []
        cues, time = list(cues), 0
        for action in actions:
            seen.append((1 - time / delay, (cues[0] or -1) if time == 0 else 0))
            asked = time == delay
            rewards.append((1 if action == cues[0] else -1) if asked else 0)
            ends.append(asked)
            time += 1
            if asked:
                cues, time = cues[1:], 0
        return np.array(seen), np.array(rewards), np.array(ends)


ORACLE = Chain()

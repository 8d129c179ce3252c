"""Wrappers on tensors, named as Gymnasium's, whose own fail on anything but NumPy arrays.

    env = NormalizeObservation(ClipAction(gpusim.make("Pendulum-v1", 4096)))

They keep the contract of `gpusim.VectorEnv`: all auto-reset modes, masked resets, the same keys in `infos` at every step,
`final_obs` treated as `obs` is, tensors on `env.device` that belong to the caller, `rollout`, `get_state` and `set_state`.
"""

from gpusim.wrappers.action import ClipAction, RescaleAction
from gpusim.wrappers.frame_stack import FrameStackObservation
from gpusim.wrappers.normalize import NormalizeObservation, NormalizeReward
from gpusim.wrappers.record_video import RecordVideo
from gpusim.wrappers.statistics import RecordEpisodeStatistics
from gpusim.wrappers.time_limit import TimeLimit
from gpusim.wrappers.transform import TransformObservation, TransformReward
from gpusim.wrappers.wrapper import Wrapper, WrapperState

__all__ = [
    "ClipAction", "FrameStackObservation", "NormalizeObservation", "NormalizeReward", "RecordEpisodeStatistics",
    "RecordVideo", "RescaleAction", "TimeLimit", "TransformObservation", "TransformReward", "Wrapper", "WrapperState",
]  # fmt: skip

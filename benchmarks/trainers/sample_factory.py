"""Sample Factory 2.1: APPO on CartPole, in one process."""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from sample_factory.algo.utils.make_env import make_env_func_batched
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.train import make_runner
from sample_factory.utils.attr_dict import AttrDict

from gpusim.adapters import to_sample_factory

TRAINER, LIBRARY = "Sample Factory", "sample-factory"
ENV, MODE, COPIES = "CartPole-v1", "same_step", 2


def through(num_envs: int, device: torch.device, actions: torch.Tensor) -> Callable[[], None]:
    name = to_sample_factory(ENV, num_envs=num_envs, device=str(device))
    env = make_env_func_batched(AttrDict(env=name), AttrDict(worker_index=0, vector_index=0, env_id=0))
    env.reset()
    handed = actions.to(torch.int32)

    def play() -> None:
        for action in handed:
            env.step(action)

    return play


def train(device: torch.device) -> tuple[str, int]:
    runner = trained(to_sample_factory(ENV, num_envs=64, device=str(device)), device, 8_192)
    return "APPO", sum(runner.env_steps.values())


def trained(name: str, device: torch.device, steps: int) -> Any:
    """The runner after at least that many steps."""
    gpu = device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "env": name, "train_dir": folder, "experiment": "run", "device": "gpu" if gpu else "cpu", "seed": 0,
            "batched_sampling": True, "num_workers": 1, "num_envs_per_worker": 1, "worker_num_splits": 1,
            "env_gpu_actions": gpu, "env_gpu_observations": gpu, "serial_mode": True, "async_rl": False, "rollout": 16,
            "batch_size": 1024, "num_epochs": 2, "use_rnn": False, "encoder_mlp_layers": 32, "with_wandb": False,
            "train_for_env_steps": steps, "normalize_input": False,
        }  # fmt: skip
        said = [f"--{key}={value}" for key, value in arguments.items()]
        parser, _ = parse_sf_args(said)
        _, runner = make_runner(parse_full_cfg(parser, said))
        assert runner.init() == 0
        assert runner.run() == 0
    return runner

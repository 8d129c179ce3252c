"""Searches PPO's settings by Ray Tune's ASHA: on all machines of a Ray cluster, or on this one alone.

    make ray                                                    in a virtual environment of its own, as Ray pins Gymnasium
    python examples/ray_tune.py --samples 200 --address auto    on a cluster that is running

`gpusim sweep` needs no Ray, and several machines that see one folder can share it. Ray is for a cluster that is there
already, and for searches that place many trials on many GPUs. Each trial is an ordinary run, whose folder is in Ray's.
"""

import argparse
from pathlib import Path

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from gpusim.agents.train.learner import Learner
from gpusim.agents.train.loop import Observer, run
from gpusim.agents.train.run import RunFolder, make_learner, preset


class Reported(Observer):
    """Tells Ray of every reading; where a trial is behind, Ray ends its process there."""

    def reading(self, learner: Learner, metrics: dict[str, float]) -> None:
        tune.report({"mean_return": metrics["return"], "steps": metrics["steps"]})


def trial(chosen: dict) -> None:
    """One run with the settings that were chosen."""
    fixed = dict(chosen)
    algorithm, env = fixed.pop("algorithm"), fixed.pop("env")
    path = Path(tune.get_context().get_trial_dir()) / "run"
    config = preset(algorithm, env, run_dir=str(path), **fixed)
    learner, folder = make_learner(algorithm, config), RunFolder.create(path, algorithm, config)
    with folder.locked():
        run(learner, (folder, Reported()))
        folder.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", default="ppo")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--total-steps", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--gpus", type=float, default=0, help="of each trial; 0.25 puts four on one")
    parser.add_argument("--address", help="of a Ray cluster; none begins one on this machine")
    parser.add_argument("--out", default="runs/ray", help="a folder that all machines see")
    args = parser.parse_args()
    ray.init(address=args.address, include_dashboard=False)
    space = {
        "algorithm": args.algorithm,
        "env": args.env,
        "total_steps": args.total_steps,
        "learning_rate": tune.loguniform(1e-4, 1e-2),
        "num_steps": tune.choice([16, 32, 64]),
        "seed": tune.randint(0, 2**31),
    }
    asha = ASHAScheduler(time_attr="steps", grace_period=args.total_steps // 5, max_t=args.total_steps)
    found = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1, "gpu": args.gpus}),
        param_space=space,
        tune_config=tune.TuneConfig(metric="mean_return", mode="max", num_samples=args.samples, scheduler=asha),
        run_config=tune.RunConfig(storage_path=str(Path(args.out).resolve()), name="sweep"),
    ).fit()
    best = found.get_best_result(scope="all")
    print(f"the best of {len(found)}: {best.metrics['mean_return']:.1f} with {best.config}; its run: {best.path}/run")


if __name__ == "__main__":
    main()

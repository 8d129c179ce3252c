"""Draws what there is: for each environment a frame from the middle of an episode, all in one picture.

python examples/gallery.py --out gallery.png     (needs pip install "gpusim[train]" for matplotlib)
"""

import argparse

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

import gpusim


def frame(name: str, steps: int = 12) -> np.ndarray:
    """`[H, W, 3]` uint8, after some steps by random actions; of 16 environments the one whose episode has lasted longest."""
    env = gpusim.make(name, num_envs=16, device="cpu")
    env.reset(seed=0)
    env.rollout(steps, transitions=False)
    oldest = int(env.get_state().elapsed.argmax())
    return gpusim.render(env, [oldest])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="*", help="all, if none is named")
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--out", default="gallery.png")
    args = parser.parse_args()
    names = args.ids or gpusim.env_ids()
    rows = -(-len(names) // args.columns)
    _, axes = plt.subplots(
        rows, args.columns, figsize=(2 * args.columns, 2.2 * rows), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, name in zip(axes.flat, names, strict=False):
        axis.imshow(frame(name), aspect="equal")
        axis.set_title(name.rpartition("/")[2], fontsize=9)
    plt.savefig(args.out, dpi=100)


if __name__ == "__main__":
    main()

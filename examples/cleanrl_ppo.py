"""PPO in one file, in CleanRL's manner, on gpusim's environments with nothing in between: all they give are torch tensors.

    pip install "gpusim[train]"
    python examples/cleanrl_ppo.py
    python examples/cleanrl_ppo.py --env-id Pendulum-v1 --normalize-reward --update-epochs 10

The default auto-reset gives what a learner needs in one step: `obs` to act on next, which may begin a new episode, and
`infos["final_obs"]`, where the step really led. Values of the latter make the advantages, so that an episode cut off by
the time limit is worth what would have come after it.
"""

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal

import gpusim
from gpusim.wrappers import ClipAction, NormalizeObservation, NormalizeReward, RescaleAction


@dataclass
class Args:
    """Proximal policy optimization (Schulman et al., 2017)."""

    env_id: str = "CartPole-v1"
    """Id of the environment."""
    total_timesteps: int = 150_000
    """Environment steps of the training."""
    seed: int = 0
    """Of everything random."""
    device: str = "auto"
    """auto (CUDA where there is a GPU), cpu, cuda or cuda:N."""
    num_envs: int = 64
    """Environments that step together."""
    num_steps: int = 32
    """Steps of each environment in a rollout."""
    learning_rate: float = 2.5e-3
    """Adam's, at the beginning."""
    anneal_lr: bool = True
    """Let it fall to zero along a line."""
    gamma: float = 0.98
    """Discount."""
    gae_lambda: float = 0.95
    """Of generalized advantage estimation."""
    num_minibatches: int = 4
    """Updates in a pass over a rollout."""
    update_epochs: int = 4
    """Passes over a rollout."""
    clip_coef: float = 0.2
    """How far the probability ratio may move from 1 before its gradient ends."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Gradients longer than this are shortened to it."""
    normalize_obs: bool = False
    """Scale observations by running statistics."""
    normalize_reward: bool = False
    """Scale rewards by the running deviation of discounted returns."""
    log_every: int = 10
    """Iterations from one printed line to the next."""
    log_dir: Path | None = None
    """Folder for TensorBoard; None writes nothing."""

    @property
    def batch_size(self) -> int:
        return self.num_envs * self.num_steps

    def check(self) -> None:
        """Raises `InputError` where a number cannot be used; those of the environment are looked at as it is made."""
        for name in ("num_steps", "num_minibatches", "update_epochs", "log_every"):
            if getattr(self, name) < 1:
                raise gpusim.InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.num_minibatches > self.batch_size:
            raise gpusim.InputError(f"a rollout of {self.batch_size} steps has no {self.num_minibatches} minibatches.")
        if self.total_timesteps < self.batch_size:
            raise gpusim.InputError(f"total_timesteps must be at least a rollout, {self.batch_size} steps.")


def make_envs(args: Args) -> Any:
    envs: Any = gpusim.make(args.env_id, args.num_envs, device=args.device)
    if isinstance(envs.single_action_space, Box):
        envs = ClipAction(RescaleAction(envs, -1.0, 1.0))
    if args.normalize_obs:
        envs = NormalizeObservation(envs)
    return NormalizeReward(envs, args.gamma) if args.normalize_reward else envs


def flat(obs: Tensor) -> Tensor:
    return obs.flatten(1).float()


def layer(inputs: int, outputs: int, gain: float = math.sqrt(2)) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    def __init__(self, envs: Any):
        super().__init__()
        space, inputs = envs.single_action_space, math.prod(envs.single_observation_space.shape)
        self.discrete = isinstance(space, Discrete)
        outputs = int(space.n) if self.discrete else math.prod(space.shape)
        self.critic = nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0))
        self.actor = nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, outputs, 0.01))
        self.log_std = None if self.discrete else nn.Parameter(torch.zeros(outputs))

    def value(self, obs: Tensor) -> Tensor:
        return self.critic(obs).squeeze(-1)

    def policy(self, obs: Tensor) -> Categorical | Independent:
        out = self.actor(obs)
        if self.log_std is None:
            return Categorical(logits=out, validate_args=False)  # a look at the values would stop the GPU
        return Independent(Normal(out, self.log_std.exp(), validate_args=False), 1, validate_args=False)

    @torch.no_grad()
    def greedy(self, obs: Tensor) -> Tensor:
        """The likeliest actions at `obs` `[N, *obs]`, as the environments of training would observe it."""
        return self.policy(flat(obs)).mode


def train(args: Args) -> tuple[Agent, Any]:
    """The trained agent, and the environments as training left them."""
    args.check()
    torch.manual_seed(args.seed)
    envs = make_envs(args)
    device = envs.device
    agent = Agent(envs).to(device)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    writer = None
    if args.log_dir is not None:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(args.log_dir)

    shape = (args.num_steps, args.num_envs)
    obs, final_obs = torch.zeros(2, *shape, math.prod(envs.single_observation_space.shape), device=device)
    actions = torch.zeros(
        *shape, *envs.single_action_space.shape, device=device, dtype=torch.int64 if agent.discrete else torch.float32
    )
    logprobs, rewards, episode_returns = torch.zeros(3, *shape, device=device)
    terminations, dones = torch.zeros(2, *shape, device=device, dtype=torch.bool)
    return_sum, episodes = torch.zeros(2, device=device)

    next_obs = flat(envs.reset(seed=args.seed)[0])
    iterations, global_step, start = args.total_timesteps // args.batch_size, 0, time.perf_counter()
    for iteration in range(1, iterations + 1):
        if args.anneal_lr:
            optimizer.param_groups[0]["lr"] = args.learning_rate * (1.0 - (iteration - 1) / iterations)

        for step in range(args.num_steps):
            with torch.no_grad():
                policy = agent.policy(next_obs)
                action = policy.sample()
                logprobs[step] = policy.log_prob(action)
            obs[step], actions[step] = next_obs, action
            next_obs, rewards[step], terminated, truncated, infos = envs.step(action)
            next_obs, final_obs[step] = flat(next_obs), flat(infos["final_obs"])
            terminations[step], dones[step] = terminated, terminated | truncated
            episode_returns[step] = infos["episode"]["r"]  # the true ones, whatever is normalized
        global_step += args.batch_size
        return_sum += (episode_returns * dones).sum()
        episodes += dones.sum()

        with torch.no_grad():
            values, next_values = agent.value(obs), agent.value(final_obs)
            deltas = rewards + args.gamma * next_values * ~terminations - values
            advantages, running = torch.empty_like(deltas), torch.zeros_like(deltas[0])
            for step in reversed(range(args.num_steps)):
                running = deltas[step] + args.gamma * args.gae_lambda * running * ~dones[step]
                advantages[step] = running
            returns = advantages + values

        batch = [x.flatten(0, 1) for x in (obs, actions, logprobs, advantages, returns)]
        for _ in range(args.update_epochs):
            for rows in torch.randperm(args.batch_size, device=device).chunk(args.num_minibatches):
                b_obs, b_actions, b_logprobs, b_advantages, b_returns = (x[rows] for x in batch)
                policy = agent.policy(b_obs)
                logratio = policy.log_prob(b_actions) - b_logprobs
                ratio = logratio.exp()
                b_advantages = (b_advantages - b_advantages.mean()) / (b_advantages.std(unbiased=False) + 1e-8)
                clipped = ratio.clamp(1.0 - args.clip_coef, 1.0 + args.clip_coef)
                pg_loss = -torch.minimum(b_advantages * ratio, b_advantages * clipped).mean()
                v_loss = 0.5 * (agent.value(b_obs) - b_returns).square().mean()
                entropy = policy.entropy().mean()
                loss = pg_loss + args.vf_coef * v_loss - args.ent_coef * entropy

                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()

        if iteration % args.log_every and iteration != iterations:
            continue
        mean_return = float(return_sum / episodes)  # the only look at the device
        return_sum.zero_(), episodes.zero_()
        sps = global_step / (time.perf_counter() - start)
        print(f"global_step={global_step:,} episodic_return={mean_return:.1f} SPS={sps:,.0f}", flush=True)
        if writer is not None:
            writer.add_scalar("charts/episodic_return", mean_return, global_step)
            writer.add_scalar("charts/SPS", sps, global_step)
            writer.add_scalar("losses/policy_loss", pg_loss, global_step)
            writer.add_scalar("losses/value_loss", v_loss, global_step)
            writer.add_scalar("losses/entropy", entropy, global_step)
            writer.add_scalar("losses/approx_kl", (ratio - 1 - logratio).mean(), global_step)
    if writer is not None:
        writer.close()
    return agent, envs


if __name__ == "__main__":
    try:
        train(tyro.cli(Args))
    except gpusim.InputError as error:
        sys.exit(str(error))

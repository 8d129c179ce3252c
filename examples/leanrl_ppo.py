"""PPO in one file, in LeanRL's manner: what `cleanrl_ppo.py` does, compiled and, on a GPU, replayed as CUDA graphs.

    pip install "gpusim[train]"
    python examples/leanrl_ppo.py
    python examples/leanrl_ppo.py --env-id Pendulum-v1 --normalize-reward --update-epochs 10

Two functions are compiled: `act`, and `gradients`, which goes forward, backward and clips in one graph. On a GPU `act` is
one CUDA graph, and `learn`, with the advantages and every update of an iteration, another; between them a step of the
environments is a single kernel. The host looks at no value but those it prints. The clock starts once all is compiled.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

import gpusim
from gpusim.wrappers import ClipAction, NormalizeReward, RescaleAction


@dataclass
class Args:
    """Proximal policy optimization (Schulman et al., 2017), compiled."""

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
    """Updates in a pass over a rollout; they share its steps evenly."""
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
    normalize_reward: bool = False
    """Scale rewards by the running deviation of discounted returns."""
    log_every: int = 10
    """Iterations from one printed line to the next."""
    burn_in: int = 5
    """Iterations before the clock starts: they compile, and capture."""
    compile: bool = True
    """Compile `act` and `gradients`."""
    compile_backend: str = "inductor"
    """The backend of `torch.compile`; aot_eager compiles in a moment, and nothing becomes faster."""
    cudagraphs: bool = True
    """Capture `act` and `learn` as CUDA graphs, on a GPU."""

    @property
    def batch_size(self) -> int:
        return self.num_envs * self.num_steps

    def check(self) -> None:
        """Raises `InputError` where a number cannot be used; those of the environment are looked at as it is made."""
        for name in ("num_steps", "num_minibatches", "update_epochs", "log_every"):
            if getattr(self, name) < 1:
                raise gpusim.InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.batch_size % self.num_minibatches:
            raise gpusim.InputError(
                f"{self.num_minibatches} minibatches cannot share {self.batch_size} steps evenly; "
                "let num_minibatches divide num_envs * num_steps."
            )
        if self.total_timesteps < self.batch_size:
            raise gpusim.InputError(f"total_timesteps must be at least a rollout, {self.batch_size} steps.")


def make_envs(args: Args) -> Any:
    envs: Any = gpusim.make(args.env_id, args.num_envs, device=args.device, validate=False)
    if isinstance(envs.single_action_space, Box):
        envs = ClipAction(RescaleAction(envs, -1.0, 1.0))
    return NormalizeReward(envs, args.gamma) if args.normalize_reward else envs


def flat(obs: Tensor) -> Tensor:
    return obs.flatten(1).float()


def layer(inputs: int, outputs: int, gain: float = math.sqrt(2)) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    """Actor and critic, and the distribution of actions written out: categorical, or Gaussian."""

    def __init__(self, envs: Any):
        super().__init__()
        space, inputs = envs.single_action_space, math.prod(envs.single_observation_space.shape)
        self.discrete = isinstance(space, Discrete)
        outputs = int(space.n) if self.discrete else math.prod(space.shape)
        self.critic = nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0))
        self.actor = nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, outputs, 0.01))
        self.log_std = nn.Parameter(torch.zeros(0 if self.discrete else outputs))

    def forward(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability of the action, entropy of the policy and value of the observation, `[B]` each."""
        return *self.judge(self.actor(obs), action), self.value(obs)

    def value(self, obs: Tensor) -> Tensor:
        return self.critic(obs).squeeze(-1)

    def draw(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Actions `[B]` or `[B, d]` of the policy, and their log-probabilities `[B]`."""
        out = self.actor(obs)
        if self.discrete:
            action = (out - torch.empty_like(out).exponential_().log()).argmax(-1)  # Gumbel's trick
        else:
            action = out + self.log_std.exp() * torch.randn_like(out)
        return action, self.judge(out, action)[0]

    def judge(self, out: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        if self.discrete:
            logits = out.log_softmax(-1)
            return logits.gather(-1, action[..., None]).squeeze(-1), -(logits.exp() * logits).sum(-1)
        log_scale = self.log_std + 0.5 * math.log(2.0 * math.pi)
        deviation = (action - out) * (-self.log_std).exp()
        return -(0.5 * deviation.square() + log_scale).sum(-1), (0.5 + log_scale).sum(-1).expand(out.shape[:-1])

    @torch.no_grad()
    def greedy(self, obs: Tensor) -> Tensor:
        """The likeliest actions at `obs` `[N, *obs]`."""
        out = self.actor(flat(obs))
        return out.argmax(-1) if self.discrete else out


class CudaGraph:
    """Calls `function` on tensors: as it is at first, which compiles what it needs; then captured, and replayed ever after.

    The graph reads copies of the inputs, and what it returns is the same tensors each time.
    """

    def __init__(self, function: Callable[..., Any], warmup: int = 3):
        self.function, self.warmup = function, warmup
        self.graph: Any = None
        self.inputs: Sequence[Tensor] = ()
        self.outputs: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        if self.warmup > 0:
            self.warmup -= 1
            return self.function(*inputs)
        if self.graph is None:
            self.inputs, self.graph = [x.clone() for x in inputs], torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.outputs = self.function(*self.inputs)
        for held, given in zip(self.inputs, inputs, strict=True):
            held.copy_(given)
        self.graph.replay()
        return self.outputs


def accumulate(deltas: Tensor, decays: Tensor) -> Tensor:
    """A_t = delta_t + decay_t A_{t+1}, all `[T, N]`, by doubling: in log2(T) rounds instead of T."""
    span = 1
    while span < len(deltas):
        deltas = torch.cat([deltas[:-span] + decays[:-1] * deltas[span:], deltas[-span:]])
        decays = decays[:-span] * decays[span:]
        span *= 2
    return deltas


@torch.no_grad()  # `grad_and_value` alone differentiates
def train(args: Args) -> tuple[Agent, Any]:
    """The trained agent, and the environments as training left them."""
    args.check()
    torch.manual_seed(args.seed)
    envs = make_envs(args)
    device, on_gpu = envs.device, envs.device.type == "cuda"
    agent = Agent(envs).to(device)
    params = dict(agent.named_parameters())
    learning_rate = torch.tensor(args.learning_rate, device=device)
    optimizer = torch.optim.Adam(params.values(), lr=learning_rate, eps=1e-5, fused=True, capturable=on_gpu)

    shape = (args.num_steps, args.num_envs)
    obs, final_obs = torch.zeros(2, *shape, math.prod(envs.single_observation_space.shape), device=device)
    dtype = torch.int64 if agent.discrete else torch.float32
    actions = torch.zeros(*shape, *envs.single_action_space.shape, device=device, dtype=dtype)
    logprobs, rewards, episode_returns = torch.zeros(3, *shape, device=device)
    terminations, dones = torch.zeros(2, *shape, device=device, dtype=torch.bool)
    return_sum, episodes = torch.zeros(2, device=device)

    def loss(params: dict[str, Tensor], b_obs, b_actions, b_logprobs, b_advantages, b_returns) -> Tensor:
        logprob, entropy, value = functional_call(agent, params, (b_obs, b_actions))
        ratio = (logprob - b_logprobs).exp()
        b_advantages = (b_advantages - b_advantages.mean()) / (b_advantages.std(unbiased=False) + 1e-8)
        clipped = ratio.clamp(1.0 - args.clip_coef, 1.0 + args.clip_coef)
        pg_loss = -torch.minimum(b_advantages * ratio, b_advantages * clipped).mean()
        v_loss = 0.5 * (value - b_returns).square().mean()
        return pg_loss + args.vf_coef * v_loss - args.ent_coef * entropy.mean()

    def gradients(params: dict[str, Tensor], *batch: Tensor) -> dict[str, Tensor]:
        """Of the loss, no longer together than `max_grad_norm`."""
        grads, _ = grad_and_value(loss)(params, *batch)
        norm = torch.stack([g.square().sum() for g in grads.values()]).sum().sqrt()
        scale = (args.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        return {name: g * scale for name, g in grads.items()}

    def learn() -> None:
        """The updates of one iteration, from what the rollout has stored."""
        values, next_values = agent.value(obs), agent.value(final_obs)
        deltas = rewards + args.gamma * next_values * ~terminations - values
        advantages = accumulate(deltas, args.gamma * args.gae_lambda * ~dones)
        batch = [x.flatten(0, 1) for x in (obs, actions, logprobs, advantages, advantages + values)]
        for _ in range(args.update_epochs):
            for rows in torch.randperm(args.batch_size, device=device).chunk(args.num_minibatches):
                for name, grad in gradients(params, *(x[rows] for x in batch)).items():
                    params[name].grad = grad
                optimizer.step()

    act = agent.draw
    if args.compile:
        act, gradients = (torch.compile(f, fullgraph=True, backend=args.compile_backend) for f in (act, gradients))
    if args.cudagraphs and on_gpu:
        act, learn = CudaGraph(act), CudaGraph(learn)

    next_obs = flat(envs.reset(seed=args.seed)[0])
    iterations, counted, start = args.total_timesteps // args.batch_size, 0, time.perf_counter()
    for iteration in range(1, iterations + 1):
        if args.anneal_lr:
            learning_rate.fill_(args.learning_rate * (1.0 - (iteration - 1) / iterations))
        for step in range(args.num_steps):
            obs[step] = next_obs
            actions[step], logprobs[step] = act(next_obs)
            next_obs, rewards[step], terminations[step], truncated, infos = envs.step(actions[step])
            next_obs, final_obs[step] = flat(next_obs), flat(infos["final_obs"])
            dones[step] = terminations[step] | truncated
            episode_returns[step] = infos["episode"]["r"]
        learn()
        return_sum += (episode_returns * dones).sum()
        episodes += dones.sum()

        if iteration == args.burn_in:
            if on_gpu:
                torch.cuda.synchronize()
            counted, start = iteration, time.perf_counter()
        if iteration % args.log_every == 0 or iteration == iterations:
            mean_return = float(return_sum / episodes)  # waits for the device
            sps = (iteration - counted) * args.batch_size / (time.perf_counter() - start)
            global_step = iteration * args.batch_size
            print(f"global_step={global_step:,} episodic_return={mean_return:.1f} SPS={sps:,.0f}", flush=True)
            return_sum.zero_(), episodes.zero_()
    return agent, envs


if __name__ == "__main__":
    try:
        train(tyro.cli(Args))
    except gpusim.InputError as error:
        sys.exit(str(error))

#!/bin/bash
# PPO on two machines of eight GPUs each: sbatch examples/cluster/slurm.sh
#SBATCH --job-name=gpusim
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1        # one torchrun on each; it starts a process for each GPU
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --requeue                  # Slurm may begin it again, and the run then goes on
#SBATCH --open-mode=append

set -euo pipefail

RUN=${RUN:-runs/slurm-$SLURM_JOB_ID}   # seen by the first machine at least; the others write nothing
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

if [ -e "$RUN/config.json" ]; then
    COMMAND=(resume "$RUN")
else
    COMMAND=(train ppo CartPole-v1 --device cuda --num-envs 65536 --shards 16 --total-steps 10G --run-dir "$RUN")
fi

# NCCL_DEBUG=INFO tells which network it found, NCCL_SOCKET_IFNAME=eth0 names one.
srun torchrun \
    --nnodes="$SLURM_NNODES" \
    --nproc-per-node="${RANKS:-8}" \
    --max-restarts=3 \
    --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-backend=c10d \
    --rdzv-endpoint="$HEAD:29400" \
    -m gpusim.agents "${COMMAND[@]}"

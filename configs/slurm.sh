#!/bin/bash
# Trains on one or several nodes, and goes on by itself after a time limit or a pre-emption:
#
#   sbatch [--nodes N] [--gpus-per-node G] configs/slurm.sh RUN_FOLDER --data data/busi [any flag of train.py]
#
# Submit it from the repository, with its Python environment active, on a file system that all nodes share.
#SBATCH --job-name=busi_unet
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120

set -uo pipefail

run=${1:?usage: sbatch configs/slurm.sh RUN_FOLDER [flags of train.py]}
shift
flags=(--output "$run" "$@")
if [[ -e $run/checkpoint.pt ]]; then
    flags+=(--resume)
fi

# 120 seconds before the end Slurm signals this script alone (B:), which asks the training to stop:
# it writes a checkpoint after the step it is in. Without --batch, scancel signals the steps, not this script.
told_to_stop=false
trap 'told_to_stop=true; scancel --signal=TERM "$SLURM_JOB_ID"' USR1

# torchrun also with a single process: `accelerate launch` would die of the signal before its child has
# written the checkpoint. The configuration of accelerate is not needed, as train.py has all of it in flags.
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head_node:$((20000 + SLURM_JOB_ID % 10000))" \
    --shutdown-timeout 90 \
    scripts/train.py "${flags[@]}" &
step=$!
wait "$step"
# A signal ends `wait`, not the training.
while kill -0 "$step" 2>/dev/null; do wait "$step"; done
wait "$step"
status=$?

if $told_to_stop && ((status != 0)); then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"

#!/usr/bin/env bash
# Trains on several machines of a SLURM cluster, and goes on by itself when the time is up.
#
#   sbatch docs/slurm.sh --data /shared/sets/train --method swav --out /shared/runs/mine
#
# Every argument goes to trainer.run; --out is required, on a file system that all machines mount.
# Five minutes before the limit SLURM sends SIGUSR1 to this script; the ranks finish their step, save
# and end, and the job queues again. Change what is marked; docs/scale.md explains the rest.
# Checked with `bash -n` only: it has not been run on a cluster.

#SBATCH --job-name=augengine
#SBATCH --nodes=2                  # change: machines
#SBATCH --ntasks-per-node=1        # one torchrun a machine
#SBATCH --gpus-per-node=8          # change: GPUs of a machine
#SBATCH --cpus-per-task=64         # change: cores of a machine
#SBATCH --time=24:00:00            # change
#SBATCH --signal=B:USR1@300        # to this script, 300 s before the limit
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=augengine-%j.log
set -euo pipefail

# change: activate the environment here, e.g. source /shared/augengine/.venv/bin/activate
first_machine=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=1

# No --max-restarts: a rank that ends after SIGUSR1 would be started again at once. After a crash
# `sbatch` the same line again, or set --max-restarts and give up SIGUSR1.
# torchrun passes the signals that --signals-to-handle names on to its ranks, and waits for them as
# long as --shutdown-timeout says; torch 2.13 has both options, the oldest that we support has not.
srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_NNODES" \
  --nproc-per-node "${SLURM_GPUS_ON_NODE:-8}" \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-backend c10d \
  --rdzv-endpoint "$first_machine:29500" \
  --signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
  --shutdown-timeout 240 \
  -m trainer.run "$@" --resume auto &
step=$!

time_is_up=0
on_time_up() {
  time_is_up=1
  kill -USR1 "$step" # srun passes it on to every torchrun
}
trap on_time_up USR1

code=0
wait "$step" || code=$?
# A signal ends `wait` before the ranks have ended.
while kill -0 "$step" 2>/dev/null; do
  wait "$step" || code=$?
done
if [ "$time_is_up" = 1 ] && [ "$code" != 0 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"

#!/bin/bash
# One part of a run, as a task of a job array: `sbatch --array=1-8 scripts/slurm/part.sh --model M --task T`,
# or with the last run behind it by submit.sh. Options of #SBATCH that your cluster wants (account,
# partition, --gpus=1, --mem) are added here or on the command line of sbatch.
#SBATCH --job-name=probebench-part
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120

# By its place in the array: the first task's own id names all of them.
again() { scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"; }
trap again USR1  # two minutes before its time is up: finished shards are kept

probebench eval "$@" --part "$SLURM_ARRAY_TASK_ID/${PARTS:-$SLURM_ARRAY_TASK_COUNT}" --offline --quiet &
wait $!
code=$?

# 75: its share is done, and the next stage needs shards of other parts. Back into the queue.
if [ "$code" -eq 75 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ]; then
    again
    sleep 600  # until it is taken away
fi
exit "$code"

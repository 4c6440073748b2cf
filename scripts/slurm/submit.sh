#!/bin/bash
# A run in parts, and the run that finishes it behind them:
#     scripts/slurm/submit.sh 8 --model org/model --task triviaqa
here=$(dirname "$(realpath "$0")") parts=$1
shift
array=$(sbatch --parsable --array="1-$parts" --export="ALL,PARTS=$parts" "$here/part.sh" "$@") || exit
sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes \
    --job-name=probebench-last --output=%x-%j.log --requeue \
    --wrap "probebench eval $(printf '%q ' "$@") --offline --quiet"

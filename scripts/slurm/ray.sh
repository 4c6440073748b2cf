#!/bin/bash
# One run by the nodes of one allocation, joined to a Ray cluster that ends with the job:
#     sbatch --nodes=4 scripts/slurm/ray.sh --model org/model --task triviaqa
# Options that your cluster wants (account, partition, --gpus-per-node, --cpus-per-task, --mem) are
# added here or on the command line of sbatch.
#SBATCH --job-name=probebench-ray
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=04:00:00
#SBATCH --requeue

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
cpus=${SLURM_CPUS_ON_NODE:-1}
on() { srun --overlap --nodes=1 --ntasks=1 --nodelist="$1" "${@:2}"; }

head=$(on "${nodes[0]}" hostname -I | awk '{print $1}')
address="$head:$((20000 + SLURM_JOB_ID % 10000))"  # two jobs may share a node
on "${nodes[0]}" ray start --head --node-ip-address="$head" --port="${address#*:}" \
    --num-cpus="$cpus" --include-dashboard=false --disable-usage-stats --block &
for try in {1..60}; do
    ray status --address "$address" > /dev/null 2>&1 && break
    [ "$try" -lt 60 ] || { echo "No Ray cluster came up at $address." >&2; exit 1; }
    sleep 2
done
for node in "${nodes[@]:1}"; do
    on "$node" ray start --address="$address" --num-cpus="$cpus" --disable-usage-stats --block &
done

probebench eval "$@" --engine ray --address "$address" --offline --quiet

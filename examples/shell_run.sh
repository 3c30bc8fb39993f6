#!/usr/bin/env bash
# A run without Python: start, log and finish from a shell script, and then the same by `gittrack exec`.
#
#   ./shell_run.sh
#
# Run it in any git repository. Both runs become commits on the branch gittrack/shell; `gittrack ls shell` lists
# them. What is "trained" here is one number: gradient descent on (x*x - 2)^2 finds the square root of 2.
set -euo pipefail

STEPS=30 RATE=0.05
export DESCENT="BEGIN {
    x = 1
    for (step = 0; step < $STEPS; step++) {
        error = x * x - 2
        printf \"step=%d loss=%.9f x=%.6f\n\", step, error * error, x
        x -= $RATE * 4 * x * error
    }
}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- step by step: for a script that is the training ---

RUN=$(gittrack start --experiment shell --name step-by-step)
export GITTRACK_RUN_ID=$RUN # which run the commands below mean; or give each of them --run "$RUN"
trap 'gittrack finish --status FAILED' ERR

gittrack log param steps="$STEPS" rate="$RATE"
awk "$DESCENT" | tee "$work/points.txt" | gittrack log metric # a line is a step; one command takes the stream
gittrack log metric points="$(wc -l <"$work/points.txt")"
gittrack log artifact "$work/points.txt"
gittrack log tag checked=yes

gittrack finish >/dev/null
trap - ERR
unset GITTRACK_RUN_ID

# --- in one go: for a command that knows nothing of gittrack, or that logs by itself as this one does ---

# Its output is kept as an artifact, its exit code becomes the run's status, and GITTRACK_RUN_ID is set in it.
gittrack exec --experiment shell --name in-one-go --tag by=exec -- \
    bash -o pipefail -c 'awk "$DESCENT" | tee /dev/stderr | gittrack log metric'

echo "runs: $(gittrack ls shell | tail -n +2 | cut -f 2 | sort | paste -s -d ' ')"

#!/usr/bin/env bash
# A quick part of the tests in an environment of its own: `tests/floors.sh floors` on the lowest releases that
# pyproject.toml admits, `tests/floors.sh newest` on the newest that the registry has. CONTRIBUTING.md says what was found.
# torch is that of constraints.txt in both: older and newer builds for the CPU are not in every registry.
set -euo pipefail
cd "$(dirname "$0")/.."
which=$1
env=.venv-$which
quick=(
    tests/data/test_posts.py tests/data/test_sources.py tests/stats/test_correlation.py tests/run/test_record.py
    tests/scoring/test_layouts.py tests/scoring/test_loglikelihood.py tests/scoring/test_loading.py
    tests/scoring/test_proof.py tests/test_callback.py tests/test_resume.py tests/trackers/test_fanout.py
    tests/views/test_report.py tests/views/test_terminal.py tests/test_cli.py
)
# Deprecations between other people's packages, one pair a line, which no user is stopped by:
# typer 0.16 asks click 8.5, and peft 0.21 calls transformers 5.24, by names that are to go.
known=(
    -W "ignore:'click.:DeprecationWarning"
    -W 'ignore:`past_key_values` is deprecated:FutureWarning'
)

wanted() { # "NAME==LOWEST" of every dependency
    sed -n '/^dependencies/,/^]/s/^    "\([a-z0-9-]*\)>=\([0-9.]*\)",/\1==\2/p' pyproject.toml | grep -v '^torch=='
    # The newer ones want NumPy 2 and do not say so.
    echo 'pyarrow<22'
}

install() {
    "${PYTHON:-python3}" -m venv --clear "$env" &&
        "$env/bin/pip" install -q -c constraints.txt "$(grep '^torch==' constraints.txt)" &&
        "$env/bin/pip" freeze | grep '^torch==' >"$env/constraints" &&
        { [ "$which" = newest ] || wanted >>"$env/constraints"; } &&
        "$env/bin/pip" install -q -c "$env/constraints" -e '.[test]' &&
        "$env/bin/pip" check &&
        touch "$env/ready"
}

if [ ! -e "$env/ready" ] || [ pyproject.toml -nt "$env/ready" ]; then
    log=$(mktemp)
    if ! install 2>"$log"; then
        grep -v '^WARNING' "$log" >&2
        # What is not to be had here is nobody's fault; releases that contradict each other are.
        if grep -qE 'No matching distribution|Could not fetch|Connection|timed out' "$log"; then
            echo "No test was run on the $which: this registry lacks one of them or cannot be reached, see above."
            exit 0
        fi
        exit 1
    fi
fi
"$env/bin/pip" list 2>/dev/null | grep -Ei '^(accelerate|datasets|numpy|peft|scipy|torch|transformers|trl|typer|wandb) '
exec "$env/bin/python" -m pytest -q -n 2 "${known[@]}" "${quick[@]}"

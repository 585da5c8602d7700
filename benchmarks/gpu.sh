#!/bin/sh
# All that a card is needed for, in one call: the tests with the mark gpu, then the table. Nothing is fetched.
#   sh benchmarks/gpu.sh [FOLDER]      PYTHON=python3 chooses the interpreter; FOLDER takes gpu.json, gpu.md, tests.txt
# The exit status is that of the tests, or else that of the table.
cd "$(dirname "$0")/.." || exit 2
out="${1:-gpu_table}"
mkdir -p "$out" || exit 2
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
timeout 240 "${PYTHON:-python}" -m pytest -m gpu tests/gpu --durations=10 >"$out/tests.txt" 2>&1
tests=$?
tail -n 30 "$out/tests.txt"
timeout 320 "${PYTHON:-python}" benchmarks/gpu.py --device cuda --out "$out"
table=$?
[ "$tests" -ne 0 ] && exit "$tests"
exit "$table"

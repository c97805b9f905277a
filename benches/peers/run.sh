#!/usr/bin/env bash
# smore against PyTorch, in turn on this machine: see "Against eager PyTorch" in benches/README.md.
#
#   SMORE_DATA=... benches/peers/run.sh [--rounds N] [--seconds S] [--out FILE] [WHAT...]
#   SMORE_DATA=... benches/peers/run.sh gpu [--device cpu|cuda] [--seconds S] [--limit S] [--out FILE]
#
# The first compares on the CPU, one process a side. WHAT, all by default: check (are the PyTorch models smore's?), or rows
# of the table (--help lists them). The second is gpu.py: eager, compiled and graphed PyTorch in one process. The first
# run makes a virtual environment of 4 GB in target/peers. PEERS_PYTHON names an interpreter that has PyTorch already,
# SMORE a program that is built already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${PEERS_WORK:-$root/target/peers}

python=${PEERS_PYTHON:-$work/venv/bin/python}
if [[ -z ${PEERS_PYTHON:-} && ! -x $python ]]; then
    rm -rf "$work/venv.new"
    mkdir -p "$work"
    python3 -m venv "$work/venv.new"
    "$work/venv.new/bin/python" -m pip install --quiet --no-deps -r "$here/requirements.txt"
    mv "$work/venv.new" "$work/venv"
fi
"$python" -W ignore -c 'import torch' || {
    echo "$python cannot import torch: remove $work/venv to have it made anew, or name another interpreter by PEERS_PYTHON" >&2
    exit 1
}
if [[ -z ${SMORE:-} ]]; then
    (cd "$root" && cargo build --release --locked --quiet)
    SMORE=$root/target/release/smore
fi
if [[ ${1:-} == gpu ]]; then
    exec "$python" -W ignore "$here/gpu.py" --smore "$SMORE" "${@:2}"
fi
exec "$python" -W ignore "$here/compare.py" --smore "$SMORE" --work "$work" "$@"

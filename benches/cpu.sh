#!/usr/bin/env bash
# All CPU figures of benches/README.md: builds the program and writes one JSON document a line to
# benches/results/NAME.jsonl (default: the machine's name). Needs FB15k-237 below SMORE_DATA.
#   SMORE_DATA=... benches/cpu.sh [NAME]
set -euo pipefail
cd "$(dirname "$0")/.."
out=benches/results/${1:-$(hostname)}.jsonl
cargo build --release --quiet
smore() { target/release/smore "$@" --config configs/throughput.toml --json | tr -d '\n' | tr -s ' '; echo; }
commit=$(git rev-parse --short HEAD)
cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
{
    printf '{"commit": "%s", "cpu": "%s", "cores": %s, "date": "%s"}\n' "$commit" "$cpu" "$(nproc)" "$(date -I)"
    for model in gqe query2box; do smore bench train --model "$model" --seconds 20; done
    for model in gqe query2box; do smore bench eval --model "$model" --structures 2i --runs 5 --seconds 5; done
    smore bench sample --runs 5 --seconds 2 --warm-up 1
} | tee "$out"

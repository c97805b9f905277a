#!/usr/bin/env bash
# All GPU figures. The machine with the GPU needs neither Rust nor a network, so this comes in two steps:
#
#   SMORE_DATA=... benches/gpu.sh pack FOLDER    where the sources are: builds the program and the tests, and puts
#                                                everything into FOLDER (some 40 MB)
#   FOLDER/gpu.sh run [OUT] [PART...]            where the GPU is: needs its driver, NVRTC, and cuBLAS
#
# Parts, all by default: tests sanitizer kernels train single eval runs, and peers: the same steps in PyTorch, where python3, or
# PEERS_PYTHON, has one that sees the GPU. OUT (default: FOLDER/out) gets gpu.jsonl and peers.jsonl, a JSON document a
# line; table.txt and peers.txt, for people; and a log per part. A part that fails is told at the end and does not keep
# the others from running.
set -uo pipefail

# All models; those without intersections are timed on chains. Single-hop training has every one of them.
multi_hop="gqe query2box betae complex distmult rotate rescal tucker"
chains="transe conve"
here=$(cd "$(dirname "$0")" && pwd)

pack() {
    set -e
    local folder=$1 data=${SMORE_DATA:-$here/../../shared/data}
    mkdir -p "$folder/tests" "$folder/configs"
    folder=$(cd "$folder" && pwd)
    cd "$here/.."
    cargo build --release --locked --quiet
    cp target/release/smore "$folder/"
    cp benches/gpu.sh "$folder/"
    mkdir -p "$folder/benches/peers"
    cp benches/peers/*.py benches/peers/run.sh "$folder/benches/peers/"
    cp configs/*.toml "$folder/configs/"
    for test in backend_parity model_gradients single_hop; do
        cp "$(cargo test --locked --no-run --test "$test" --message-format=json 2>/dev/null |
            sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)" "$folder/tests/$test"
    done
    strip "$folder/smore" "$folder"/tests/*
    # The graphs, imported; the machine with the GPU gets no data but these.
    for dataset in umls fb15k-237 codex-s; do
        SMORE_CACHE="$folder/cache" SMORE_DATA=$data "$folder/smore" data info "$dataset" >/dev/null
        cp -L "$(ls "$folder"/cache/graphs/"$dataset"-*.smore)" "$folder/$dataset.smore"
    done
    rm -rf "$folder/cache"
    git rev-parse --short HEAD >"$folder/commit"
    du -sh "$folder"
}

# Logs of a part go to a file; the last lines of a part that fails are shown.
failed=()
part() {
    local name=$1
    shift
    [[ " $parts " == *" $name "* ]] || return 0
    printf '\n== %s\n' "$name"
    if ! "$@" >"$out/$name.log" 2>&1; then
        failed+=("$name")
        tail -n 15 "$out/$name.log"
    fi
}

# Runs the program, adds its document to gpu.jsonl and shows the figures that matter.
record() { "$here/smore" "$@" --json | tr -d '\n' | tr -s ' ' | tee -a "$out/gpu.jsonl" && echo >>"$out/gpu.jsonl"; }

tests() {
    "$here/tests/backend_parity" cuda:: --test-threads 4 && "$here/tests/model_gradients" gpu --test-threads 2 &&
        "$here/tests/single_hop" gpu --test-threads 2
}

sanitizer() {
    local tool
    command -v compute-sanitizer || { echo "no compute-sanitizer"; return 1; }
    for tool in memcheck racecheck initcheck; do
        compute-sanitizer --tool "$tool" --error-exitcode 3 "$here/tests/backend_parity" cuda:: --test-threads 1 || return
    done
}

kernels() { "$here/smore" bench kernels --device cuda | tee "$out/table.txt" && record bench kernels --device cuda; }

# What differs from configs/throughput.toml for a model.
options() {
    case $1 in
        # Matrices of 400 x 400 for 474 relations are 76 million numbers; TuckER's core would be 64 million.
        rescal | tucker) echo --dim 100 ;;
        betae) echo --set model.gamma=60 ;;
    esac
}

train() {
    local model
    for model in $multi_hop; do
        # shellcheck disable=SC2046
        record bench train "$here/fb15k-237.smore" --config "$here/configs/throughput.toml" --model "$model" \
            $(options "$model") --device cuda --seconds 10 --runs 3 || return
    done
    for model in $chains; do
        record bench train "$here/fb15k-237.smore" --config "$here/configs/throughput.toml" --model "$model" \
            --structures 1p:2,2p:2,3p:2 --device cuda --seconds 10 --runs 3 || return
    done
}

# 1vsAll at the settings of configs/codex-s-complex.toml; then KvsAll, and with relation prediction and N3.
single() {
    local model config=$here/configs/codex-s-complex.toml
    for model in $multi_hop $chains; do
        # Distances of 2,048 rows to 2,034 entities, and matrices: fewer columns.
        record bench train "$here/codex-s.smore" --config "$config" --model "$model" \
            --dim "$([[ $model == complex ]] && echo 256 || echo 128)" --device cuda --seconds 5 --runs 3 || return
    done
    record bench train "$here/codex-s.smore" --config "$config" --set training.objective=kvsall \
        --device cuda --seconds 5 --runs 3 || return
    record bench train "$here/codex-s.smore" --config "$here/configs/codex-s-complex-rp.toml" --dim 1000 \
        --device cuda --seconds 5 --runs 3
}

eval_() {
    local model
    for model in $multi_hop; do
        # shellcheck disable=SC2046
        record bench eval "$here/fb15k-237.smore" --config "$here/configs/throughput.toml" --model "$model" \
            $(options "$model") --structures 2i --device cuda --seconds 3 --runs 3 --warm-up 1 || return
    done
    for model in $chains; do
        record bench eval "$here/fb15k-237.smore" --config "$here/configs/throughput.toml" --model "$model" \
            --structures 2p --device cuda --seconds 3 --runs 3 --warm-up 1 || return
    done
}

# Whole runs on both devices: their metrics must agree within the noise of seeds.
runs() {
    local device model
    cd "$out"
    for device in cuda cpu; do
        "$here/smore" train "$here/umls.smore" --device "$device" --run-dir "$out/runs/umls-$device" || return
        for model in gqe query2box; do
            "$here/smore" train "$here/codex-s.smore" --device "$device" --model "$model" \
                --run-dir "$out/runs/codex-s-$model-$device" || return
        done
    done
    grep -h '"mrr"' "$out"/runs/*/test.json >/dev/null
    rm -f "$out"/runs/*/*.safetensors "$out"/runs/*/graph.smore
}

# One round: nobody else is on the GPU.
peers() {
    local python=${PEERS_PYTHON:-python3}
    "$python" -W ignore -c 'import torch; assert torch.cuda.is_available()' || {
        echo "peers skipped: $python has no PyTorch that sees the GPU; name another interpreter by PEERS_PYTHON" |
            tee "$out/peers.txt"
        return 0
    }
    PEERS_PYTHON=$python PEERS_WORK=$out/peers SMORE=$here/smore "$here/benches/peers/run.sh" --device cuda \
        --graphs "$here" --rounds 1 --seconds 3 --out "$out/peers.jsonl" | tee "$out/peers.txt"
}

run() {
    out=${1:-$here/out}
    shift || true
    parts=${*:-tests kernels train single eval runs peers sanitizer}
    mkdir -p "$out"
    export SMORE_CACHE=$out/cache
    "$here/smore" devices | tee "$out/devices.txt"
    printf '{"commit": "%s", "date": "%s", "devices": %s}\n' "$(cat "$here/commit")" "$(date -I)" \
        "$("$here/smore" devices --json | tr -d '\n' | tr -s ' ')" >"$out/gpu.jsonl"
    part tests tests
    part kernels kernels
    part train train
    part single single
    part eval eval_
    part runs runs
    part peers peers
    part sanitizer sanitizer
    [[ -f $out/table.txt ]] && cat "$out/table.txt"
    [[ -f $out/peers.txt ]] && cat "$out/peers.txt"
    grep -ho '"\(queries\|triples\|pairs\)_per_second": [0-9.]*\|"benchmark": "[a-z]*"\|"name": "[a-z0-9]*"' "$out/gpu.jsonl" | tr '\n' ' '
    echo
    if ((${#failed[@]})); then
        echo "FAILED: ${failed[*]} (logs in $out)"
        exit 1
    fi
    echo "all parts passed; results in $out"
}

case ${1:-} in
    pack) pack "${2:?a folder}" ;;
    run) shift && run "$@" ;;
    *) sed -n '2,12p' "$0" ;;
esac

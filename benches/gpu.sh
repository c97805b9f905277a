#!/usr/bin/env bash
# Everything that smore does on a GPU, checked and measured. The machine with the GPU needs neither Rust nor a network.
#
# Here, pack the program, its tests and three graphs into FOLDER/smore-gpu.tar.xz:
#   SMORE_DATA=... benches/gpu.sh pack FOLDER
#
# On the machine with the GPU, unpack it (or: python3 -m tarfile -e smore-gpu.tar.xz smore-gpu):
#   mkdir smore-gpu && tar -xf smore-gpu.tar.xz -C smore-gpu
# check and measure everything, in at most 6 minutes, or the named parts, in 3:
#   smore-gpu/gpu.sh contact OUT [PART...]
# and train query2box, betae, gqe and complex-rp as their papers do; a later call resumes what was not finished:
#   smore-gpu/gpu.sh recipes OUT SECONDS [NAME...]
#
# Parts of contact, in this order: environment (always; without driver, NVRTC and cuBLAS nothing else runs), parity (every
# operation against float64), models (whole models), steps (the same bits twice, the CPU's losses), train, sampler, kernels,
# peers (PyTorch beside smore), profile (ncu), memcheck, racecheck, synccheck. By name only: compiled (PyTorch's compiled steps; it
# takes 2 minutes), initcheck, single, eval, runs.
#
# OUT gets summary.txt (for people), gpu.jsonl (a JSON document a line; the first says which GPU, driver and commit) and
# logs.tar.xz, each renewed after every part, and current.log, the log of the part at hand. A part that fails, hangs or is
# missing does not keep the others from running; then the exit status is 1, and 3 where all passed that there was time for.
# Parts that are named add their lines and logs to those of an earlier call.
#
# Variables: CONTACT_SECONDS, all parts together; CONTACT_LIMIT, each part; CONTACT_SMALL=1, sizes for a driver that emulates a
# GPU, and no limits; PEERS_PYTHON, the interpreter with PyTorch [python3]; SMORE_CUDA_LIBS, folders of NVRTC and cuBLAS [those of
# python3's packages].
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)

order="parity models steps train sampler kernels peers profile memcheck racecheck synccheck"
further="compiled initcheck single eval runs"
# Seconds that a part may take.
declare -A limits=([environment]=120 [parity]=70 [models]=60 [steps]=50 [train]=80 [sampler]=20 [kernels]=90 [peers]=150
    [profile]=45 [memcheck]=45 [racecheck]=45 [synccheck]=30 [compiled]=120 [initcheck]=45 [single]=100 [eval]=90 [runs]=120)
# All models; those without intersections are trained on chains.
multi_hop="gqe query2box complex betae rotate distmult rescal tucker"
chains="transe conve"

# ---- pack ----

# The executable NAME that a cargo command builds, maybe with others.
executable() {
    local name=$1
    shift
    cargo "$@" "$name" --locked --quiet --message-format=json | grep "\"name\":\"$name\"" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

pack() {
    set -e
    mkdir -p "$1"
    local folder data=${SMORE_DATA:-$here/../../shared/data} pack test dataset
    folder=$(cd "$1" && pwd)
    data=$(cd "$data" && pwd)
    cd "$here/.."
    pack=$(mktemp -d)
    # Now, because the variable is gone when the trap is run.
    # shellcheck disable=SC2064
    trap "rm -rf '$pack'" EXIT
    mkdir -p "$pack"/{tests,configs,benches/peers}
    cp benches/gpu.sh benches/gpu_summary.py "$pack/"
    cp benches/peers/*.py "$pack/benches/peers/"
    cp configs/*.toml "$pack/configs/"
    cp "$(executable smore build --release --bin)" "$pack/smore"
    cp "$(executable kernels bench --no-run --bench)" "$pack/kernels"
    for test in backend_parity model_gradients one_vs_all; do
        cp "$(executable "$test" test --no-run --test)" "$pack/tests/$test"
    done
    strip "$pack/smore" "$pack/kernels" "$pack"/tests/*
    # The graphs, imported; the machine with the GPU gets no data but these.
    for dataset in umls fb15k-237 codex-s; do
        SMORE_CACHE=$pack/cache SMORE_DATA=$data "$pack/smore" data info "$dataset" >/dev/null
        cp -L "$pack"/cache/graphs/"$dataset"-*.smore "$pack/$dataset.smore"
    done
    rm -rf "$pack/cache"
    git describe --always --dirty --abbrev=12 >"$pack/commit"
    tar -C "$pack" -cf - . | xz -T0 -6 >"$folder/smore-gpu.tar.xz.new"
    mv "$folder/smore-gpu.tar.xz.new" "$folder/smore-gpu.tar.xz"
    ls -lh "$folder/smore-gpu.tar.xz" >&2
}

# ---- parts ----

# What the summary says of a part in its line.
say() { echo "$*" >>"$work/note"; }

need() {
    local what
    for what in "$@"; do
        [[ -x $here/$what ]] || command -v "$what" >/dev/null || { say "missing: $what"; exit 1; }
    done
}

# Adds a document of the program to gpu.jsonl, as row NAME.
record() {
    local name=$1 document
    shift
    echo "+ smore $*" >&2
    document=$("$here/smore" "$@" --json) || { say "$name failed"; return 1; }
    add "$name" <<<"$document"
}
add() { tr -d '\n' | tr -s ' ' | sed "s/^{ */{\"part\": \"$part\", \"row\": \"$1\", /" >>"$out/gpu.jsonl"; echo >>"$out/gpu.jsonl"; }

json_text() { printf '%s' "$1" | tr -d '"\\\n'; }

part_environment() {
    need smore
    timeout 10 nvidia-smi 2>&1 || true
    local devices gpu missing=() what
    devices=$("$here/smore" devices --json) || { say "smore does not start"; return 1; }
    echo "$devices"
    gpu=$(sed -n 's/.*"name": "cuda:0".*/yes/p' <<<"$devices")
    [[ $gpu ]] || missing+=("a GPU ($(sed -n 's/.*"no_gpu": "\(.*\)".*/\1/p' <<<"$devices"))")
    if [[ $gpu ]]; then
        for what in nvrtc cublas; do
            grep -q "\"$what\": \"[0-9]" <<<"$devices" || missing+=("$(sed -n "s/.*\"$what\": \"\(.*\)\".*/\1/p" <<<"$devices")")
        done
    fi
    if ((${#missing[@]})); then
        say "missing: $(IFS=';'; echo "${missing[*]}")"
        return 1
    fi
    local name clocks tool versions=""
    name=$(sed -n 's/.*"description": "\(.*\)",/\1/p' <<<"$devices" | sed -n 2p)
    clocks=$(timeout 10 nvidia-smi --query-gpu=driver_version,persistence_mode,clocks.max.sm,clocks.max.mem,pcie.link.gen.current,pcie.link.width.current \
        --format=csv,noheader 2>/dev/null | head -n 1)
    # The first step compiles the kernels.
    local begun=$EPOCHREALTIME first
    "$here/smore" bench steps "$here/umls.smore" --device cuda --dim 8 --steps 1 --json || { say "a training step failed"; return 1; }
    first=$(awk "BEGIN { printf \"%.2f\", $EPOCHREALTIME - $begun }")
    for tool in nvcc ncu compute-sanitizer; do
        versions+="$tool $(timeout 5 "$tool" --version 2>/dev/null | grep -o '[0-9]*\.[0-9.]*[0-9]' | tail -n 1); "
    done
    printf '{"benchmark": "environment", "commit": "%s", "date": "%s", "gpu": "%s", "driver": "%s", "clocks": "%s", "libraries": "%s", "cores": %s, "memory": "%s", "kernel": "%s", "tools": "%s", "first_step_seconds": %s}\n' \
        "$(cat "$here/commit")" "$(date -u +%FT%TZ)" "$(json_text "$name")" \
        "$(json_text "$(sed -n 's/.*"driver": "\(.*\)".*/\1/p' <<<"$devices")")" "$(json_text "$clocks")" \
        "$(json_text "NVRTC $(sed -n 's/.*"nvrtc": "\(.*\)".*/\1/p' <<<"$devices"), cuBLAS $(sed -n 's/.*"cublas": "\(.*\)".*/\1/p' <<<"$devices")")" \
        "$(nproc)" "$(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)" "$(uname -r)" "$(json_text "$versions")" \
        "$first" >>"$out/gpu.jsonl"
    say "$name; first step with compilation $first s"
}

# Runs GPU tests of a binary by a filter; fails where none ran or one was skipped.
gpu_tests() {
    local binary=$1 filter=$2 threads=$3 log=$work/$1.log status passed name
    need "tests/$binary"
    # Kept in a file of its own too: what failed is run again.
    "$here/tests/$binary" "$filter" --test-threads "$threads" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    passed=$(sed -n 's/^test result: .* \([0-9]*\) passed.*/\1/p' "$log" | tail -n 1)
    say "$binary: ${passed:-no} tests passed on the GPU"
    if ((status != 0)); then
        # A fault stops everything that comes after it on the GPU: alone, with each launch waited for, it has a name.
        for name in $(sed -n '/^failures:$/,$p' "$log" | sed -n 's/^    \([a-z_0-9:]*\)$/\1/p' | sort -u | head -n 5); do
            echo "== again, alone: $name"
            passed=failed
            CUDA_LAUNCH_BLOCKING=1 "$here/tests/$binary" --exact "$name" --test-threads 1 2>&1 && passed=passed
            say "$binary: FAILED $name, alone and blocking $passed"
        done
        return 1
    fi
    ((${passed:-0} > 0)) && ! grep -q '^skipped: ' "$log"
}

part_parity() { gpu_tests backend_parity cuda:: 4; }
part_models() {
    local status=0
    gpu_tests model_gradients gpu 2 || status=1
    gpu_tests one_vs_all gpu 2 || status=1
    return $status
}

# 20 steps on the GPU twice and on the CPU once.
part_steps() {
    need smore python3
    local model options status=0 device worst
    for model in $multi_hop $chains; do
        options=(--model "$model" --dim 32 --batch-size 64 --negatives 96 --set model.hidden=48)
        # BetaE amplifies the last bits.
        options+=(--set "training.learning_rate=$([[ $model == betae ]] && echo 1e-4 || echo 1e-2)")
        [[ " $chains " == *" $model "* ]] && options+=(--structures 1p:2,2p:2,3p:2)
        for device in cuda:0 cuda cpu; do
            "$here/smore" bench steps "$here/umls.smore" "${options[@]}" --device "$device" --json >"$work/steps-$device.json" ||
                { say "$model failed on $device"; status=1; continue 2; }
        done
        worst=$(python3 "$here/gpu_summary.py" steps "$model" "$work"/steps-{cuda:0,cuda,cpu}.json 2>&1 >>"$out/gpu.jsonl") ||
            { say "$model: ${worst##*$'\n'}"; status=1; }
    done
    return $status
}

# What differs from configs/throughput.toml for a model.
options() {
    case $1 in
        # Matrices of 400 x 400 for 474 relations are 76 million numbers; TuckER's core would be 64 million.
        rescal | tucker) echo --set model.dim=100 ;;
        betae) echo --set model.gamma=60 ;;
        transe | conve) echo --set sampling.structures=1p:2,2p:2,3p:2 ;;
    esac
}

# Rows of `bench train`: name, model, more options.
train_rows() {
    local row
    while read -r row model more; do
        # shellcheck disable=SC2046,SC2086
        record "$row" bench train "$here/fb15k-237.smore" --config "$here/configs/throughput.toml" --model "$model" \
            $(options "$model") $more --device cuda $timing $sizes || failed=1
    done
    return $failed
}
part_train() {
    need smore
    failed=0
    train_rows <<'ROWS'
gqe gqe
query2box query2box
complex complex
betae betae
betae-tf32 betae --math tf32
rotate rotate
distmult distmult
gqe-4096 gqe --set training.batch_size=4096
ROWS
}

part_sampler() {
    need smore
    record sampler bench sample "$here/fb15k-237.smore" --config "$here/configs/throughput.toml" \
        --seconds "$([[ $small ]] && echo 0.1 || echo 1)" --warm-up 0.3 --runs 1
}

part_kernels() {
    need kernels
    # shellcheck disable=SC2086
    "$here/kernels" --device cuda --json "$work/kernels.json" $([[ $small ]] && echo "$tiny") >&2 ||
        { say "kernels failed"; return 1; }
    add kernels <"$work/kernels.json"
}

# PyTorch beside smore, in one process. What is under way when the limit is reached is finished, so not the whole time.
peers() {
    need smore "$python"
    local arguments=(--smore "$here/smore" --graphs "$here" --out "$work/lines.jsonl" --limit $((seconds > 40 ? seconds - 15 : seconds)) "$@")
    if [[ $small ]]; then arguments+=(--small --device cpu --seconds 0.1); else arguments+=(--device cuda --build-limit 40); fi
    "$python" -W ignore "$here/benches/peers/gpu.py" "${arguments[@]}"
}
part_peers() { peers --models gqe,query2box,betae,complex,distmult,rotate --forms smore,graphed,tuned,plain; }
part_compiled() { peers --models gqe,query2box,complex,betae --forms smore,graphed-compiled,compiled; }

# Every kernel of two training steps, one after the other.
part_profile() {
    need smore ncu python3
    local model status=0
    for model in gqe betae; do
        # shellcheck disable=SC2046
        # Clocks as they are, and caches as a step leaves them: what kernels take in training.
        ncu --csv --page raw --print-units base --clock-control none --cache-control none --log-file "$work/logs/ncu-$model.csv" --metrics \
            gpu__time_duration.sum,launch__registers_per_thread,sm__warps_active.avg.pct_of_peak_sustained_active \
            "$here/smore" bench steps "$here/fb15k-237.smore" --config "$here/configs/throughput.toml" --model "$model" \
            $(options "$model") --steps 2 --device cuda $sizes || status=1
        python3 "$here/gpu_summary.py" profile "$model" 2 "$work/logs/ncu-$model.csv" >>"$out/gpu.jsonl" || status=1
    done
    return $status
}

tiny="--queries 8 --negatives 16 --dim 16 --table 0.0001 --seconds 0.001 --samples 10"
# The kernels at a small size, then training steps with every kind of projection, score and loss. Allocations have no slack; the
# kernels of cuBLAS are not ours to check for races, so there smore's own multiplies.
sanitize() {
    need smore kernels compute-sanitizer
    local tool=$1 status=0 model
    export SMORE_CUDA_EXACT_MEMORY=1
    [[ $tool == racecheck ]] && export SMORE_CUDA_NO_CUBLAS=1
    # shellcheck disable=SC2086
    sanitized kernels kernels $tiny
    local steps=(smore bench steps "$here/umls.smore" --dim 16 --batch-size 16 --negatives 16 --set model.hidden=16 --steps 2)
    for model in query2box betae; do sanitized "$model" "${steps[@]}" --model "$model"; done
    sanitized conve "${steps[@]}" --model conve --set training.objective=1vsall --set training.clip_norm=1 --set model.batch_norm=true
    return $status
}
# A program under the tool. The report lies among the logs; its first finding is in the summary.
sanitized() {
    local name=$1 program=$here/$2 report=$work/logs/$tool-$1.txt
    shift 2
    compute-sanitizer --tool "$tool" --error-exitcode 3 --log-file "$report" "$program" "$@" --device cuda >/dev/null && return
    status=1
    say "$name: FAILED: $(grep -m 1 -E '^=+ +(Invalid|Error|Race|Barrier|Uninit|Program)' "$report" | sed 's/^=* *//')"
    head -n 40 "$report"
}
part_memcheck() { sanitize memcheck; }
part_racecheck() { sanitize racecheck; }
part_synccheck() { sanitize synccheck; }
part_initcheck() { sanitize initcheck; }

# 1vsAll at the settings of configs/codex-s-complex.toml; then KvsAll, and with relation prediction and N3.
part_single() {
    need smore
    local model dim config=$here/configs/codex-s-complex.toml status=0
    for model in $multi_hop $chains; do
        # Distances of 2,048 rows to 2,034 entities, and matrices: fewer columns.
        dim=$([[ $model == complex ]] && echo 256 || echo 128)
        # shellcheck disable=SC2086
        record "1vsall-$model" bench train "$here/codex-s.smore" --config "$config" --model "$model" --set "model.dim=$dim" --device cuda \
            $timing $single || status=1
    done
    # shellcheck disable=SC2086
    record kvsall-complex bench train "$here/codex-s.smore" --config "$config" --set training.objective=kvsall --device cuda \
        $timing $single || status=1
    # shellcheck disable=SC2086
    record 1vsall-complex-rp bench train "$here/codex-s.smore" --config "$here/configs/codex-s-complex-rp.toml" --set model.dim=1000 \
        --device cuda $timing $single || status=1
    return $status
}

part_eval() {
    need smore
    local model status=0
    for model in $multi_hop $chains; do
        # shellcheck disable=SC2046,SC2086
        record "eval-$model" bench eval "$here/fb15k-237.smore" --config "$here/configs/throughput.toml" --model "$model" \
            $(options "$model") --set sampling.structures="$([[ " $chains " == *" $model "* ]] && echo 2p || echo 2i)" --device cuda \
            $timing $sizes || status=1
    done
    return $status
}

# Whole runs on the GPU; their metrics must be those of the CPU (README.md) within the noise of seeds.
part_runs() {
    need smore
    local status=0 model
    rm -rf "$work/runs"
    # shellcheck disable=SC2086
    record run-umls train "$here/umls.smore" --device cuda --run-dir "$work/runs/umls" $short || status=1
    for model in gqe query2box; do
        # shellcheck disable=SC2086
        record "run-codex-s-$model" train "$here/codex-s.smore" --device cuda --model "$model" \
            --run-dir "$work/runs/codex-s-$model" $short || status=1
    done
    return $status
}

# ---- contact ----

# Renews what OUT holds. The table of parts is ours; what was measured is summed up by Python, where there is one.
renew() {
    {
        echo "smore on a GPU: commit $(cat "$here/commit" 2>/dev/null), $(date -u +%FT%TZ), $(($(date +%s) - begun)) s of at most $total"
        echo
        cat "$work/status"
        echo
        timeout 10 python3 "$here/gpu_summary.py" summary "$out/gpu.jsonl" 2>&1
    } >"$out/summary.txt.new"
    mv "$out/summary.txt.new" "$out/summary.txt"
    archive "$work" "$out/logs.tar.xz" logs
}

# archive FOLDER FILE WHAT...: by xz, or by Python's where there is none.
archive() {
    local folder=$1 file=$2
    shift 2
    tar -C "$folder" -cf - "$@" | { xz 2>/dev/null || python3 -c 'import lzma, sys; sys.stdout.buffer.write(lzma.compress(sys.stdin.buffer.read()))'; } >"$file.new" &&
        mv "$file.new" "$file"
}

# Lets the program find the libraries among python3's packages.
libraries() {
    [[ ${SMORE_CUDA_LIBS:-} ]] && return
    SMORE_CUDA_LIBS=$(timeout 10 python3 "$here/gpu_summary.py" libraries 2>/dev/null)
    export SMORE_CUDA_LIBS
    [[ $SMORE_CUDA_LIBS ]] || unset SMORE_CUDA_LIBS
}

# Runs a part in a process group of its own, at most so many seconds.
run_part() {
    local name=$1 allowed=$2 start status result group
    start=$(date +%s)
    : >"$work/note"
    rm -f "$work/lines.jsonl"
    timeout -k 3 "$allowed" bash "$here/gpu.sh" part "$name" "$allowed" "$out" "$work" >"$out/current.log" 2>&1 </dev/null &
    group=$!
    wait "$group"
    status=$?
    # What outlives its shell would be measured along with the next part.
    kill -KILL -- "-$group" 2>/dev/null
    cp "$out/current.log" "$work/logs/$name.log"
    [[ -f $work/lines.jsonl ]] && cat "$work/lines.jsonl" >>"$out/gpu.jsonl"
    case $status in
        0) result=passed ;;
        124 | 137) result="stopped after $allowed s" ;;
        *) result="FAILED ($status)" ;;
    esac
    note "$name" "$result" "$(($(date +%s) - start))" "$(paste -sd ';' "$work/note" | sed 's/;\([^ ]\)/; \1/g')"
    if ((status != 0)); then
        failed+=("$name")
        sed 's/^/            /' <(tail -n 6 "$out/current.log" | cut -c 1-200) >>"$work/status"
    fi
    return $status
}
note() { printf '%-12s %-18s %4s s  %s\n' "$1" "$2" "$3" "$4" | tee -a "$work/status"; }

contact() {
    local name known="environment $order $further"
    out=$1
    shift
    for name in "$@"; do
        [[ " $known " == *" $name "* ]] || { echo "there is no part $name: choose from $known" >&2; exit 2; }
    done
    begun=$(date +%s)
    total=${CONTACT_SECONDS:-$([[ $small ]] && echo 100000 || { (($#)) && echo 170 || echo 350; })}
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    work=$(mktemp -d)
    # Parts by name add to what an earlier call left.
    (($#)) && [[ -f $out/logs.tar.xz ]] && tar -C "$work" -xf "$out/logs.tar.xz"
    (($#)) || : >"$out/gpu.jsonl"
    mkdir -p "$work/logs"
    : >"$work/status"
    touch "$out/gpu.jsonl"
    failed=() left_out=()
    # The driver shuts a GPU down that nobody has open, and starts it again for every process.
    [[ -r /dev/nvidia0 ]] && exec {hold}</dev/nvidia0
    export SMORE_CACHE=${SMORE_CACHE:-$work/cache} SMORE_REQUIRE_GPU=1 CRITERION_HOME=$work/criterion
    libraries
    local left allowed status
    # shellcheck disable=SC2086
    for name in environment $( (($#)) && echo "$*" || echo $order); do
        [[ $name == environment && -s $work/status ]] && continue
        # What is left, but for the time to stop a part and to write.
        left=$((total - ($(date +%s) - begun) - 6))
        allowed=${CONTACT_LIMIT:-$([[ $small ]] && echo 100000 || echo "${limits[$name]}")}
        ((allowed > left)) && allowed=$left
        if ((allowed < 2)); then
            note "$name" "not run" 0 "no time was left"
            left_out+=("$name")
            continue
        fi
        run_part "$name" "$allowed"
        status=$?
        renew
        if [[ $name == environment ]]; then
            # One that was stopped may only have been slow, with everything cold.
            ((status == 0 || status == 124 || status == 137)) || break
            warm_up "$@"
        fi
    done
    renew
    rm -rf "$out/current.log" "$work"
    echo
    cat "$out/summary.txt"
    ((${#left_out[@]})) && echo "not run: ${left_out[*]}; run them by name: gpu.sh contact OUT ${left_out[*]}"
    if ((${#failed[@]})); then
        echo "FAILED: ${failed[*]}; see $out/summary.txt and $out/logs.tar.xz"
        exit 1
    fi
    ((${#left_out[@]})) && exit 3
    echo "all parts passed; results in $out"
}

# Importing PyTorch for the first time reads gigabytes: beside the tests, which are not timed.
warm_up() {
    [[ " ${*:-$order} " == *" peers "* || " $* " == *" compiled "* ]] || return
    timeout -k 3 90 "$python" -W ignore -c 'import torch
print("PyTorch", torch.__version__, "rsqrt of 1 and 4:", torch.rsqrt(torch.tensor([1.0, 4.0], device="cuda")).tolist())' \
        >"$work/logs/warm-up.log" 2>&1 </dev/null &
}

# ---- recipes ----

# Trains for a time, which is shared by the recipes; what is not done stays in runs/ beside this script, and the next
# call goes on with it. OUT gets NAME.txt (the table of the best model so far), recipes.jsonl, and recipes.tar.xz with logs, curves
# and reports.
recipes() {
    local name run share end left arguments document step
    # What is needed to stop, to save and to evaluate, and the least that is worth it.
    local reserve=25 least=40
    [[ $small ]] && reserve=6 least=8
    out=$1 end=$(($(date +%s) + $2))
    shift 2
    local names=("${@:-}")
    [[ ${names[0]} ]] || names=(query2box betae gqe complex-rp)
    for name in "${names[@]}"; do
        [[ -f $here/configs/fb15k-237-$name.toml ]] || { echo "there is no recipe $name" >&2; exit 2; }
    done
    mkdir -p "$out" "$here/runs"
    out=$(cd "$out" && pwd)
    left=${#names[@]}
    export SMORE_CACHE=${SMORE_CACHE:-$here/cache}
    libraries
    for name in "${names[@]}"; do
        run=$here/runs/$name
        share=$(((end - $(date +%s)) / left))
        left=$((left - 1))
        [[ -f $run/test.json ]] && { echo "$name is done"; continue; }
        ((share >= least)) || { echo "$name: no time was left"; continue; }
        # shellcheck disable=SC2206
        arguments=("$here/fb15k-237.smore" --config "$here/configs/fb15k-237-$name.toml" --run-dir "$run" $sizes)
        if [[ -f $run/state.safetensors ]]; then arguments=(--resume "$run"); else rm -rf "$run"; fi
        echo "== $name: $((share - reserve)) s"
        # In the foreground, because in the background timeout sends the signal twice, and the second one stops at once.
        timeout --foreground -s INT -k 30 $((share - reserve)) "$here/smore" train "${arguments[@]}" --device cuda 2>&1 | tee -a "$here/runs/$name.log" | tail -n 30
        # Also where the run is not done: of its best model so far.
        if document=$(timeout -k 5 "$reserve" "$here/smore" eval "$run" --device cuda --json 2>>"$here/runs/$name.log"); then
            step=$(sed -n 's/.*stopped after step \([0-9,]*\).*/\1/p' "$here/runs/$name.log" | tail -n 1 | tr -d ,)
            [[ -f $run/test.json ]] && step=$(sed -n 's/^steps = //p' "$run/config.toml")
            printf '{"benchmark": "recipe", "recipe": "%s", "commit": "%s", "done": %s, "step": %s, "report": %s}\n' "$name" \
                "$(cat "$here/commit")" "$([[ -f $run/test.json ]] && echo true || echo false)" "${step:-null}" \
                "$(tr -d '\n' <<<"$document" | tr -s ' ')" >>"$out/recipes.jsonl"
            timeout -k 5 "$reserve" "$here/smore" eval "$run" --device cuda 2>&1 | tee "$out/$name.txt"
        else
            echo "$name: nothing could be evaluated; see recipes.tar.xz"
        fi
        (cd "$here/runs" && find . -name '*.log' -o -name metrics.jsonl -o -name report.html -o -name config.toml -o -name test.json) >"$here/runs/files"
        archive "$here/runs" "$out/recipes.tar.xz" -T "$here/runs/files"
    done
}

small=${CONTACT_SMALL:-}
python=${PEERS_PYTHON:-python3}
timing="--seconds 1.5 --runs 3 --warm-up 0.7" sizes="" single="" short=""
if [[ $small ]]; then
    export SMORE_TEST_SIZES=small
    timing="--seconds 0 --runs 1 --warm-up 0"
    sizes="--set model.dim=8 --set training.batch_size=16 --set sampling.negatives=16 --set model.hidden=8 --set evaluation.queries=4"
    single="--set model.dim=8 --set training.batch_size=8 --set model.hidden=8"
    short="--dim 8 --batch-size 16 --negatives 16 --steps 20 --set evaluation.queries=4 --set evaluation.valid_queries=4 --set evaluation.link_prediction=false"
fi

case ${1:-} in
    pack) pack "${2:?a folder}" ;;
    contact) shift && contact "${1:?a folder for the results}" "${@:2}" ;;
    recipes) shift && recipes "$@" ;;
    # One part, as `contact` runs it.
    part) part=$2 seconds=$3 out=$4 work=$5 && "part_$2" ;;
    *) sed -n '2,/^set -/p' "$0" | sed '$d; s/^# \{0,1\}//' && exit 2 ;;
esac

#!/usr/bin/env bash
# Runs libFuzzer on each target in tests/fuzz and stops at the first finding.
#
#   scripts/fuzz.sh [MINUTES [TARGET]...]   10 minutes for each of all targets by default; 0.1 is a short run
#   scripts/fuzz.sh build                   compiles the targets only
#   scripts/fuzz.sh merge                   adds inputs of earlier runs that reach new code to tests/fuzz/corpus
#
# A run starts with the inputs in tests/fuzz/corpus and those of earlier runs in target/fuzz/corpus. Findings are kept in
# target/fuzz/findings. Needs a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=(interfaces multipart picture router)
minutes=${1:-10}
[ $# -lt 2 ] || targets=("${@:2}")
host=$(rustc -vV | sed -n 's/^host: //p')

# libFuzzer needs counters of edges and the operands of comparisons. With --target these flags apply to the program, not
# to build scripts.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
    cargo build --quiet --release --locked --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz --target "$host"

[ "$minutes" != build ] || exit 0

trap 'rm -rf /dev/shm/accountd-fuzz-*' EXIT
mkdir -p target/fuzz/findings
for target in "${targets[@]}"; do
    program=target/fuzz/$host/release/$target
    found=target/fuzz/corpus/$target
    mkdir -p "$found" "tests/fuzz/corpus/$target"
    seeds=("tests/fuzz/corpus/$target")
    [ "$target" != picture ] || seeds+=(tests/pictures)
    if [ "$minutes" = merge ]; then
        "$program" -merge=1 -max_len=4096 "${seeds[@]}" "$found" 2>&1 | tail -n 1
        continue
    fi
    seconds=$(awk -v "minutes=$minutes" 'BEGIN { printf "%d", minutes * 60 }')
    log=target/fuzz/$target.log
    if ! "$program" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="target/fuzz/findings/$target-" "$found" "${seeds[@]}" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "FAILED: $target; the input is in target/fuzz/findings" >&2
        exit 1
    fi
    edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "ok   $target: $runs inputs, ${edges#cov: } edges"
done

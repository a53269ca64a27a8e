#!/usr/bin/env bash
# Measures our figures beside a floor, on this machine in one run: scripts/bench.sh [--short] [--only WORD]
#
# The floor is a bare tiny_http server (scripts/bench/floor.rs), a bare SQLite loop, a file that is written and synced.
# Takes about five minutes, with --short half a minute, which only shows that it works. Needs wrk (Debian: wrk) and
# Python 3.11 or newer. Works in a fresh folder below target/, which is removed at the end; traffic goes to 127.0.0.1.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in wrk python3; do
    command -v "$tool" >/dev/null || { echo "$tool is not there; on Debian: apt-get install $tool" >&2; exit 1; }
done
cargo build --release --quiet --bin accountd --example floor
target=${CARGO_TARGET_DIR:-target}
exec python3 -B scripts/bench/run.py --binary "$target/release/accountd" --floor "$target/release/examples/floor" \
    --scratch "$target" "$@"

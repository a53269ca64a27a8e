#!/usr/bin/env bash
# Measures accountd and a floor on this machine in one run: scripts/bench.sh [--short] [--only WORD]
#
# The floor (scripts/bench/floor.rs) is plain tiny_http, a plain SQLite loop, and a file that is written and synced. Takes
# five minutes; --short takes half a minute and only checks that the script works. Needs wrk and Python 3.11. Works in a
# fresh folder in target/, which is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in wrk python3; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed; on Debian: apt-get install $tool" >&2; exit 1; }
done
cargo build --release --quiet --bin accountd --example floor
target=${CARGO_TARGET_DIR:-target}
exec python3 -B scripts/bench/run.py --binary "$target/release/accountd" --floor "$target/release/examples/floor" \
    --scratch "$target" "$@"

#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, tests, scripts, a person's way with curl, and in
# short forms what a crash and a full disk leave behind (scripts/crash.py and scripts/full.py; longer by hand).
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --all-targets --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet
cargo test --quiet
if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh .ci/run
fi
scripts/smoke.sh
scripts/crash.py --rounds 5
scripts/full.py

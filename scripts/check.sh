#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, tests, scripts, and a person's way with curl.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --all-targets --quiet -- -D warnings
cargo test --quiet
if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh .ci/run
fi
scripts/smoke.sh

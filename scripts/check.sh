#!/usr/bin/env bash
# Everything that must pass before a change lands: format, lints, tests, and the scripts in their short forms.
#
#   scripts/check.sh           all of it
#   scripts/check.sh --tested  all but `cargo test`, which has just passed on the same files
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
'') tested= ;;
--tested) tested=yes ;;
*)
    sed -n '2,5p' scripts/check.sh >&2
    exit 2
    ;;
esac

# Prints how long a step takes and fails if it fails.
step() {
    local since=$SECONDS
    "$@"
    printf '%5d s  %s\n' $((SECONDS - since)) "$*"
}

step cargo fmt --check
step cargo clippy --all-targets --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --no-deps --quiet
[ -n "$tested" ] || step cargo test --quiet
if command -v shellcheck >/dev/null; then
    step shellcheck scripts/*.sh scripts/debian/p* scripts/service/accountd.init .ci/run
fi
step cargo build --release --quiet
step scripts/smoke.sh
step scripts/page.sh --short
step scripts/crash.py --rounds 20
step scripts/full.py
step scripts/backup.py --megabytes 20 --users 5000 --lull 1 --kills 3
step scripts/steps.py
step scripts/clock.py
step scripts/crowd.py
step scripts/openapi.py
step scripts/completions.py
step scripts/proxies.py
step scripts/forward_auth.py
step scripts/clients.py
step scripts/hostile.py --seconds 2 --again
step scripts/fuzz.sh 0.1

#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, tests, scripts, a person's way with curl, the web page
# in a browser, real HTTP clients and proxies, and what attacks, crashes, full disks, failing writes, jumping clocks,
# crowds, and made-up requests and inputs do, in short forms; longer by hand.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --all-targets --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet
cargo test --quiet
if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh scripts/debian/p* scripts/service/accountd.init .ci/run
fi
scripts/smoke.sh
scripts/page.sh
scripts/crash.py --rounds 20
scripts/full.py
scripts/backup.py --megabytes 20 --users 5000 --lull 1 --kills 3
scripts/steps.py
scripts/clock.py
scripts/crowd.py
scripts/openapi.py
scripts/completions.py
scripts/proxies.py
scripts/clients.py
scripts/hostile.py --seconds 2 --again
scripts/fuzz.sh 0.1

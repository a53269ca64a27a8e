#!/usr/bin/env bash
# Tests the web page in a real browser, headless, with Debian's chromium and node.
#
#   scripts/page.sh                     the tests, over the debug binary
#   scripts/page.sh --pictures [FOLDER] README's picture, and in FOLDER each view to look at
set -euo pipefail
folder=${2:+$(realpath -m "$2")}
cd "$(dirname "$0")/.."

cargo build --quiet
cd tests/page
npm ci --silent --no-audit --no-fund
case ${1:-} in
'') exec timeout 600 npm test --silent ;;
--pictures) exec node pictures.js ${folder:+"$folder"} ;;
*)
    sed -n '2,6p' ../../scripts/page.sh >&2
    exit 2
    ;;
esac

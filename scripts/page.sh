#!/usr/bin/env bash
# Tests the web page of the release binary in headless browsers: Debian's chromium and firefox-esr, driven by node.
#
#   scripts/page.sh                     the tests in both; in one with BROWSERS=chromium or BROWSERS=firefox
#   scripts/page.sh --short             all tests in Chromium, and in Firefox those of signing in and of one's own account
#   scripts/page.sh --pictures [FOLDER] renews README's picture; with FOLDER a picture of every view goes there instead
set -euo pipefail
folder=${2:+$(realpath -m "$2")}
cd "$(dirname "$0")/../tests/page"

npm ci --silent --no-audit --no-fund
case ${1:-} in
'') exec timeout 1200 npm test --silent ;;
--short) exec timeout 600 npm test --silent -- --short ;;
--pictures) exec node screenshots.js "${folder:---readme}" ;;
*)
    sed -n '2,6p' ../../scripts/page.sh >&2
    exit 2
    ;;
esac

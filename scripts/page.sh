#!/usr/bin/env bash
# Tests the web page of the release binary in a headless browser: Debian's chromium, driven by node.
#
#   scripts/page.sh                     the tests
#   scripts/page.sh --pictures [FOLDER] renews README's picture; a picture of every view goes to FOLDER
set -euo pipefail
folder=${2:+$(realpath -m "$2")}
cd "$(dirname "$0")/../tests/page"

npm ci --silent --no-audit --no-fund
case ${1:-} in
'') exec timeout 600 npm test --silent ;;
--pictures) exec node pictures.js ${folder:+"$folder"} ;;
*)
    sed -n '2,5p' ../../scripts/page.sh >&2
    exit 2
    ;;
esac

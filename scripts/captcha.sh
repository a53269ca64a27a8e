#!/usr/bin/env bash
# Measures how well readers off the shelf read captchas, and how large captchas are; scripts/bench.sh
# measures how fast they are drawn.
#
#   scripts/captcha.sh [--ddddocr] [PICTURES [SEED]]
#
# 300 pictures by default; the same seed gives the same pictures. tesseract reads them, and with
# --ddddocr also both models of ddddocr, for which pip downloads 150 MB the first time.
# Needs tesseract-ocr and imagemagick. Exits with code 1 if a target is missed.
set -euo pipefail
cd "$(dirname "$0")/.."

ddddocr=
if [ "${1:-}" = --ddddocr ]; then
    ddddocr=yes
    shift
fi
count=${1:-300}
[ -z "${2:-}" ] || export CAPTCHA_SEED=$2
max_right=0 max_percent=33.3 max_bytes=4096

alphabet=$(sed -n 's/.*ALPHABET: &\[u8\] = b"\(.*\)";/\1/p' src/account/captcha/draw.rs)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/as-is" "$folder/enlarged"

CAPTCHA_DIR="$folder/as-is" CAPTCHA_COUNT="$count" cargo test --quiet --lib captcha -- --ignored >"$folder/log"
bytes=$(find "$folder/as-is" -name '*.png' -printf '%s\n' | sort -n | tail -n 1)
mogrify -path "$folder/enlarged" -resize 300% "$folder"/as-is/*.png

# Prints "NUMBER ANSWER READING". If tesseract crashes, which happens, the reading is empty.
# shellcheck disable=SC2317 # xargs calls it
read_picture() {
    local name text
    name=$(basename "$1" .png)
    text=$(timeout 60 tesseract "$1" - --psm "$2" -c "tessedit_char_whitelist=$3" 2>/dev/null |
        tr -d '[:space:]') || true
    printf '%s %s %s\n' "${name%%-*}" "${name#*-}" "$text"
}
export -f read_picture
# nproc heeds the limit, so it is asked first.
workers=$(nproc)
export OMP_THREAD_LIMIT=1

# A line, a word, a block of lines.
for mode in 7 8 6; do
    find "$folder/as-is" "$folder/enlarged" -name '*.png' -print0 |
        xargs -0 -P "$workers" -I '{}' bash -c 'read_picture "$@" 2>/dev/null' read '{}' "$mode" "$alphabet"
done >"$folder/readings"

# The correct characters of a reading are its longest common subsequence with the answer, so that a
# skipped or doubled character does not spoil the rest. The best of the six readings counts.
awk '
    function common(a, b,    i, j, row, above, corner) {
        split("", row)
        for (i = 1; i <= length(a); i++) {
            corner = 0
            for (j = 1; j <= length(b); j++) {
                above = row[j] + 0
                if (substr(a, i, 1) == substr(b, j, 1)) row[j] = corner + 1
                else if (row[j - 1] + 0 > above) row[j] = row[j - 1]
                corner = above
            }
        }
        return row[length(b)] + 0
    }
    {
        length_of[$1] = length($2)
        if ($2 == $3) right[$1] = 1
        found = common($2, $3)
        if (found > best[$1] + 0) best[$1] = found
        if ($3 != "") nonempty++
    }
    END {
        for (number in length_of) { pictures++; of += length_of[number]; sum += best[number]; whole += right[number] }
        print pictures, NR, nonempty, whole + 0, 100 * sum / of
    }
' "$folder/readings" >"$folder/figures"
read -r pictures readings nonempty right percent <"$folder/figures"

missed=0
# report WHAT FIGURE RELATION TARGET
report() {
    local verdict=met
    awk -v "figure=$2" -v "target=$4" "BEGIN { exit !(figure $3 target) }" || { verdict=MISSED missed=1; }
    printf '%-52s %6.1f  (target %s %s: %s)\n' "$1" "$2" "$3" "$4" "$verdict"
}
printf '%d pictures, %d readings, %d of them not empty\n' "$pictures" "$readings" "$nonempty"
report 'pictures read by tesseract in any reading' "$right" '<=' "$max_right"
report 'percent of characters right in its best reading' "$percent" '<' "$max_percent"
report 'bytes of the largest picture' "$bytes" '<=' "$max_bytes"

[ -z "$ddddocr" ] || scripts/captcha.py "$folder/as-is" || missed=1

if ((pictures != count || readings != 6 * count)); then
    echo "expected $count pictures read six times each" >&2
    exit 1
fi
exit "$missed"

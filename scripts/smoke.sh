#!/usr/bin/env bash
# Calls every interface with curl, as a user's shell script would, and checks each code.
#
#   scripts/smoke.sh                               the release binary over a fresh folder
#   scripts/smoke.sh http://HOST:PORT KEY CAPTCHA  a running server, with its registration key and
#                                                  its --captcha-answer; RESET_KEY may hold its reset key
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

if [ $# -eq 3 ]; then
    url=$1 key=$2 captcha=$3 reset=${RESET_KEY:-}
elif [ $# -eq 0 ]; then
    rm -r "$work"
    # shellcheck disable=SC2016 # the inner shell has these variables
    exec scripts/harness.py serve --set forgot_password_function_status=true -- \
        sh -c 'exec scripts/smoke.sh "$URL" "$KEY" "$CAPTCHA"'
else
    sed -n '2,7p' "$0" >&2
    exit 2
fi

name=smoke-$(date +%s)-$$
email=$name@example.org

# Fetches a captcha and prints the two members that answer it.
solved() {
    curl -sf -D "$work/head" -o "$work/captcha.png" "$url/api/get_verification_code/" || fail "captcha: no response"
    local id
    id=$(tr -d '\r' <"$work/head" | sed -n 's/^[Vv]erification[Cc]ode[Kk]ey: //p')
    [ "${#id}" -eq 250 ] || fail "captcha: the key has ${#id} characters, not 250"
    [ "$(head -c 4 "$work/captcha.png" | tail -c 3)" = PNG ] || fail "captcha: the picture is not a PNG"
    printf '"verification_code_key":"%s","verification_code":"%s"' "$id" "$captcha"
}

# step NAME CODE CURL-ARGUMENTS...: checks the code of a response and keeps its body in $answer.
step() {
    local what=$1 code=$2
    shift 2
    answer=$(curl -sS "$@") || fail "$what: curl failed"
    case $answer in
    *"\"code\":$code,"* | *"\"code\":$code}"*) echo "ok   $what: $code" ;;
    *) fail "$what: expected code $code, got $answer" ;;
    esac
}

post() {
    step "$1" "$2" "$url/api/$3/" --data-binary "$4"
}

# member NAME: the text of a member of the last response.
member() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$answer"
}

step "a captcha by POST" 500 -X POST "$url/api/get_verification_code/"
user="\"show_name\":\"阿巴\",\"username\":\"$name\",\"passwd\":\"first\",\"email\":\"$email\""
post "register without a body" 666 registered ''
post "register without a captcha" 505 registered "{$user,\"key\":\"$key\"}"
post "register with another key" 403 registered "{$user,\"key\":\"x$key\",$(solved)}"
post "register" 200 registered "{$user,\"key\":\"$key\",$(solved)}"
post "register again" 604 registered "{$user,\"key\":\"$key\",$(solved)}"
step "log in by GET" 500 "$url/api/login/"
post "log in with another password" 604 login "{\"username\":\"$name\",\"passwd\":\"second\",$(solved)}"
post "log in" 200 login "{\"username\":\"$name\",\"passwd\":\"first\",$(solved)}"
token=$(member message)
[ ${#token} -eq 250 ] || fail "log in: the token has ${#token} characters, not 250"
post "read without a token" 404 user_info '{}'
post "read with another token" 403 user_info '{"token":"x"}'
post "read" 200 user_info "{\"token\":\"$token\"}"
[ "$(member name)" = "$name" ] || fail "read: another user: $answer"
first_key=$(member key)
post "change the display name" 200 update_show_name "{\"token\":\"$token\",\"new_show_name\":\"阿巴阿巴\"}"
post "change the key" 200 update_key "{\"token\":\"$token\"}"
post "read again" 200 user_info "{\"token\":\"$token\"}"
[ "$(member show_name)" = 阿巴阿巴 ] || fail "the display name did not change"
[ "$(member key)" != "$first_key" ] || fail "the key did not change"

curl -sf -o "$work/picture.jpg" "$url/s/admin.jpg" || fail "the default avatar is not served"
upload=("$url/api/upload_avatar/" -H "token: $token" -F "file=@$work/picture.jpg")
step "upload a picture that is too small" 603 "${upload[@]}"
# The server drops bytes after the end of a picture, so this is still the same one.
head -c 20000 /dev/zero >>"$work/picture.jpg"
step "upload without a token" 404 "$url/api/upload_avatar/" -F "file=@$work/picture.jpg"
step "upload a picture" 200 "${upload[@]}"
avatar=$(member message)
curl -sf "$url/s/$avatar" | cmp -s - <(curl -sf "$url/s/admin.jpg") || fail "/s/$avatar is not the uploaded picture"
echo "ok   the picture is served: $avatar"

password="\"username\":\"$name\",\"old_passwd\":\"first\""
post "change the password" 200 update_password "{$password,\"new_passwd\":\"second\",$(solved)}"
post "change it with the old password" 404 update_password "{$password,\"new_passwd\":\"third\",$(solved)}"
post "read with the revoked token" 403 user_info "{\"token\":\"$token\"}"
forgotten="\"name\":\"$name\",\"new_passwd\":\"third\",\"email\":\"$email\""
last=second
if [ -n "$reset" ]; then
    post "reset the password with another key" 404 forget_password "{$forgotten,\"key\":\"x$reset\",$(solved)}"
    post "reset the password" 200 forget_password "{$forgotten,\"key\":\"$reset\",$(solved)}"
    last=third
else
    post "reset a password without a captcha" 504 forget_password "{$forgotten,\"key\":\"x\"}"
fi
post "log in with the new password" 200 login "{\"username\":\"$name\",\"passwd\":\"$last\",$(solved)}"
token=$(member message)
post "log out" 200 logout "{\"token\":\"$token\"}"
post "read after the log-out" 403 user_info "{\"token\":\"$token\"}"
step "health" 200 "$url/health"
echo PASSED

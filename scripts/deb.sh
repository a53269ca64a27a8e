#!/usr/bin/env bash
# Builds a Debian package in target/debian with dpkg-deb: the program, its documentation, and scripts/debian.
#
#   scripts/deb.sh                  from a release build for this machine
#   scripts/deb.sh BINARY ARCH      from a static binary for ARCH (amd64, arm64, …)
#   scripts/deb.sh --try            installs, upgrades, removes and purges it on this machine; needs root and no accountd
#
# DEBFULLNAME and DEBEMAIL name the maintainer. DEB_VERSION overrides the version in Cargo.toml.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# put MODE FILE PATH: adds a file to the package; PATH/ keeps the file's name.
put() {
    mkdir -p "$root/$(dirname "$3x")"
    install -m "$1" "$2" "$root/$3"
}

# make VERSION BINARY ARCH DEPENDS: builds the package and prints its path.
make() {
    local version=$1 binary=$2 arch=$3 depends=$4 maintainer doc=usr/share/doc/accountd
    maintainer="${DEBFULLNAME:-accountd} <${DEBEMAIL:-root@localhost}>"
    root=$work/root
    rm -rf "$root" && mkdir -p "$root/DEBIAN"
    put 755 "$binary" usr/bin/accountd
    for file in accountd.service accountd-backup.service accountd-backup.timer; do
        put 644 scripts/service/$file usr/lib/systemd/system/
    done
    put 644 scripts/debian/default etc/default/accountd
    target/release/accountd man | gzip -9n >"$work/page"
    put 644 "$work/page" usr/share/man/man1/accountd.1.gz
    for place in bash:bash-completion/completions/accountd zsh:zsh/vendor-completions/_accountd \
        fish:fish/vendor_completions.d/accountd.fish; do
        target/release/accountd completions "${place%%:*}" >"$work/script"
        put 644 "$work/script" "usr/share/${place#*:}"
    done
    sed 's/^$/./; s/^/ /' LICENSE-MIT | cat scripts/debian/copyright - >"$work/copyright"
    put 644 "$work/copyright" $doc/copyright
    put 644 README.md $doc/
    put 644 README.zh.md $doc/
    for file in docs/*.md; do
        put 644 "$file" $doc/docs/
    done
    for file in docs/zh/*.md; do
        put 644 "$file" $doc/docs/zh/
    done
    gzip -9nc CHANGELOG.md >"$work/changes"
    put 644 "$work/changes" $doc/changelog.gz
    printf 'accountd (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' \
        "$version" "$maintainer" "$(date -uRd "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$work/changes"
    put 644 "$work/changes" $doc/changelog.Debian.gz
    for file in Caddyfile nginx.conf fail2ban-filter.conf fail2ban-jail.conf accountd.openrc accountd.init \
        forward-auth.Caddyfile forward-auth.nginx.conf forward-auth-protect.nginx.conf forward-auth.traefik.yml forward-auth.compose.yml; do
        put 644 scripts/service/$file $doc/examples/
    done

    for file in postinst prerm postrm; do
        put 755 scripts/debian/$file DEBIAN/
    done
    echo /etc/default/accountd >"$root/DEBIAN/conffiles"
    cat >"$root/DEBIAN/control" <<END
Package: accountd
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: adduser, init-system-helpers (>= 1.54)${depends:+, $depends}
Section: net
Priority: optional
Description: account server for one box
 One binary, one SQLite file, one command. Programs and shell scripts talk to
 it over HTTP and JSON: register, log in with a captcha, read and change one's
 account, reset a forgotten password, upload an avatar.
END
    (cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$work/sums"
    put 644 "$work/sums" DEBIAN/md5sums
    find "$root" -type d -exec chmod 755 {} +
    mkdir -p target/debian
    dpkg-deb --root-owner-group --build "$root" "target/debian/accountd_${version}_$arch.deb" >&2
    echo "target/debian/accountd_${version}_$arch.deb"
}

# depends BINARY: prints the packages of the libraries that a binary needs.
depends() {
    mkdir -p "$work/debian"
    printf 'Source: accountd\n\nPackage: accountd\nArchitecture: any\n' >"$work/debian/control"
    local binary
    binary=$(realpath "$1")
    (cd "$work" && dpkg-shlibdeps -O "$binary") | sed -n 's/^shlibs:Depends=//p'
}

# Installs, upgrades, removes and purges the package, and checks each state.
try() {
    [ "$(id -u)" = 0 ] || fail "dpkg needs root"
    if dpkg -s accountd >/dev/null 2>&1 || [ -e /var/lib/accountd ]; then
        fail "this machine has an accountd, or its data in /var/lib/accountd"
    fi
    local first second
    if command -v lintian >/dev/null; then
        # With a maintainer that lintian accepts: the publisher of the package sets the real one.
        DEBEMAIL=maintainer@debian.org make "$version" target/release/accountd "$arch" "$needs" >"$work/made"
        lintian --allow-root --fail-on error "$(cat "$work/made")" || fail "lintian has found an error"
    fi
    first=$(make "$version" target/release/accountd "$arch" "$needs")
    second=$(make "$version+next" target/release/accountd "$arch" "$needs")
    dpkg -i "$first"
    [ "$(stat -c '%U:%G %a' /var/lib/accountd)" = 'accountd:accountd 700' ] || fail "/var/lib/accountd is not private to the user"
    getent passwd accountd | grep -q ':/usr/sbin/nologin$' || fail "the user accountd can log in"
    if command -v systemd-analyze >/dev/null; then
        systemd-analyze verify accountd.service accountd-backup.service accountd-backup.timer || fail "systemd finds errors in the units"
        # The threshold is ten times the printed exposure.
        for unit in accountd accountd-backup; do
            systemd-analyze security --offline=true --threshold=20 "/usr/lib/systemd/system/$unit.service" | tail -n 1
        done
        [ -L /etc/systemd/system/multi-user.target.wants/accountd.service ] || fail "the unit is not enabled"
    fi
    # With the user and umask of the unit.
    cat >"$work/accountd" <<'END'
#!/bin/sh
umask 0007
exec setpriv --reuid accountd --regid accountd --clear-groups /usr/bin/accountd "$@"
END
    chmod 755 "$work/accountd"
    echo 'a password' | scripts/harness.py serve --binary "$work/accountd" --data /var/lib/accountd -- \
        "$work/accountd" user add rei rei@example.org --data /var/lib/accountd >/dev/null
    echo '# changed by hand' >>/etc/default/accountd
    cp -p /var/lib/accountd/config.json "$work/config.json"
    dpkg -i "$second"
    cmp /var/lib/accountd/config.json "$work/config.json" || fail "the upgrade changed config.json"
    grep -q 'changed by hand' /etc/default/accountd || fail "the upgrade changed /etc/default/accountd"
    accountd user show rei --data /var/lib/accountd >/dev/null || fail "the upgrade lost a user"
    dpkg -r accountd
    [ ! -e /usr/bin/accountd ] || fail "removing left the program"
    [ -s /var/lib/accountd/accountd.db ] || fail "removing took the data"
    grep -q 'changed by hand' /etc/default/accountd || fail "removing took the settings"
    dpkg -P accountd
    for left in /var/lib/accountd /etc/default/accountd /etc/systemd/system/multi-user.target.wants/accountd.service; do
        if [ -e $left ] || [ -L $left ]; then fail "purging left $left"; fi
    done
    rm "$second"
    echo "PASSED $first: installed, upgraded, removed, purged"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Before SOURCE_DATE_EPOCH is set, which would have SQLite compiled anew.
cargo build --release --quiet
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
version=${DEB_VERSION:-$(target/release/accountd --version | cut -d ' ' -f 2)-1}
if [ $# -eq 2 ]; then
    make "$version" "$1" "$2" ""
    exit
fi
arch=$(dpkg --print-architecture) needs=$(depends target/release/accountd)
case ${1:-} in
"") make "$version" target/release/accountd "$arch" "$needs" ;;
--try) try ;;
*)
    sed -n '2,8p' "$0" >&2
    exit 2
    ;;
esac

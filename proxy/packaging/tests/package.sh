#!/usr/bin/env bash
# package.sh PACKAGE.deb: installs the package in a fresh Debian that boots systemd in a container, uses it as its operator would,
# and takes it away again. Needs root, mmdebstrap and systemd-nspawn.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
package=$(realpath "$1")
suite=$(. /etc/os-release && printf %s "$VERSION_CODENAME")

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
# Made once a checkout: it takes a minute.
base=${CARGO_TARGET_DIR:-$here/../../../target}/package-root-$suite.tar
if [ ! -e "$base" ]; then
    mmdebstrap --quiet --format=tar --variant=minbase --include=systemd,systemd-sysv,dbus,curl,procps --skip=output/dev \
        --aptopt='APT::Sandbox::User "root"' "$suite" "$base.new" >&2
    mv "$base.new" "$base"
fi
mkdir "$root"
tar --extract --file "$base" --directory "$root" --preserve-permissions

install -m 644 "$package" "$root/package.deb"
install -m 755 "$here/package-inside.sh" "$root/package-inside.sh"
cat >"$root/etc/systemd/system/package-test.service" <<'UNIT'
[Unit]
After=multi-user.target
Wants=dbus.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/package-inside.sh >/result.log 2>&1; echo $? >/result; systemctl poweroff --no-block'
TimeoutStartSec=240
UNIT
mkdir -p "$root/etc/systemd/system/default.target.wants"
ln -s ../package-test.service "$root/etc/systemd/system/default.target.wants/"

timeout --kill-after=10 300 systemd-nspawn --quiet --directory "$root" --boot --register=no --keep-unit --private-network \
    </dev/null >"$work/boot.log" 2>&1 || true
cat "$root/result.log" || tail -n 40 "$work/boot.log"
[ "$(cat "$root/result" 2>/dev/null)" = 0 ]

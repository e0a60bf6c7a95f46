#!/usr/bin/env bash
# build-deb.sh [PROFILE]: the Debian package of the proxy, by cargo-deb; prints its path.
# PROFILE is a cargo profile, `release` unless said otherwise.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=${1:-release}
target=${CARGO_TARGET_DIR:-target}
out=$target/packaging
case $profile in dev) built=$target/debug ;; *) built=$target/$profile ;; esac

cargo build --quiet --locked --package weirgate-proxy --profile "$profile"

rm -rf "$out"
mkdir -p "$out/completions"
for program in weirgate-proxy weirgate-local; do
    "$built/$program" man "$out/man"
    "$built/$program" completions bash >"$out/completions/$program"
    "$built/$program" completions zsh >"$out/completions/_$program"
    "$built/$program" completions fish >"$out/completions/$program.fish"
done
# The config that `init` writes, with the database where the service has it, and the dashboard on loopback behind a token, which
# `postinst` makes.
sed -e 's|^# database = |database = |' -e '/^\[admin\]/a\
listen = ["/var/lib/weirgate/weirgate.sock", "127.0.0.1:9180"]\
token_file = "/etc/weirgate/admin.token"' proxy/src/cli/config.toml >"$out/weirgate.toml"

cargo deb --quiet --no-build --package weirgate-proxy --profile "$profile" --output "$out/"

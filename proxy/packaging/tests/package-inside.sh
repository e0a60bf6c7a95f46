#!/usr/bin/env bash
# Runs as root in the container that package.sh boots. The network is its own loopback alone.
set -euo pipefail

step() { printf -- '-- %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*"; journalctl -u weirgate-proxy --no-pager -n 50; exit 1; }
is() { [ "$1" = "$2" ] || fail "$3: expected $2, got $1"; }
until_true() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done; fail "never: $*"; }
main_pid() { systemctl show -P MainPID weirgate-proxy; }
config=/etc/weirgate/weirgate.toml
examples=/usr/share/doc/weirgate-proxy/examples

step the package installs and starts
export DEBIAN_FRONTEND=noninteractive
dpkg -i /package.deb
is "$(systemctl is-active weirgate-proxy)" active service
is "$(systemctl is-enabled weirgate-proxy)" enabled service
is "$(stat -c %U:%a /var/lib/weirgate)" weirgate:700 'state directory'
is "$(stat -c %U:%G:%a $config)" root:weirgate:640 config
is "$(ps -o user= -p "$(main_pid)" 2>/dev/null || stat -c %U "/proc/$(main_pid)")" weirgate 'user of the process'

step a probe hears that it is ready
is "$(weirgate-proxy health)" ready health
is "$(weirgate-proxy health --live)" alive 'health --live'

step the unit is well formed and shut in
systemd-analyze verify --man=no weirgate-proxy.service "$examples/weirgate-proxy.socket"
systemd-analyze security --no-pager --threshold=19 weirgate-proxy.service | tail -n 1

step manual pages and completions
for page in weirgate-proxy weirgate-proxy-run weirgate-proxy-user-add weirgate-local; do
    zcat "/usr/share/man/man1/$page.1.gz" | grep -q '^\.SH NAME' || fail "no page $page"
done
for program in weirgate-proxy weirgate-local; do
    bash -n "/usr/share/bash-completion/completions/$program"
    bash -c ". /usr/share/bash-completion/completions/$program; complete -p $program" >/dev/null
done

step a user is added, limited and served
printf 'a long password' >/root/password
weirgate-proxy user add ada --password-file /root/password --rate '100 kB/s' >/dev/null
is "$(stat -c %U /var/lib/weirgate/weirgate.db)" weirgate 'database'
is "$(stat -c %U:%G:%a /etc/weirgate/admin.token)" root:weirgate:640 token
sed -i 's|^# allow_egress = .*|allow_egress = ["127.0.0.0/8"]|' $config
pid=$(main_pid)
systemctl reload weirgate-proxy
is "$(main_pid)" "$pid" 'process after a reload'
head -c 300000 /dev/zero >/root/page
cat >/root/serve.pl <<'PERL'
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 8080, Listen => 9, ReuseAddr => 1) or die;
while (my $client = $server->accept) {
    my $times = <$client> =~ m{^GET /large} ? 20 : 1;
    while (<$client>) { last if /^\r?\n$/ }
    open my $page, '<', '/root/page'; local $/; my $body = <$page> x $times;
    print $client "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\nConnection: close\r\n\r\n" . $body;
    close $client;
}
PERL
perl /root/serve.pl &
until_true curl -sf -o /dev/null http://127.0.0.1:8080/
fetch() { curl -sS -o /dev/null -w '%{size_download} %{time_total}' -x "socks5h://ada:a%20long%20password@127.0.0.1:1080" http://127.0.0.1:8080/; }
read -r size seconds <<<"$(fetch)"
is "$size" 300000 'bytes through the proxy'
# 300 kB at 100 kB/s with a burst of at most one second.
awk "BEGIN { exit !($seconds > 1.8) }" || fail "300 kB at 100 kB/s took only $seconds s"

step the limit is changed and holds
slowly=$seconds
weirgate-proxy user set ada --rate '400 kB/s' >/dev/null
read -r size seconds <<<"$(fetch)"
# No faster than that, whatever else the host does; and faster than before.
awk "BEGIN { exit !($seconds > 0.7 && $seconds < 0.8 * $slowly) }" || fail "300 kB at 400 kB/s took $seconds s"

step the dashboard wants its token
is "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9180/)" 200 'the page'
is "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9180/api/v1/users)" 401 'users without the token'
is "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(cat /etc/weirgate/admin.token)" http://127.0.0.1:9180/api/v1/users)" 200 'users with it'

step the curve of a download bends when its limit is changed
token=$(cat /etc/weirgate/admin.token)
api() { curl -sS -H "Authorization: Bearer $token" -H 'If-Match: *' -H 'Content-Type: application/json' "${@:2}" "http://127.0.0.1:9180$1"; }
# What the page draws: the user's bytes of the last second.
rate() { api '/api/v1/rates?user=ada' | sed 's/.*"users"//' | grep -o '"down_Bps":{"instantaneous":[0-9]*' | grep -o '[0-9]*$' || echo 0; }
between() { local now; now=$(rate); [ "$now" -gt "$1" ] && [ "$now" -lt "$2" ]; }
curl -sS -o /dev/null -x 'socks5h://ada:a%20long%20password@127.0.0.1:1080' http://127.0.0.1:8080/large &
download=$!
until_true between 200000 450000
api /api/v1/users/ada -X PATCH -d '{"rate": "100 kB/s"}' >/dev/null
until_true between 50000 120000
kill "$download"

step what dies is started again
kill -KILL "$(main_pid)"
another() { [ "$(main_pid)" != "$pid" ]; }
until_true another
until_true systemctl is-active weirgate-proxy
until_true curl -sf -o /dev/null -x "socks5h://ada:a%20long%20password@127.0.0.1:1080" http://127.0.0.1:8080/

step an upgrade keeps accounts and config
dpkg -i /package.deb
is "$(systemctl is-active weirgate-proxy)" active 'service after the upgrade'
grep -q '^allow_egress' $config || fail 'the config was overwritten'
weirgate-proxy user show ada >/dev/null

step a port below 1024 by socket activation
systemctl stop weirgate-proxy
sed 's|^ListenStream=.*|ListenStream=127.0.0.1:443|' $examples/weirgate-proxy.socket >/etc/systemd/system/weirgate-proxy.socket
systemctl daemon-reload
systemctl start weirgate-proxy.socket
is "$(curl -sS -o /dev/null -w '%{size_download}' -x "socks5h://ada:a%20long%20password@127.0.0.1:443" http://127.0.0.1:8080/)" 300000 'bytes through port 443'
systemctl stop weirgate-proxy.socket weirgate-proxy
rm /etc/systemd/system/weirgate-proxy.socket
systemctl daemon-reload
systemctl start weirgate-proxy

step a probe hears when nobody is there
systemctl stop weirgate-proxy
code=0; weirgate-proxy health 2>/dev/null || code=$?
is "$code" 3 'health of a server that is stopped'
systemctl start weirgate-proxy

step it is removed, and its accounts stay
dpkg -r weirgate-proxy
systemctl is-active weirgate-proxy && fail 'still running'
[ ! -e /usr/bin/weirgate-proxy ] || fail 'the program is still there'
[ -e $config ] && [ -e /var/lib/weirgate/weirgate.db ] || fail 'config or accounts went with it'

step it is purged, and nothing stays
dpkg -P weirgate-proxy
left=$(find / -xdev \( -path /proc -o -path /sys -o -path /var/log -o -path /var/lib/dpkg \) -prune -o -name '*weirgate*' -print)
[ -z "$left" ] || fail "left behind: $left"

printf 'the package installs, serves, upgrades and goes\n'

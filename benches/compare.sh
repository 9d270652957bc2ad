#!/bin/sh
# Measures Hufu beside etcd on this machine, in alternating rounds of one run: absolute figures drift from machine to
# machine and from hour to hour, so what counts is the ratio of one run.
#
#   benches/compare.sh [--rounds N] [--seconds N] [--search RECORDS] [--strace]
#
# --rounds   rounds; the table has the median of them (default 3)
# --seconds  measured time of each load (default 10); a second of warm-up before it is not counted
# --search   load so many Chinese records of 300 to 600 characters first, and measure searches too (default 0: none)
# --strace   run both under strace, which counts their syncs: shows that both wait for the disk. The figures of such a run
#            are no figures.
# HUFU   the binary (default target/release/hufu)
# ETCD   etcd 3.4 or later (default: the one in PATH; Debian: apt-get install etcd-server). Nothing is installed here.
# LOAD   the load on etcd (default: built from benches/etcd with cargo)
# TMPDIR where all data lies (default /var/tmp); a real disk, for on tmpfs a sync means nothing
# PORT   the demo's first port (default 22000); etcd takes the six from PORT + 100 on
#
# What is compared: a put of 1 KiB into three etcd members, answered when a majority has synced it, with `hufu bench
# publish` of 1 KiB, answered when the sealed record and its commitment are synced likewise, with `hufu bench open` of such
# records, each opening in a synced audit entry before its text is given. Both sides: mutual TLS 1.3, gRPC over HTTP/2, one
# request in flight on each connection, new keys and text that does not repeat. etcd's connections are shared out among
# its members, which suits it best; Hufu's go to one node, as people's do. Hufu runs four nodes on the machine and etcd
# three. While one is measured the other runs idle; each load begins when both have come to rest.
# Exit: 0 measured, 1 some operations failed, 2 it could not be tried.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
hufu=${HUFU:-$here/../target/release/hufu}
etcd=${ETCD:-$(command -v etcd || true)}
port=${PORT:-22000}
rounds=3 seconds=10 search=0 strace=no

fail() {
    echo "compare: $*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=${2:?a number} && shift ;;
    --seconds) seconds=${2:?a number} && shift ;;
    --search) search=${2:?a number} && shift ;;
    --strace) strace=yes ;;
    *) fail "unknown option \`$1\`; see the head of this file" ;;
    esac
    shift
done

[ -n "$etcd" ] && [ -x "$etcd" ] || fail "etcd is missing: apt-get install etcd-server, or set ETCD"
[ -x "$hufu" ] || fail "no binary at $hufu: cargo build --release, or set HUFU"
for tool in openssl awk; do
    command -v $tool >/dev/null || fail "$tool is missing: apt-get install $tool"
done
[ $strace = no ] || command -v strace >/dev/null || fail "strace is missing: apt-get install strace"

if [ -z "${LOAD:-}" ]; then
    command -v cargo >/dev/null || fail "cargo is missing; it builds the load on etcd, or set LOAD"
    echo "building the load on etcd" >&2
    built=$(cd "$here/.." && cargo bench --locked --bench etcd --no-run --message-format=json) || fail "it does not build"
    LOAD=$(echo "$built" | sed -n 's|.*"executable":"\([^"]*/etcd-[^"/]*\)".*|\1|p' | tail -n 1)
    [ -x "$LOAD" ] || fail "cargo built no load"
fi

dir=$(mktemp -d "${TMPDIR:-/var/tmp}/hufu-compare.XXXXXX")
started=
clean() {
    for pid in $started; do kill "$pid" 2>/dev/null || true; done
    for pid in $started; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap clean EXIT
trap 'exit 2' INT TERM
case $(stat -f -c %T "$dir") in tmpfs | ramfs) fail "$dir is in memory: set TMPDIR to a folder on a disk" ;; esac

# start NAME WORD...: in the background, with its log beside it; with --strace its syncs are counted into NAME.syncs.
start() {
    name=$1
    shift
    if [ $strace = yes ]; then
        set -- strace -D -f -c --seccomp-bpf -e trace=fsync,fdatasync,sync_file_range -o "$dir/$name.syncs" "$@"
    fi
    "$@" >"$dir/$name.log" 2>&1 &
    started="$started $!"
}

# etcd: an authority, one certificate for the members and one for the client.
tls=$dir/tls
mkdir "$tls"
ec="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
# shellcheck disable=SC2086
{
    openssl req -x509 $ec -keyout "$tls/ca.key" -out "$tls/ca.pem" -days 30 -subj "/CN=bench authority"
    for who in member client; do
        openssl req $ec -keyout "$tls/$who.key" -out "$tls/$who.csr" -subj "/CN=$who"
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n' >"$tls/$who.ext"
        openssl x509 -req -in "$tls/$who.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 30 \
            -extfile "$tls/$who.ext" -out "$tls/$who.pem"
    done
} 2>"$dir/openssl.log" || { cat "$dir/openssl.log" >&2 && fail "openssl made no certificates"; }

cluster= endpoints=
for m in 1 2 3; do
    cluster="$cluster${cluster:+,}m$m=https://127.0.0.1:$((port + 100 + 2 * m - 1))"
    endpoints="$endpoints${endpoints:+,}127.0.0.1:$((port + 100 + 2 * m - 2))"
done
for m in 1 2 3; do
    client=https://127.0.0.1:$((port + 100 + 2 * m - 2)) peer=https://127.0.0.1:$((port + 100 + 2 * m - 1))
    start etcd-$m "$etcd" --name m$m --data-dir "$dir/etcd-$m" --initial-cluster "$cluster" --initial-cluster-state new \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
        --client-cert-auth --trusted-ca-file "$tls/ca.pem" --cert-file "$tls/member.pem" --key-file "$tls/member.key" \
        --peer-client-cert-auth --peer-trusted-ca-file "$tls/ca.pem" \
        --peer-cert-file "$tls/member.pem" --peer-key-file "$tls/member.key" \
        --quota-backend-bytes 8589934592 --logger zap --log-level error
done
start hufu "$hufu" demo --dir "$dir/demo" --port-base "$port" --no-sample
profile=$dir/demo/profiles/police-analyst.toml

put() { # CLIENTS SECONDS
    "$LOAD" --endpoints "$endpoints" --ca "$tls/ca.pem" --cert "$tls/client.pem" --key "$tls/client.key" --bytes 1024 \
        --clients "$1" --seconds "$2"
}
bench() { "$hufu" --json --profile "$profile" bench "$@"; }

waited=0
until [ -f "$dir/demo/ready" ]; do
    for pid in $started; do
        kill -0 "$pid" 2>/dev/null || { cat "$dir"/*.log >&2 && fail "a server ended"; }
    done
    [ $waited -lt 1200 ] || fail "the demo is not ready after two minutes"
    waited=$((waited + 1))
    sleep 0.1
done
waited=0
until put 3 1 >"$dir/first" 2>&1; do
    [ $waited -lt 30 ] || { cat "$dir/first" "$dir"/etcd-*.log >&2 && fail "etcd does not answer"; }
    waited=$((waited + 1))
    sleep 1
done

# Ticks of processor time that all servers have used.
ticks() {
    # shellcheck disable=SC2046
    cat $(for pid in $started $(cat "$dir"/demo/nodes/*/pid); do echo "/proc/$pid/stat"; done) 2>/dev/null |
        sed 's/.*) //' | awk '{ used += $12 + $13 } END { print used }'
}
# Nothing of an earlier load is still being written, merged or indexed: less than a tenth of one processor in a second.
rest() {
    waited=0
    while :; do
        before=$(ticks)
        sleep 1
        [ $(($(ticks) - before)) -ge 10 ] || return 0
        waited=$((waited + 1))
        [ $waited -lt 600 ] || fail "the servers do not come to rest in ten minutes"
    done
}

field() { echo "$2" | sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }
# measure NAME CLIENTS COMMAND...: one load, as a line in `lines` and on the screen.
measure() {
    name=$1 clients=$2
    shift 2
    rest
    line=$("$@") || touch "$dir/failed"
    set -- "$name" "$clients" "$(field per_s "$line")" "$(field p50_ms "$line")" "$(field p99_ms "$line")" \
        "$(field max_ms "$line")" "$(field errors "$line")"
    [ -n "$3" ] || fail "no figures: $line"
    echo "$*" >>"$dir/lines"
    printf '  %-8s %3s clients  %9s/s  p50 %8s ms  p99 %8s ms  max %8s ms  errors %s\n' "$@" >&2
}

uname -srm
echo "$(nproc) processors, $(stat -f -c %T "$dir"), $("$etcd" --version | head -n 1), $("$hufu" --version)"
if [ "$search" -gt 0 ]; then
    echo "loading $search records" >&2
    bench load --records "$search" --chars 300-600 --agreement border-2026 || fail "the load failed"
fi
round=1
while [ "$round" -le "$rounds" ]; do
    echo "round $round" >&2
    for clients in 64 1; do
        measure put $clients put $clients "$seconds"
        measure publish $clients bench publish --clients $clients --seconds "$seconds" --bytes 1024 --agreement border-2026
        measure open $clients bench open --clients $clients --seconds "$seconds" --bytes 1024 --agreement border-2026
    done
    if [ "$search" -gt 0 ]; then
        for clients in 8 1; do
            measure search $clients bench search --clients $clients --seconds "$seconds" --records "$search"
        done
    fi
    round=$((round + 1))
done

# The median of the rounds; the ratio is to the put of as many clients.
echo
awk '
function middle(values, many,    i, j, t, sorted) {
    many = split(values, sorted, " ")
    for (i = 2; i <= many; i++)
        for (j = i; j > 1 && sorted[j - 1] + 0 > sorted[j] + 0; j--) { t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t }
    return many % 2 ? sorted[(many + 1) / 2] : (sorted[many / 2] + sorted[many / 2 + 1]) / 2
}
{
    at = $1 " " $2
    if (!(at in rate)) order[++count] = at
    rate[at] = rate[at] " " $3; half[at] = half[at] " " $4; tail[at] = tail[at] " " $5
    if ($6 + 0 > most[at] + 0) most[at] = $6
    errors[at] += $7
}
END {
    print "| what | clients | per second | p50 | p99 | max | errors | to the put |"
    print "|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= count; i++) {
        at = order[i]; split(at, part, " ")
        put = middle(rate["put " part[2]])
        ratio = part[1] != "put" && part[1] != "search" && put > 0 ? sprintf("%.2f", middle(rate[at]) / put) : ""
        printf "| %s | %s | %.1f | %.2f ms | %.2f ms | %.2f ms | %d | %s |\n", part[1], part[2], middle(rate[at]), \
            middle(half[at]), middle(tail[at]), most[at], errors[at], ratio
    }
}' "$dir/lines"

if [ $strace = yes ]; then
    for pid in $started; do kill "$pid" 2>/dev/null || true; done
    for pid in $started; do wait "$pid" 2>/dev/null || true; done
    started=
    # strace ends behind what it watched.
    waited=0
    until [ -s "$dir/hufu.syncs" ] && [ -s "$dir/etcd-3.syncs" ] || [ $waited -ge 100 ]; do
        waited=$((waited + 1))
        sleep 0.1
    done
    for syncs in "$dir"/*.syncs; do
        echo
        echo "syncs of $(basename "$syncs" .syncs):"
        cat "$syncs"
    done
fi
[ ! -e "$dir/failed" ] || exit 1

#!/bin/sh
# Shows with strace that whatever was acknowledged was durable before: a demo federation runs under strace from its first
# moment, records are published and opened one at a time and then several at once, each client under strace too, and
# fsync_check.py holds every answer against the writes and syncs before it (its head says what it asks for).
#
#   benches/fsync-proof.sh [--ops N] [--together N] [--keep]
#   benches/fsync-proof.sh --self-test      the checker alone, on made-up traces: it must find every fault in them
#
# HUFU   the binary (default target/release/hufu)
# TMPDIR where the demo and the traces lie (default /var/tmp); a real disk, for on tmpfs a sync means nothing
# PORT   the demo's first port (default 21000)
# Exit: 0 proven, 1 not, 2 it could not be tried.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
hufu=${HUFU:-$here/../target/release/hufu}
ops=10 together=8 keep=no

fail() {
    echo "fsync-proof: $*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --ops) ops=${2:?a number} && shift ;;
    --together) together=${2:?a number} && shift ;;
    --keep) keep=yes ;;
    --self-test) exec python3 "$here/fsync_check.py" --self-test ;;
    *) fail "unknown option \`$1\`; see the head of this file" ;;
    esac
    shift
done

for tool in strace python3; do
    command -v $tool >/dev/null || fail "$tool is missing: apt-get install $tool"
done
[ -x "$hufu" ] || fail "no binary at $hufu: cargo build --release, or set HUFU"

dir=$(mktemp -d "${TMPDIR:-/var/tmp}/hufu-fsync.XXXXXX")
demo=
stop() {
    if [ -n "$demo" ]; then
        kill "$demo" 2>/dev/null || true
        wait "$demo" 2>/dev/null || true
        demo=
    fi
}
clean() {
    stop
    [ $keep = yes ] && echo "kept: $dir" || rm -rf "$dir"
}
trap clean EXIT
trap 'exit 2' INT TERM
case $(stat -f -c %T "$dir") in tmpfs | ramfs) fail "$dir is in memory: set TMPDIR to a folder on a disk" ;; esac

# -D keeps strace out of the way: the process that is started is the demo itself, and a signal reaches it.
writes=write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2
strace -D -ff --seccomp-bpf -ttt -T -yy -xx -s 524288 -e trace=$writes,fdatasync,fsync -e signal=none -o "$dir/nodes" \
    "$hufu" demo --dir "$dir/demo" --port-base "${PORT:-21000}" --no-sample >"$dir/demo.log" 2>&1 &
demo=$!
waited=0
until [ -f "$dir/demo/ready" ]; do
    kill -0 "$demo" 2>/dev/null || { cat "$dir/demo.log" >&2 && fail "the demo ended"; }
    [ $waited -lt 1200 ] || fail "the demo is not ready after two minutes"
    waited=$((waited + 1))
    sleep 0.1
done

"$hufu" --json --profile "$dir/demo/profiles/police-analyst.toml" cluster status >"$dir/status"
python3 -c 'import json, sys
print(*[n["agency"] for n in json.load(open(sys.argv[1]))["nodes"] if n["role"] == "voter"], sep="\n")' \
    "$dir/status" >"$dir/voters"

# operation NAME KIND AGENCY WORD...: one command of the agency's analyst, with what the checker needs beside it.
operation() {
    at=$dir/ops/$1
    mkdir -p "$at"
    echo "$2" >"$at/kind"
    echo "$3" >"$at/agency"
    profile=$dir/demo/profiles/$3-analyst.toml
    shift 3
    strace -ff -ttt -T -yy -xx -s 32 -e trace=$writes,read,readv,recvfrom,recvmsg -e signal=none -o "$at/client" \
        "$hufu" --json --profile "$profile" "$@" >"$at/answer" 2>"$at/errors" || {
        cat "$at/errors" >&2
        touch "$dir/refused"
    }
}
publish() {
    operation "$1" publish police record publish --title "演练 $1" --body "演练 $1" --grade secret --agreement border-2026
}
record() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["record"])' "$dir/ops/$1/answer"
}
# By turns at the node of the originator and at one that received it.
open() {
    if [ $(($3 % 2)) = 0 ]; then asked=police; else asked=customs; fi
    operation "$1" open "$asked" record open "$(record "$2")" --purpose 演练
}

n=0
while [ $n -lt "$ops" ]; do
    publish "one-$n-publish"
    open "one-$n-open" "one-$n-publish" $n
    n=$((n + 1))
done
for what in publish open; do
    n=0 running=
    while [ $n -lt "$together" ]; do
        case $what in
        publish) publish "together-$n-publish" & ;;
        open) open "together-$n-open" "together-$n-publish" $n & ;;
        esac
        running="$running $!"
        n=$((n + 1))
    done
    for child in $running; do wait "$child"; done
done
stop

[ ! -e "$dir/refused" ] || fail "some operations were refused, so there is nothing to judge"
python3 "$here/fsync_check.py" "$dir"

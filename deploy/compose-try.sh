#!/bin/sh
# The exercise of compose.yaml from nothing to the end: makes it, starts it, works as its people, kills and stops nodes, takes
# it down and up again. Says PASSED, or where it failed and leaves all as it is for a look.
#
#   deploy/compose-try.sh [FOLDER]      # with .md or .txt files to import; without it some are made
#
# Needs the image (hufu:local, or HUFU_IMAGE), an engine that whoever runs this may use (docker, or HUFU_ENGINE) and its Compose
# (HUFU_COMPOSE, else found). With CURL_IMAGE, any image that has curl, it also looks at the pages for machines.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
state=${HUFU_STATE:-$here/state}
case $state in /*) ;; *) state=$PWD/$state ;; esac
image=${HUFU_IMAGE:-hufu:local}
engine=${HUFU_ENGINE:-docker}
agencies="police state-security customs cyberspace"
began=$(date +%s)
watch=

say() { echo "[$(($(date +%s) - began)) s] $*"; }

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

ended() {
    [ $? -ne 0 ] || return 0
    [ -z "$watch" ] || kill "$watch"
    echo "All is left as it is: $state, and the containers, until: $compose -f $here/compose.yaml down" >&2
}

if [ -n "${HUFU_COMPOSE:-}" ]; then
    compose=$HUFU_COMPOSE
elif "$engine" compose version >/dev/null 2>&1; then
    compose="$engine compose"
elif docker-compose version >/dev/null 2>&1; then
    compose=docker-compose
else
    fail "no Compose: install the plugin or docker-compose, or name one with HUFU_COMPOSE"
fi

compose() { $compose -f "$here/compose.yaml" "$@"; }

# What Compose says while it works is read only when it fails.
quietly() { compose "$@" >"$try/compose" 2>&1 || fail "compose $*: $(cat "$try/compose")"; }

as() { "$here/compose-init.sh" as "$@"; }

# field NAME: its first value in the JSON that comes in.
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1; }

# within SECONDS WHAT COMMAND...: again until it succeeds.
within() {
    deadline=$(($(date +%s) + $1))
    what=$2
    shift 2
    until "$@"; do
        [ "$(date +%s)" -lt "$deadline" ] || fail "not in time: $what"
        sleep 1
    done
}

# ends CODE COMMAND...: with this exit code.
ends() {
    code=0
    expected=$1
    shift
    "$@" >"$try/ended" 2>&1 || code=$?
    [ "$code" = "$expected" ] || fail "exit code $code and not $expected: $*: $(cat "$try/ended")"
}

container() { sed -n "s/^$1 //p" "$try/containers"; }

look() { "$engine" inspect --format "$1" "$(container "$2")"; }

is_healthy() { [ "$(look '{{.State.Health.Status}}' "$1")" = healthy ]; }

up() {
    quietly up -d
    for agency in $agencies; do echo "$agency $(compose ps -q "$agency")"; done >"$try/containers"
}

all_healthy() { for agency in $agencies; do within 90 "$agency is healthy" is_healthy "$agency"; done; }

# All four nodes are there with all that is committed, and with one digest; as AGENCY's node sees it.
is_whole() {
    as "$1" analyst --json cluster status >"$try/status" 2>/dev/null || return 1
    commit=$(field commit <"$try/status")
    [ "$(grep -o '"reachable":true' "$try/status" | wc -l)" -eq 4 ] \
        && [ "$(grep -o "\"applied\":$commit," "$try/status" | wc -l)" -eq 4 ] \
        && [ "$(grep -o '"digest":"[0-9a-f]*"' "$try/status" | sort -u | wc -l)" -eq 1 ]
}

# opens AGENCY PERSON RECORD TEXT
opens() { as "$1" "$2" record open "$3" --purpose 演练目的 2>/dev/null | grep -qF "$4"; }

# was_read AGENCY RECORD: the originator has its report.
was_read() { as police officer --json audit who-read "$2" | grep -q "\"agency\":\"$1\".*\"action\":\"open\""; }

total() { as "$1" "$2" --json record search 国家秘密 --limit 1 --purpose 演练目的 | field total; }

found_by_all() {
    found=$(total police analyst)
    [ "${found:-0}" -gt 0 ] && [ "$(total customs analyst)" = "$found" ] && [ "$(total state-security analyst)" = "$found" ]
}

# publish AGENCY TITLE BODY [OPTION...]: the record's id, when it is committed.
publish() {
    agency=$1
    title=$2
    body=$3
    shift 3
    as "$agency" analyst --json record publish --title "$title" --body "$body" --grade secret \
        --agreement border-2026 --timeout 60 "$@" >"$try/published"
    [ "$(field state <"$try/published")" = committed ] || fail "not committed: $(cat "$try/published")"
    field record <"$try/published"
}

# notice FROM TO: a flash from duty officer to duty officer, until it is answered.
notice() {
    as "$2" duty --json notice watch --count 1 >"$try/watched" &
    watch=$!
    as "$1" duty --json notice send --to "$2" --precedence flash --grade internal --exercise \
        --subject 演练主题 --body 演练通报正文 >"$try/sent"
    id=$(field notice <"$try/sent")
    within 30 "the notice is seen" grep -qF "$id" "$try/watched"
    wait "$watch"
    watch=
    as "$2" duty notice ack "$id" --answer in-hand --text 已派员 >/dev/null
    as "$1" duty --json notice track "$id" --wait answered --timeout 30 >"$try/tracked"
    [ "$(grep -oE '"state":"(delivered|presented|acknowledged|answered)","at"' "$try/tracked" | wc -l)" -eq 4 ] \
        || fail "receipts: $(cat "$try/tracked")"
}

verify() {
    rm -rf "$try/log"
    as "$1" officer audit export --out try/log >/dev/null
    as "$1" officer --json audit verify try/log --genesis genesis.json >"$try/verified"
    grep -q '"consistent":true,"signature":true,"pinned":true' "$try/verified" || fail "audit log: $(cat "$try/verified")"
    as "$1" officer --json audit verify --live | grep -q '"consistent":true' || fail "the audit log of $1, live"
}

image_holds_nothing_else() {
    "$engine" image inspect --format 'image: {{.Size}} bytes, user {{.Config.User}}, {{.Os}}/{{.Architecture}}' "$image"
    of=$("$engine" create "$image")
    # What the engine itself puts into every container is not of the image.
    "$engine" export "$of" | tar -t | grep -v '/$' \
        | grep -Ev '^(\.dockerenv|dev/.*|etc/(hosts|hostname|resolv\.conf|mtab)|run/\.containerenv)$' >"$try/files" || true
    "$engine" rm "$of" >/dev/null
    [ "$(cat "$try/files")" = hufu ] || fail "files in the image: $(cat "$try/files")"
}

is_confined() {
    [ "$(look '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}}' "$1")" = "true false" ] || fail "$1: root"
    case $(look '{{json .HostConfig.CapAdd}} {{json .HostConfig.CapDrop}}' "$1") in
    'null ["ALL"]' | '[] ["ALL"]' | '[] ["CAP_'*) ;;
    *) fail "$1: capabilities" ;;
    esac
    look '{{json .HostConfig.SecurityOpt}}' "$1" | grep -q no-new-privileges || fail "$1: new privileges"
    [ "$(look '{{range .Mounts}}{{if .RW}}{{.Destination}} {{end}}{{end}}' "$1")" = "/var/lib/hufu " ] || fail "$1: mounts"
    # Where the engine is on this machine, the kernel's own word.
    status=/proc/$(look '{{.State.Pid}}' "$1")/status
    if grep -q hufu "$status" 2>/dev/null; then
        for line in 'CapEff:.0000000000000000' 'CapBnd:.0000000000000000' 'NoNewPrivs:.1' 'Seccomp:.2'; do
            grep -q "^$line\$" "$status" || fail "$1: $(grep "^${line%%:*}" "$status")"
        done
    fi
}

answers_machines() {
    "$engine" exec "$(container "$1")" /hufu node health --config /etc/hufu/hufu.toml >/dev/null || fail "$1: not ready"
    "$engine" exec "$(container "$1")" /hufu node health --config /etc/hufu/hufu.toml --live >/dev/null || fail "$1: not live"
    if [ -n "${CURL_IMAGE:-}" ]; then
        "$engine" run --rm --network "container:$(container "$1")" "$CURL_IMAGE" \
            curl -fsS http://127.0.0.1:7004/livez http://127.0.0.1:7004/readyz http://127.0.0.1:7004/metrics >"$try/pages"
        grep -q '^hufu_ledger_has_leader 1$' "$try/pages" || fail "$1: metrics"
    fi
}

# One object a line, and nothing of what was published, asked or sent. What goes before `down` is looked at before.
logs_tell_nothing() {
    for agency in $agencies; do
        "$engine" logs "$(container "$agency")" >"$try/log-$agency" 2>&1
        if grep -Ev '^\{"timestamp":".*\}$' "$try/log-$agency"; then fail "$agency: not JSON"; fi
        if grep -E '演练(标题|目的|主题|通报|更正|文本)|目标车辆|车牌|已派员' "$try/log-$agency"; then fail "$agency: content in the log"; fi
        if grep -F ALARM "$try/log-$agency"; then fail "$agency: an alarm"; fi
    done
}

[ ! -e "$state" ] || fail "$state is there already: move it away first"
export HUFU_STATE="$state" HUFU_IMAGE="$image" HUFU_ENGINE="$engine"
"$engine" image inspect "$image" >/dev/null || fail "no image $image: docker build -f deploy/Containerfile -t $image ."
trap ended EXIT

say "keys, genesis, configurations"
"$here/compose-init.sh" files >/dev/null
try=$state/try
mkdir "$try"
image_holds_nothing_else

say "up"
up
"$here/compose-init.sh" people >"$try/people" 2>&1 || fail "people: $(tail -n 5 "$try/people")"
say "people are registered"
all_healthy
within 60 "all nodes have all" is_whole cyberspace
say "healthy"
for agency in $agencies; do
    is_confined "$agency"
    answers_machines "$agency"
done

say "records"
record=$(publish police 演练标题 目标车辆已过关 --compartment border-ops --wait all)
opens customs analyst "$record" 目标车辆已过关 || fail "customs cannot open what it was given"
ends 4 as customs clerk record open "$record" --purpose 演练目的
ends 4 as state-security analyst record open "$record" --purpose 演练目的
ends 4 as cyberspace analyst record open "$record" --purpose 演练目的
within 30 "the originator sees who opened" was_read customs "$record"
as police analyst record amend "$record" --body 车牌尾号为七 --reason 演练更正 >/dev/null
within 30 "the amendment is at customs" opens customs analyst "$record" 车牌尾号为七

texts=$try/texts
if [ $# -gt 0 ]; then
    cp -R "$1" "$texts"
    chmod -R u+w "$texts"
else
    mkdir "$texts"
    for n in 1 2 3 4 5 6 7 8 9; do echo "第 $n 条 国家秘密的演练文本。" >"$texts/$n.md"; done
fi
count=$(find "$texts" -type f \( -name '*.md' -o -name '*.txt' \) | wc -l)
imports() {
    as police "$1" --json record import try/texts --format text --grade secret --agreement border-2026 | tail -n 1 >"$try/imported"
    [ "$(field "$2" <"$try/imported")" = "$((count))" ] || fail "import of $((count)): $(cat "$try/imported")"
}
imports analyst imported
imports chief unchanged
within 60 "all agencies find as much" found_by_all
[ "$(total customs clerk)" = 0 ] || fail "a clerk finds secrets"
[ "$(total cyberspace analyst)" = 0 ] || fail "cyberspace finds what it is no party to"
say "imported $((count)), found $found"

notice police customs
notice cyberspace state-security
say "notices are answered"
for agency in $agencies; do verify "$agency"; done
say "audit logs verify"

leader=$(as customs analyst --json cluster status | field leader)
case $leader in police) others="state-security customs" ;; state-security) others="customs police" ;; *) others="police state-security" ;; esac
first=${others%% *}
second=${others#* }
say "kill of the leader, $leader"
"$engine" kill "$(container "$leader")" >/dev/null
while_away=$(publish "$first" 演练标题二 目标车辆之二)
say "written without it"
"$engine" kill "$(container "$second")" >/dev/null
ends 5 as "$first" analyst --json record publish --title 演练标题三 --body 目标车辆之三 --grade secret \
    --agreement border-2026 --timeout 3
[ "$(field state <"$try/ended")" = accepted ] || fail "without a majority: $(cat "$try/ended")"
waiting=$(field record <"$try/ended")
notice "$first" cyberspace
say "notices go without a majority"
"$engine" start "$(container "$leader")" "$(container "$second")" >/dev/null
for agency in $leader $second; do
    within 60 "$agency has what it missed" opens "$agency" analyst "$while_away" 目标车辆之二
    within 60 "$agency has what waited" opens "$agency" analyst "$waiting" 目标车辆之三
    within 60 "$agency has all" is_whole "$agency"
done
all_healthy
say "both are back and have all"

for agency in customs cyberspace; do
    stopping=$(date +%s)
    "$engine" stop "$(container "$agency")" >/dev/null
    took=$(($(date +%s) - stopping))
    [ "$(look '{{.State.ExitCode}}' "$agency")" = 0 ] || fail "$agency: exit code at a stop"
    [ "$took" -lt 10 ] || fail "$agency: a stop of $took s"
    say "$agency stopped in $took s"
done
publish police 演练标题四 目标车辆之四 >/dev/null
quietly up -d
within 60 "all nodes have all" is_whole customs
logs_tell_nothing

say "down, and up again"
quietly down
up
all_healthy
within 60 "all nodes have all" is_whole cyberspace
opens customs analyst "$record" 车牌尾号为七 || fail "the record is gone"
[ "$(total state-security analyst)" -ge "$found" ] || within 60 "the index is there" found_by_all
imports analyst unchanged
for agency in $agencies; do verify "$agency"; done
logs_tell_nothing
quietly down
say "PASSED; what it made is in $state"

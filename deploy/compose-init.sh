#!/bin/sh
# Makes what compose.yaml needs, in deploy/state: `files` before the containers start, `people` once they run. After that
# `as AGENCY PERSON COMMAND...` runs a command as one of them. It uses the image, or the program that HUFU names. What
# `hufu demo` does in one process this does with commands, so it is also an example of them. Keys of all agencies and people
# lie side by side here: for exercises only.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
state=${HUFU_STATE:-$here/state}
case $state in /*) ;; *) state=$PWD/$state ;; esac
image=${HUFU_IMAGE:-hufu:local}
engine=${HUFU_ENGINE:-docker}
federation=hufu-exercise
agencies="police state-security customs cyberspace"

# Whoever runs this, as the engine's containers count users: to an engine that runs without root they are its 0.
owner=$(id -u):$(id -g)
if "$engine" info 2>/dev/null | grep -Eq '^ *rootless(: true)?$'; then owner=0:0; fi

# The program, in the folder of the state.
hufu() {
    if [ -n "${HUFU:-}" ]; then
        (cd "$state" && "$HUFU" "$@")
    else
        "$engine" run --rm --init --network host --read-only --cap-drop ALL --security-opt no-new-privileges \
            --user "$owner" --volume "$state:/state" --workdir /state "$image" "$@"
    fi
}

# as AGENCY PERSON COMMAND...
as() {
    profile=profiles/$1-$2.toml
    shift 2
    hufu --profile "$profile" "$@"
}

number() {
    case $1 in police) echo 1 ;; state-security) echo 2 ;; customs) echo 3 ;; cyberspace) echo 4 ;; esac
}

# Where an agency's node is for other nodes, for its people inside, and for its people on this machine.
of_nodes() { echo "${HUFU_NODES_NET:-172.31.240}.1$(number "$1")"; }
of_people() { echo "${HUFU_PEOPLE_NET:-172.31.24}$(number "$1").2"; }
endpoint() { echo "${HUFU_ENDPOINT:-127.0.0.1}:170$(($(number "$1") - 1))0"; }

# init AGENCY NAME CEILING [OPTION...]
init() {
    agency=$1
    name=$2
    ceiling=$3
    shift 3
    hufu agency init --id "$agency" --name "$name" --tier provincial --ceiling "$ceiling" --federation "$federation" \
        "$@" --dir "made/$agency"
}

config() {
    cat <<TOML
agency = "$1"
node = "1"
data = "/var/lib/hufu"
genesis = "genesis.json"
ca = "ca.pem"
ca_key = "ca.key"
cert = "node.pem"
keyring = "keyring"
passphrase = "/run/secrets/passphrase"
first_people = "people.json"
log = "json"

[listen]
people = "$(of_people "$1"):7000"
nodes = "$(of_nodes "$1"):7001"
notices = "$(of_nodes "$1"):7002"
metrics = "127.0.0.1:7004"

# About 16 MiB each (docs/operations.md): half of what compose.yaml gives a node.
[load]
calls = 64
calls_per_person = 64
TOML
    for peer in $agencies; do
        [ "$peer" = "$1" ] || cat <<TOML

[[peer]]
agency = "$peer"
node = "1"
address = "$(of_nodes "$peer"):7001"
notices = "$(of_nodes "$peer"):7002"
TOML
    done
}

# profile AGENCY PERSON
profile() {
    cat >"$state/profiles/$1-$2.toml" <<TOML
endpoint = "$(endpoint "$1")"
ca = "../$1/etc/ca.pem"
cert = "../people/$1/$2.pem"
key = "../people/$1/$2.key"
name = "$2"
TOML
}

files() {
    if [ -e "$state" ]; then
        echo "$state is there already: move it away first" >&2
        exit 2
    fi
    mkdir -p "$state/made" "$state/profiles" "$state/people"
    init police "公安 Police" top-secret --compartment border-ops
    init state-security "国安 State Security" top-secret
    init customs "海关 Customs" secret --compartment border-ops
    init cyberspace "网信 Cyberspace" confidential
    hufu federation genesis made/police/descriptor.json made/state-security/descriptor.json \
        made/customs/descriptor.json made/cyberspace/descriptor.json \
        --voters police,state-security,customs --out genesis.json
    for agency in $agencies; do
        hufu federation sign genesis.json --key "made/$agency/people/officer.key"
    done
    for agency in $agencies; do
        made=$state/made/$agency
        own=$state/$agency
        mkdir -p "$own/etc" "$own/secret" "$own/data"
        mv "$made/ca.pem" "$made/ca.key" "$made/node.pem" "$made/keyring" "$made/people.json" "$own/etc/"
        mv "$made/passphrase" "$own/secret/"
        mv "$made/people" "$state/people/$agency"
        cp "$state/genesis.json" "$own/etc/"
        config "$agency" >"$own/etc/hufu.toml"
        for officer in officer officer-2; do profile "$agency" "$officer"; done
    done
    if [ "$(id -u)" = 0 ]; then
        owner=10001:10001
        for agency in $agencies; do chown -R "$owner" "$state/$agency"; done
    fi
    # Compose reads it: which exercise there is, and that nodes run as the owner of their files.
    printf 'COMPOSE_PROJECT_NAME=hufu\nHUFU_STATE=%s\nHUFU_USER=%s\n' "$state" "$owner" >"$here/.env"
}

# person AGENCY NAME TITLE CLEARANCE ROLES [OPTION...]
person() {
    agency=$1
    name=$2
    title=$3
    clearance=$4
    roles=$5
    shift 5
    hufu person request "$name" --agency "$agency" --federation "$federation" --dir "people/$agency"
    for role in $roles; do set -- "$@" --role "$role"; done
    as "$agency" officer person add "$name" --csr "people/$agency/$name.csr" --title "$title" --unit 演练 \
        --clearance "$clearance" "$@" --out "people/$agency/$name.pem"
    profile "$agency" "$name"
}

# served AGENCY: waits until its node answers and knows a leader; containers that run do not serve yet.
served() {
    deadline=$(($(date +%s) + 90))
    until as "$1" officer --json cluster status 2>/dev/null | grep -q '"leader":"'; do
        if [ "$(date +%s)" -ge "$deadline" ]; then
            echo "$1 does not serve: look at its log" >&2
            exit 5
        fi
        sleep 1
    done
}

people() {
    for agency in $agencies; do served "$agency"; done
    for agency in $agencies; do
        top=secret
        ceiling="top-secret"
        case $agency in
        customs) ceiling=secret ;;
        cyberspace) top=confidential ceiling=confidential ;;
        esac
        set --
        case $agency in police | customs) set -- --compartment border-ops ;; esac
        person "$agency" clerk 科员 internal analyst
        person "$agency" analyst 研判员、承办人 "$top" "analyst originator" "$@"
        person "$agency" chief 定密责任人 "$ceiling" "analyst originator classifier" "$@"
        person "$agency" duty 值班员 "$top" duty-officer "$@"
        person "$agency" operator 运维员 internal operator
        # The key of whoever signs acts is registered by a second officer; the first officers stand in the genesis.
        as "$agency" officer-2 person approve chief
        if [ "$agency" = police ]; then
            person police inspector 监督员 top-secret inspector "$@"
            as police officer-2 person approve inspector
        fi
        as "$agency" officer-2 person approve officer
        as "$agency" officer person approve officer-2
    done
    as police officer agreement draft border-2026 --parties police,state-security,customs --grade secret \
        --compartment border-ops --purpose "口岸联合执法演练 border enforcement exercise" --legal-basis "演练方案 exercise plan"
    as state-security officer agreement sign border-2026
    as customs officer agreement sign border-2026
    as police officer agreement draft common-2026 --parties police,state-security,customs,cyberspace --grade internal \
        --purpose "日常工作交流 everyday exchange" --legal-basis "演练方案 exercise plan"
    for agency in state-security customs cyberspace; do as "$agency" officer agreement sign common-2026; done
    for agency in police state-security customs; do
        as "$agency" chief guide sign --agreement border-2026 --grade secret
    done
    as police analyst cluster status
}

if [ -z "${HUFU:-}" ] && [ "$(id -u)" = 0 ]; then
    echo "root in a container without capabilities reads nobody's files: run this as another user, or set HUFU" >&2
    exit 2
fi
case ${1:-} in
files | people) "$1" ;;
as)
    if [ $# -lt 4 ] || ! [ -e "$state/profiles/$2-$3.toml" ]; then
        echo "usage: $0 as AGENCY PERSON COMMAND..., of those in $state/profiles" >&2
        exit 2
    fi
    shift
    as "$@"
    ;;
*)
    echo "usage: $0 files | people | as AGENCY PERSON COMMAND..." >&2
    exit 2
    ;;
esac

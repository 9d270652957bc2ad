#!/usr/bin/env python3
"""Checks, in traces of system calls, that nothing was answered before it was durable.

    fsync_check.py DIR          a folder that fsync-proof.sh left
    fsync_check.py --self-test  made-up traces, good ones and ones in which something is missing
    fsync_check.py --broken     one made-up trace in which a sync is missing: exit 1

DIR has `voters` (one agency a line), `nodes.*` (strace of every thread of every node) and for each operation a folder
`ops/NAME/` with `kind` (publish or open), `agency` (whose node was asked), `answer` (what the client printed) and
`client.*` (strace of the client). All times are of one clock.

For each answered publish there must be, before the node sent its answer:
- at the node that was asked, a write of the intake journal that holds the record's id, then an fdatasync of that file, and
  before that write an fdatasync of the files of bodies that began after the request;
- the same at every other agency that the answer says holds it, and there must be one;
- at a majority of the voters, a write of the ledger's log that holds the record's id, then an fdatasync of that file;
- at the node that was asked, an audit entry that names the record, written and then synced.
For each open: an audit entry that names the record, written after the request began and synced before the answer.

"Then" is strict: the sync began when the write had returned, returned 0, and returned before the answer began.
Exit 0 if all of it holds, 1 if not, 2 if the folder cannot be judged.
"""

import base64
import json
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

CALL = re.compile(r"^(\d+\.\d+) (\w+)\((\d+)<(TCP[^\]]*\]+[^>]*|[^>]*)>(.*)\) += (-?\d+)[^<]*<(\d+\.\d+)>$")
HEX = re.compile(r'"((?:\\x[0-9a-f]{2})+)"')
WRITES = {"write", "writev", "pwrite64", "sendto", "sendmsg"}
READS = {"read", "readv", "recvfrom", "recvmsg"}
SYNCS = {"fdatasync", "fsync"}
FILE = re.compile(r"/nodes/([^/]+)/data/(audit|ledger/log|vault/intake|vault/bodies)/")


@dataclass
class Call:
    """One system call that ended."""

    name: str
    fd: int
    target: str
    start: float
    end: float
    result: int
    data: bytes = b""


@dataclass
class Trace:
    """What the nodes did: by (agency, kind of file), and by connection."""

    files: dict = field(default_factory=dict)
    sockets: dict = field(default_factory=dict)


def unhex(text):
    return bytes.fromhex(text.replace("\\x", ""))


def calls(path):
    """The calls of one thread that ended, in their order."""
    with open(path, encoding="ascii", errors="replace") as lines:
        for line in lines:
            m = CALL.match(line)
            if not m:
                continue
            start, name, fd, target, rest, result, took = m.groups()
            if target.startswith("\\x"):
                target = unhex(target).decode("utf-8", "replace")
            # Times have microseconds; floats of this size keep them.
            call = Call(name, int(fd), target, float(start), float(start) + float(took), int(result))
            yield call, rest


def read_nodes(folder):
    trace = Trace()
    for path in sorted(folder.glob("nodes.*")):
        for call, rest in calls(path):
            if call.target.startswith("TCP:"):
                if call.name in WRITES and call.result > 0:
                    trace.sockets.setdefault(call.target, []).append(call)
                continue
            m = FILE.search(call.target)
            if m:
                if call.name in WRITES and m.group(2) != "vault/bodies":
                    call.data = b"".join(unhex(h) for h in HEX.findall(rest))
                trace.files.setdefault(m.groups(), []).append(call)
    for found in [*trace.files.values(), *trace.sockets.values()]:
        found.sort(key=lambda c: c.start)
    return trace


def reversed_pair(target):
    """`TCP:[a->b]` as the other end names it."""
    a, b = target[len("TCP:[") : -1].split("->")
    return f"TCP:[{b}->{a}]"


def window(folder, trace):
    """When the request began, and when the node sent its answer."""
    seen = sorted((c for p in folder.glob("client.*") for c, _ in calls(p)), key=lambda c: c.start)
    sockets = [c for c in seen if c.target.startswith("TCP:") and c.result > 0]
    printed = next((c for c in seen if c.fd == 1 and c.name in WRITES), None)
    if not sockets or printed is None:
        raise ValueError("the client's trace has no request or no answer")
    began = sockets[0].start
    received = [c for c in sockets if c.name in READS and c.end <= printed.start]
    if not received:
        raise ValueError("the client's trace has no answer")
    # What was read last before the client printed it was sent last before it was read.
    sent = [
        c
        for c in trace.sockets.get(reversed_pair(received[-1].target), [])
        if began <= c.start <= received[-1].end
    ]
    if not sent:
        raise ValueError("the nodes' trace has no answer on the client's connection")
    return began, sent[-1].start


def synced(trace, agency, kind, holding, began, until):
    """The first write that holds these bytes and was durable in time."""
    found = trace.files.get((agency, kind), [])
    for write in found:
        if write.name in WRITES and write.start >= began and write.result > 0 and holding in write.data:
            for sync in found:
                same = sync.name in SYNCS and sync.target == write.target and sync.result == 0
                if same and sync.start >= write.end and sync.end <= until:
                    return write
    return None


def bodies_synced(trace, agency, began, until):
    found = trace.files.get((agency, "vault/bodies"), [])
    written = [c for c in found if c.name in WRITES and c.start >= began]
    return any(
        s.name in SYNCS and s.result == 0 and s.target == w.target and s.start >= w.end and s.end <= until
        for w in written
        for s in found
    )


def record_bytes(record):
    """`r-` and 26 characters of base32 are 16 bytes, which stand so in every journal."""
    text = record.removeprefix("r-").upper()
    raw = base64.b32decode(text + "=" * (-len(text) % 8))
    if len(raw) != 16:
        raise ValueError(f"`{record}` is not a record's id")
    return raw


def check(folder, trace, voters):
    """What is missing for one operation, and a line about it."""
    kind, agency = ((folder / name).read_text().strip() for name in ("kind", "agency"))
    answer = json.loads((folder / "answer").read_text())
    holding = record_bytes(answer["record"])
    began, until = window(folder, trace)
    missing = []
    if not synced(trace, agency, "audit", holding, began, until):
        missing.append(f"audit of {agency}")
    said = f"{kind:8} {answer['record']}  {(until - began) * 1000:7.1f} ms  audit {agency}"
    if kind == "publish":
        if answer["state"] != "committed":
            missing.append(f"an answer that it is committed, not {answer['state']}")
        holders = sorted({agency, *answer["held_by"]})
        if len(holders) < 2:
            missing.append("a second holder")
        for holder in holders:
            write = synced(trace, holder, "vault/intake", holding, began, until)
            if not write:
                missing.append(f"intake of {holder}")
            elif not bodies_synced(trace, holder, began, write.start):
                missing.append(f"bodies of {holder}")
        logs = sorted(v for v in voters if synced(trace, v, "ledger/log", holding, began, until))
        if len(logs) * 2 <= len(voters):
            missing.append(f"a majority of the ledger's logs, only {logs}")
        said += f"  held {','.join(holders)}  ledger {','.join(logs)}"
    return said, missing


def judge(folder):
    """Whether everything holds for every operation in a folder."""
    voters = (folder / "voters").read_text().split()
    operations = sorted(p for p in (folder / "ops").iterdir() if p.is_dir())
    if not operations or not voters:
        raise ValueError("no operations or no voters")
    trace = read_nodes(folder)
    bad = 0
    for operation in operations:
        said, missing = check(operation, trace, voters)
        bad += bool(missing)
        print(f"{'MISSING ' if missing else 'ok      '}{said}")
        for what in missing:
            print(f"        not durable before the answer: {what}")
    syncs = [c for found in trace.files.values() for c in found if c.name in SYNCS]
    failed = sum(c.result != 0 for c in syncs)
    print(f"{len(operations)} operations, {bad} not proven; {len(syncs)} syncs of journals seen, {failed} failed")
    return bad == 0 and failed == 0


# A made-up publish and open, each step 1 ms after the one before. Of the steps, `drop` leaves the sync out, `late` puts it
# behind the answer, `failed` lets it return -1, and `other_record` writes another record's id.
RECORD = "r-" + base64.b32encode(bytes(range(16))).decode().rstrip("=").lower()


def made_up(folder, drop=(), late=(), failed=(), other_record=()):
    steps = [("request", "")]
    nodes = "police", "customs"
    steps += [("audit", "police")]
    steps += [(what, n) for n in nodes for what in ("bodies", "intake")]
    steps += [("log", n) for n in nodes] + [("answer", ""), ("open", ""), ("reaudit", "police"), ("opened", "")]
    folders = {"audit": "audit", "reaudit": "audit", "log": "ledger/log"}
    folders |= {"bodies": "vault/bodies", "intake": "vault/intake"}

    def hexed(data):
        return "".join(f"\\x{b:02x}" for b in data)

    clients = {"publish": (41000, []), "open": (41002, [])}
    lines, now = [], 1_700_000_000.0
    for what, node in steps:
        now += 0.001
        if what in folders:
            path = hexed(f"/d/nodes/{node}/data/{folders[what]}/0.seg".encode())
            record = bytes(16) if (what, node) in other_record else bytes(range(16))
            lines.append(f'{now:.6f} write(7<{path}>, "{hexed(b"frame" + record)}", 21) = 21 <0.000100>')
            at = now + (1 if (what, node) in late else 0.0002)
            if (what, node) not in drop:
                result = "-1 EIO (Input/output error)" if (what, node) in failed else "0"
                lines.append(f"{at:.6f} fdatasync(7<{path}>) = {result} <0.000300>")
            continue
        port, client = clients["publish" if what in ("request", "answer") else "open"]
        there, back = f"TCP:[1.1.1.1:{port}->1.1.1.1:17000]", f"TCP:[1.1.1.1:17000->1.1.1.1:{port}]"
        if what in ("request", "open"):
            client.append(f'{now:.6f} writev(9<{there}>, [{{iov_base="\\x17", iov_len=1}}], 1) = 1 <0.000100>')
        else:
            lines.append(f'{now:.6f} writev(9<{back}>, [{{iov_base="\\x17", iov_len=1}}], 1) = 1 <0.000100>')
            client.append(f'{now + 0.0001:.6f} recvfrom(9<{there}>, "\\x17", 4096, 0, NULL, NULL) = 1 <0.000100>')
            client.append(f'{now + 0.0004:.6f} write(1<\\x2f>, "\\x7b", 1) = 1 <0.000100>')
    (folder / "nodes.1").write_text("\n".join(lines) + "\n")
    (folder / "voters").write_text("police\ncustoms\nstate-security\n")
    for kind, (_, client) in clients.items():
        operation = folder / "ops" / kind
        operation.mkdir(parents=True)
        answer = {"record": RECORD, "state": "committed", "held_by": list(nodes)}
        for name, text in ("kind", kind), ("agency", "police"), ("answer", json.dumps(answer)):
            (operation / name).write_text(text)
        (operation / "client.1").write_text("\n".join(client) + "\n")


def self_test():
    """Good traces pass; each single fault in them is found."""
    places = [("audit", "police"), ("reaudit", "police"), ("log", "police"), ("log", "customs")]
    places += [(what, node) for what in ("bodies", "intake") for node in ("police", "customs")]
    cases = [("nothing is wrong", {}, True)]
    cases += [(f"no sync: {p}", {"drop": [p]}, False) for p in places]
    cases += [(f"a sync behind the answer: {p}", {"late": [p]}, False) for p in places]
    cases += [(f"a sync that fails: {p}", {"failed": [p]}, False) for p in places]
    # What the files of bodies hold is sealed, so it cannot be told whose it is.
    cases += [(f"another record: {p}", {"other_record": [p]}, False) for p in places if p[0] != "bodies"]
    wrong = []
    for name, faults, good in cases:
        with tempfile.TemporaryDirectory() as folder:
            made_up(Path(folder), **faults)
            print(f"-- {name}")
            if judge(Path(folder)) is not good:
                wrong.append(name)
    print(f"self-test: {len(cases)} traces, {len(wrong)} judged wrongly {wrong or ''}")
    return not wrong


def broken():
    """What a person may look at: one sync of a ledger's log is missing."""
    with tempfile.TemporaryDirectory() as folder:
        made_up(Path(folder), drop=[("log", "customs")])
        return judge(Path(folder))


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    special = {"--self-test": self_test, "--broken": broken}
    try:
        good = special[sys.argv[1]]() if sys.argv[1] in special else judge(Path(sys.argv[1]))
    except (OSError, ValueError, KeyError) as error:
        print(f"cannot judge: {error}", file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

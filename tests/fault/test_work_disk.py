"""No space left below running tasks: under the spool of records, under logs, under the ledger. What cannot be kept ends its task with a reason that says what to do, or
waits until there is room; nothing is lost, and other tasks are not harmed."""
import os
import re
import subprocess

from tutti_process import binary, until

ENDED = ("finished", "failed", "canceled")
LIMIT_S = 120
DESCRIBE = "#!/bin/sh\n[ \"$1\" = --describe ] && { echo '{}'; exit; }\n"
GIVES = """awk 'BEGIN { for (i = 0; i < %d; i++) printf "{\\"rows\\":[{\\"id\\":%%d,\\"text\\":\\"%%01000d\\"}]}\\n", i, 0 }' >&3"""
TALKS = "echo begun\nuntil [ -e %s ]; do sleep 0.05; done\nhead -c 500000 /dev/zero | tr '\\0' x | fold -w 999\necho the end"


def start(t, program, **more):
    answer = t.post("/v1/executions", {"program": program, "settings": {}, **more})
    assert answer.status == 201, answer
    return answer.json["task"]


def ended(t, task):
    return until(lambda: (lambda s: s if s.get("state") in ENDED else None)(t.get("/v1/tasks/%d" % task).json), "task %d ends" % task, LIMIT_S)


def room(place):
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def test_no_space_below_tasks(tutti, small_disk, tmp_path):
    place, programs, go = small_disk("8m"), tmp_path / "programs", tmp_path / "go"
    programs.mkdir()
    for name, script in (("talks", TALKS % go), ("gives", GIVES % 9000), ("gives_few", GIVES % 50)):
        (programs / name).write_text(DESCRIBE + script + "\n")
        (programs / name).chmod(0o755)
    t = tutti(workers=2, start=False, args=["--programs", str(programs), "--root", str(tmp_path)])
    t.data = place / "data"
    t.start()
    out, few = ({"type": "csv", "settings": {"path": str(tmp_path / name)}} for name in ("out.csv", "few.csv"))
    talks = start(t, "talks")
    until(lambda: t.get("/v1/tasks/%d/log" % talks).body == b"begun\n", "it runs", LIMIT_S)

    # The spool of one task takes all that is left: that task has failed, and the room is there again.
    refused = ended(t, start(t, "gives", storage=out))
    assert refused["state"] == "failed" and "No space left on device: free some space on its disk" in refused["reason"], refused
    assert not (tmp_path / "out.csv").exists()
    assert ended(t, start(t, "gives_few", storage=few))["state"] == "finished" and (tmp_path / "few.csv").read_text().count("\n") == 51

    # Nothing is left at all. What is acknowledged meanwhile is kept; what is not is said with a reason.
    (place / "filler").write_bytes(b"x" * (room(place) - 4096))
    with open(place / "filler", "ab", buffering=0) as filler:
        while room(place):
            filler.write(b"x" * room(place))
    taken, said = [], []
    for _ in range(40):
        answer = t.post("/v1/tasks", {"kind": "probe"})
        if answer.status == 200:
            taken.append(answer.json["id"])
        else:
            said.append(answer)
    assert said and all(answer.status == 507 and "free some space on its disk" in answer.json["detail"] for answer in said), said
    go.touch()
    until(lambda: re.search(r"path=/v1/tasks/%d/log .*No space left" % talks, t.log()), "what it writes finds no room", LIMIT_S)
    assert t.get("/v1/tasks/%d" % talks).json["state"] == "started" and not t.get("/health").json["ledger"]["ok"]

    (place / "filler").unlink()
    for task in taken:
        assert ended(t, task)["state"] == "finished"
    last = ended(t, talks)
    assert last["state"] == "finished" and last["attempts"] == 1, last
    log = subprocess.run([binary(), "execution", "log", str(talks), "--data", t.data], capture_output=True, timeout=60).stdout
    assert log.startswith(b"begun\n") and log.endswith(b"the end\n") and log.count(b"x") == 500_000, (len(log), log[-300:])  # neither less nor twice
    assert ended(t, start(t, "gives_few", storage=few))["state"] == "finished"

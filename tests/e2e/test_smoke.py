"""A file goes in, a file comes out, with a crash on the way: what everything else rests on."""
import json

import pytest
from tutti_process import alive


def scramble(t, name, record_count):
    (t.cwd / "in.jsonl").write_text("".join('{"n":%d}\n' % n for n in range(record_count)))
    params = {"job_name": name, "reader_name": "JsonlReader", "writer_name": "JsonlWriter"}
    answer = t.post("/scramble", {"input_file_path": "in.jsonl", "output_file_path": "out.jsonl"}, params=params)
    assert answer.status == 200, answer.body


def work_off(t, name, batch_size, at_batch=lambda number: None):
    for number in range(10000):
        items = t.post("/serve", params={"job_name": name, "batch_size": batch_size}).json
        if not items:
            return
        at_batch(number)
        results = [[id, {"twice": 2 * value["n"]}] for id, value in items]
        assert t.post("/receive", results, params={"job_name": name, "overwrite": "false"}).json is None


def outputs(t):
    return sorted(json.loads(line)["twice"] for line in (t.cwd / "out.jsonl").read_text().splitlines())


def test_file_in_file_out(tutti):
    t = tutti()
    scramble(t, "small", 1000)
    work_off(t, "small", 100)
    assert outputs(t) == list(range(0, 2000, 2))
    assert t.get("/v1/jobs/small").json["status"] == "COMPLETE"
    assert t.stop() == 0


def test_killed_server_comes_back_and_nothing_is_lost_or_doubled(tutti):
    t = tutti()
    scramble(t, "crash", 1000)
    work_off(t, "crash", 50, lambda number: t.kill_server() if number in (3, 9) else None)
    assert outputs(t) == list(range(0, 2000, 2))


def test_killed_supervisor_takes_its_server_along(tutti):
    t = tutti()
    scramble(t, "gone", 10)
    server = t.server_pid
    t.kill()
    assert not alive(server)
    t.restart()
    work_off(t, "gone", 100)
    assert outputs(t) == list(range(0, 20, 2))


def test_restart_on_the_same_port(tutti):
    t = tutti()
    before = t.url
    t.restart(same_port=True)
    assert t.url == before
    assert t.get("/livez").status == 200


def test_a_start_that_fails_says_why(tutti):
    with pytest.raises(AssertionError, match="no row of the system-call table"):
        tutti(env={"TUTTI_FAULT": "nonsense:1:EIO"})

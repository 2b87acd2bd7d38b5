"""The older items service's routes: every acceptance check of its test suite, and every status and text that its users know."""
import csv

import pytest

from wire import Wire, numbered, read_jsonl, write_jsonl


@pytest.fixture
def server(common):
    return common


@pytest.fixture
def wire(server):
    write_jsonl(server.cwd / "in.jsonl", numbered(30))
    return Wire(server.url)


def counts(wire, name):
    report = wire.report(name)
    return report["served"], report["received"]


# ---- acceptance checks of the older test suite ----


def test_a_started_job_has_a_report(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    report = wire.report("j")
    assert (report["served"], report["received"], report["status"]) == (0, 0, "IN_PROGRESS")


def test_served_items_are_counted(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    assert [i for i, _ in wire.serve("j", 5)] == [0, 1, 2, 3, 4]
    assert counts(wire, "j") == (5, 0)


def test_a_clean_start_forgets(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 5)
    wire.start("j", "in.jsonl", "out.jsonl", clean_start="True")
    assert counts(wire, "j") == (0, 0)
    assert len(wire.serve("j", 100)) == 30


def test_a_second_start_is_refused(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    answer = wire.scramble("j", "in.jsonl", "out.jsonl")
    assert answer.status == 400
    assert answer.json() == {"detail": "Job j already exists."}


def test_a_repair_serves_again_what_was_in_flight(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    items = wire.serve("j", 10)
    wire.give("j", items[:5])
    assert counts(wire, "j") == (5, 5)
    wire.start("j", "in.jsonl", "out.jsonl", cont="True", force_overwrite="True")
    assert counts(wire, "j") == (0, 5)
    assert wire.drain("j") == list(range(5, 30))
    assert sorted(row["n"] for row in read_jsonl(server.cwd / "out.jsonl")) == list(range(30))


def test_a_repair_needs_no_force(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 10)
    wire.start("j", "in.jsonl", "out.jsonl", cont="True")
    assert counts(wire, "j") == (0, 0)


def test_a_write_job_takes_and_does_not_serve(wire, server):
    wire.start("errors", output="errors.jsonl", reader="", mode="write")
    wire.give("errors", [[1, {"a": 1}], [2, {"a": 2}], [3, {"a": 3}]])
    answer = wire.post("/serve", job_name="errors", batch_size=1)
    assert (answer.status, answer.detail) == (400, "Trying to read from a write-only job")
    assert read_jsonl(server.cwd / "errors.jsonl") == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_read_job_serves_and_does_not_take(wire):
    wire.start("j", "in.jsonl", writer="", mode="read")
    items = wire.serve("j", 10)
    assert len(items) == 10
    answer = wire.receive("j", items)
    assert (answer.status, answer.detail) == (400, "Trying to send to a read-only job")


def test_a_read_job_is_complete_when_all_is_served(wire):
    wire.start("j", "in.jsonl", writer="", mode="read")
    wire.serve("j", 30)
    assert wire.serve("j", 30) == []
    assert wire.report("j")["status"] == "COMPLETE"


def test_marked_items(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    answer = wire.post("/mark-errors", [20, 21], job_name="j")
    assert (answer.status, answer.body) == (200, b"null")
    items = wire.serve("j", 5)
    wire.give("j", items)
    answer = wire.post("/mark-errors", [22, 3], job_name="j")
    assert (answer.status, answer.detail) == (400, "Item already received: 3")
    served = [i for i, _ in wire.serve("j", 100)]
    assert served == [i for i in range(5, 30) if i not in (20, 21)], "the list is atomic: 22 is not marked"


def test_marked_items_leave_the_flight_and_the_job_completes(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    items = wire.serve("j", 30)
    assert wire.post("/mark-errors", [0, 1], job_name="j").status == 200
    assert counts(wire, "j") == (28, 0)
    wire.give("j", items[2:])
    report = wire.report("j")
    assert (report["served"], report["received"], report["errors"], report["status"]) == (0, 28, 2, "COMPLETE")


def test_a_result_supersedes_an_error(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    items = wire.serve("j", 30)
    assert wire.post("/mark-errors", [7], job_name="j").status == 200
    wire.give("j", items)
    report = wire.report("j")
    assert (report["received"], report["errors"]) == (30, 0)
    assert wire.errors("j") == []
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 30


def test_clean_with_and_without_output(wire, server):
    for name, flag, kept in (("a", None, False), ("b", "true", False), ("c", "false", True)):
        wire.start(name, "in.jsonl", f"{name}.jsonl")
        items = wire.serve(name, 10)
        wire.give(name, items[:5])
        assert counts(wire, name) == (5, 5)
        answer = wire.get("/clean", job_name=name, output=flag)
        assert (answer.status, answer.body) == (200, b"null")
        assert (server.cwd / f"{name}.jsonl").exists() == kept
        assert counts(wire, name) == (0, 5)


def test_a_cleaned_output_frees_its_path(wire):
    wire.start("a", "in.jsonl", "out.jsonl")
    assert wire.get("/clean", job_name="a").status == 200
    wire.start("b", "in.jsonl", "out.jsonl")


def test_clean_of_an_unknown_job(wire):
    answer = wire.get("/clean", job_name="nobody")
    assert (answer.status, answer.json()) == (400, {"detail": 'Could not find a job name "nobody"'})


def test_clean_of_a_job_without_a_writer(wire):
    wire.start("j", "in.jsonl", writer="", mode="read")
    answer = wire.get("/clean", job_name="j")
    assert (answer.status, answer.detail) == (400, "No cleaning method found for writer type \"<class 'NoneType'>\"")


def test_a_deleted_job_has_an_empty_report(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", wire.serve("j", 5))
    answer = wire.get("/delete", job_name="j")
    assert (answer.status, answer.body) == (200, b"null")
    assert wire.report("j") == {}
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 5
    wire.start("other", "in.jsonl", "out.jsonl")


def test_delete_of_an_unknown_job_is_fine(wire):
    answer = wire.get("/delete", job_name="nobody")
    assert (answer.status, answer.body) == (200, b"null")


def test_delete_matches_the_name_literally(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    for name in ("*", "?", "[a-z]", "JOB", "TOKEN"):
        assert wire.get("/delete", job_name=name).body == b"null"
    assert wire.report("j") != {}


@pytest.mark.parametrize("output, kept", [("True", False), ("False", True), (None, True)])
def test_purge(wire, server, output, kept):
    for name in ("a", "b"):
        wire.start(name, "in.jsonl", f"{name}.jsonl")
        wire.give(name, wire.serve(name, 5))
    wire.start("reads", "in.jsonl", writer="", mode="read")
    answer = wire.get("/purge", output=output, token="None")
    assert (answer.status, answer.body) == (200, b"null")
    assert [wire.report(name) for name in ("a", "b", "reads")] == [{}, {}, {}]
    assert (server.cwd / "a.jsonl").exists() == kept
    wire.start("new", "in.jsonl", "a.jsonl")
    assert wire.get("/health").json()["Number of jobs"] == 1


def test_two_jobs_cannot_share_an_output(wire):
    wire.start("a", "in.jsonl", "out.jsonl")
    answer = wire.scramble("b", "in.jsonl", "out.jsonl")
    assert (answer.status, answer.json()) == (400, {"detail": "Output path not allowed `out.jsonl`."})
    assert wire.report("b") == {}


def test_job_tokens(wire):
    wire.start("j", "in.jsonl", "out.jsonl", token="right")
    items = wire.serve("j", 5, token="right")
    assert len(items) == 5
    refusal = (403, {"detail": "Wrong or missing authentication token"})
    for token in ("wrong", "", None):
        for answer in (
            wire.post("/serve", job_name="j", token=token),
            wire.receive("j", items, token=token),
            wire.post("/mark-errors", [1], job_name="j", token=token),
            wire.get("/clean", job_name="j", token=token),
            wire.get("/delete", job_name="j", token=token),
        ):
            assert (answer.status, answer.json()) == refusal
    wire.give("j", items, token="right")


def test_a_start_over_needs_the_token(wire):
    wire.start("j", "in.jsonl", "out.jsonl", token="right")
    for how in ("clean_start", "cont"):
        answer = wire.scramble("j", "in.jsonl", "out.jsonl", token="mine", **{how: "true"})
        assert answer.status == 403
    assert len(wire.serve("j", 1, token="right")) == 1
    wire.start("j", "in.jsonl", "out.jsonl", token="right", clean_start="true")
    assert wire.post("/serve", job_name="j").status == 403


def test_the_token_goes_in_a_header_too(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl", token="right")
    assert len(Wire(server.url, token="right").serve("j", 5)) == 5
    assert Wire(server.url, token="wrong").post("/serve", job_name="j").status == 403


def test_a_spurious_token_is_ignored(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    assert len(wire.serve("j", 5, token="whatever")) == 5


def test_an_empty_token_is_none(wire):
    wire.start("j", "in.jsonl", "out.jsonl", token="")
    assert len(wire.serve("j", 5)) == 5


def test_the_token_check_comes_between_validation_and_the_job(wire):
    wire.start("j", "in.jsonl", "out.jsonl", token="right")
    assert wire.post("/serve", job_name="j", batch_size="x").status == 422
    assert wire.receive("j", [["x", {}]], token="wrong").status in (403, 422)


def test_tokens_are_not_in_the_log_nor_in_the_ledger(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl", token="s3cr3t-t0ken")
    wire.serve("j", 5, token="s3cr3t-t0ken")
    assert wire.post("/serve", job_name="j", token="wr0ng-t0ken").status == 403
    server.stop()
    assert "t0ken" not in server.log()
    for path in server.data.rglob("*"):
        if path.is_file():
            assert b"s3cr3t-t0ken" not in path.read_bytes(), path


def write_csv(path, rows):
    with open(path, "w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)


@pytest.mark.parametrize("n", [1, 2, 5, 10, 13, 30, 32])
def test_csv_batches(wire, server, n):
    write_csv(server.cwd / "in.csv", [["n", "text"]] + [[i, f"row {i}"] for i in range(30)])
    wire.start("j", "in.csv", "out.csv", reader="CsvReader", writer="CsvWriter")
    assert wire.serve("j", n) == [[i, [i, f"row {i}"]] for i in range(min(n, 30))]


def test_known_ids_are_skipped(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    items = wire.serve("j", 5)
    wire.give("j", items[:2])
    assert wire.post("/mark-errors", [10], job_name="j").status == 200
    assert [i for i, _ in wire.serve("j", 10)] == [5, 6, 7, 8, 9, 11, 12, 13, 14, 15]


def test_an_empty_list_writes_nothing(wire, server):
    (server.cwd / "out.jsonl").write_text('{"old": 1}\n')
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", [])
    assert (server.cwd / "out.jsonl").read_text() == '{"old": 1}\n'


# ---- scramble ----


def refused(answer, *parts):
    assert answer.status == 400, answer
    for part in parts:
        assert part in answer.detail
    return answer.detail


def test_a_missing_input(wire):
    refused(wire.scramble("j", "absent.jsonl", "out.jsonl"), "[Errno 2] No such file or directory: ", "absent.jsonl")
    assert wire.report("j") == {}
    assert wire.get("/v1/jobs").json()["jobs"] == []


def test_a_missing_input_makes_no_output(wire, server):
    refused(wire.scramble("j", "absent.jsonl", "out.jsonl"))
    assert not (server.cwd / "out.jsonl").exists()


def test_mistakes_in_a_start_are_told(wire, server):
    (server.cwd / "folder").mkdir()
    (server.cwd / "empty.csv").write_bytes(b"")
    refused(wire.scramble("j", "in.jsonl", "out.jsonl", reader="PickleReader"), "PickleReader", "JsonlReader")
    refused(wire.scramble("j", "in.jsonl", "out.jsonl", writer="os"), "os", "JsonlWriter")
    refused(wire.scramble("j", output="out.jsonl"), "input_file_path")
    refused(wire.scramble("j", "in.jsonl"), "output_file_path")
    refused(wire.scramble("j", "folder", "out.jsonl"), "folder")
    refused(wire.scramble("j", "in.jsonl", "folder"), "folder")
    refused(wire.scramble("j", "in.jsonl", "absent/out.jsonl"), "absent")
    refused(wire.scramble("j", "in.jsonl", "out.jsonl", mode="append"), "append", "read-write")
    refused(wire.scramble("j", 5, "out.jsonl"), "input_file_path")
    refused(wire.scramble("j", "in.jsonl", ["out.jsonl"]), "output_file_path")
    refused(wire.scramble("j", "empty.csv", "out.csv", reader="CsvReader", writer="CsvWriter"), "empty.csv")
    refused(wire.scramble("j", "in.jsonl", "in.jsonl"), "in.jsonl")
    assert wire.report("j") == {}
    assert len((server.cwd / "in.jsonl").read_text().splitlines()) == 30


@pytest.mark.parametrize("name", ["", "a*", "a?b", "[a]", "a\\b", "a/b", "../a", "JOB", "TOKEN", "a\nb", "a\0b", "x" * 201])
def test_names_that_are_refused(wire, name):
    refused(wire.scramble(name, "in.jsonl", "out.jsonl"), "name")


@pytest.mark.parametrize("name", ["a:b", "a b", "Größe", "名前", "a&b=c", "a%20b", "JOB2", "x" * 200, "'; drop table x"])
def test_names_that_are_fine(wire, name):
    wire.start(name, "in.jsonl", "out.jsonl")
    wire.give(name, wire.serve(name, 5))
    assert counts(wire, name) == (0, 5)
    assert [job["name"] for job in wire.get("/v1/jobs").json()["jobs"]] == [name]
    assert wire.get("/delete", job_name=name).body == b"null"
    assert wire.report(name) == {}


def test_names_that_are_prefixes(wire, server):
    for name in ("a", "a:b", "a:1"):
        wire.start(name, "in.jsonl", f"{name}.jsonl")
        wire.give(name, wire.serve(name, 3))
    server.restart()
    wire = Wire(server.url)
    assert wire.get("/delete", job_name="a").body == b"null"
    assert [counts(wire, name) for name in ("a:b", "a:1")] == [(0, 3), (0, 3)]


def test_a_clean_start_of_a_new_name(wire):
    wire.start("j", "in.jsonl", "out.jsonl", clean_start="True")
    assert len(wire.drain("j")) == 30


def test_a_repair_of_a_new_name(wire):
    wire.start("j", "in.jsonl", "out.jsonl", cont="True")
    assert len(wire.drain("j")) == 30


def test_many_start_one_name(wire):
    """The documented pattern: the first one wins, the others go on with its job."""
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: wire.scramble("j", "in.jsonl", "out.jsonl"), range(8)))
    assert sorted(a.status for a in answers) == [200] + [400] * 7
    assert {a.detail for a in answers if a.status == 400} == {"Job j already exists."}
    assert len(wire.drain("j")) == 30


def test_a_repair_with_other_files_is_refused(wire, server):
    write_jsonl(server.cwd / "other.jsonl", numbered(3))
    wire.start("j", "in.jsonl", "out.jsonl")
    refused(wire.scramble("j", "other.jsonl", "out.jsonl", cont="true"), "another input", "clean_start")
    refused(wire.scramble("j", "in.jsonl", "other-out.jsonl", cont="true"), "out.jsonl", "clean_start")


def test_unknown_metadata_is_named_in_a_warning(wire):
    answer = wire.scramble("j", "in.jsonl", "out.jsonl", metadata={"colour": "red", "chunk_size": 5})
    assert answer.status == 200
    assert "colour" in answer.headers["Warning"] and "chunk_size" not in answer.headers["Warning"]


# ---- serve ----


def test_serve_of_an_unknown_job(wire):
    wire.start("headlines", "in.jsonl", "out.jsonl")
    answer = wire.post("/serve", job_name="headline")
    assert answer.status == 400
    assert answer.detail.startswith("No known job: headline") and "headlines" in answer.detail


@pytest.mark.parametrize("n", [0, -1, -10**30])
def test_batches_of_nothing(wire, n):
    wire.start("j", "in.jsonl", "out.jsonl")
    assert wire.serve("j", n) == []
    assert counts(wire, "j") == (0, 0)


def test_a_huge_batch_size(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    assert len(wire.serve("j", 10**40)) == 30


def test_the_default_batch(wire, server):
    write_jsonl(server.cwd / "many.jsonl", numbered(150))
    wire.start("j", "many.jsonl", "out.jsonl")
    assert len(wire.post("/serve", job_name="j").json()) == 100
    assert len(wire.post("/serve", job_name="j").json()) == 50
    assert wire.post("/serve", job_name="j").body == b"[]"


def test_a_body_sent_to_serve_is_ignored(wire):
    wire.start("j", "in.jsonl", "out.jsonl")
    answer = wire.post("/serve", b"\0not json", job_name="j", batch_size=3)
    assert (answer.status, len(answer.json())) == (200, 3)


def test_scalars_are_served(wire, server):
    (server.cwd / "scalars.jsonl").write_text('1\n"two"\nnull\ntrue\n[4]\n3.50\n')
    wire.start("j", "scalars.jsonl", "out.jsonl")
    answer = wire.post("/serve", job_name="j")
    assert answer.body == b'[[0,1],[1,"two"],[2,null],[3,true],[4,[4]],[5,3.50]]'


def test_members_that_the_original_dropped(wire, server):
    line = '{"_sa_state": 1, "a": {"_sab": [{"_sa": null}]}}'
    (server.cwd / "sa.jsonl").write_text(line + "\n")
    wire.start("j", "sa.jsonl", "out.jsonl")
    assert wire.post("/serve", job_name="j").text == f"[[0,{line}]]"


# ---- receive ----


@pytest.mark.parametrize("route, body", [("/serve", None), ("/receive", [[0, {}]]), ("/mark-errors", [0])])
def test_unknown_jobs(wire, route, body):
    answer = wire.post(route, body, job_name="nobody", overwrite="false")
    assert answer.status == 400 and answer.detail.startswith("No known job: nobody")


def test_known_ids_of_a_batch_are_taken(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 5)
    wire.give("j", [[0, {"r": 0}], [99, {"r": 99}], [1, {"r": 1}]])
    assert read_jsonl(server.cwd / "out.jsonl") == [{"r": 0}, {"r": 1}]


def test_a_batch_of_unknown_ids_is_refused(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    refused(wire.receive("j", [[98, {}], [99, {}]]), "98", "99")
    assert counts(wire, "j") == (0, 0)


def test_items_that_were_never_served_are_taken(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.give("j", [[29, {"r": 29}]])
    assert 29 not in wire.drain("j")
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 30


@pytest.mark.parametrize("overwrite", ["true", "false"])
def test_the_first_result_wins(wire, server, overwrite):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 3)
    wire.give("j", [[0, {"r": "first"}]])
    wire.give("j", [[0, {"r": "second"}]], overwrite=overwrite)
    wire.give("j", [[1, {"r": "one"}], [1, {"r": "two"}], [2, {"r": 2}], [0, {"r": "third"}]], overwrite=overwrite)
    assert read_jsonl(server.cwd / "out.jsonl") == [{"r": "first"}, {"r": "one"}, {"r": 2}]
    assert wire.report("j")["duplicates"] == 3


def test_write_jobs_are_idempotent(wire, server):
    wire.start("log", output="log.jsonl", reader="", mode="write")
    for _ in range(3):
        wire.give("log", [[7, {"e": 7}], [10**15, {"e": "far"}]])
    assert read_jsonl(server.cwd / "log.jsonl") == [{"e": 7}, {"e": "far"}]
    assert wire.report("log")["status"] == "IN_PROGRESS"


def test_write_jobs_survive_a_restart(wire, server):
    wire.start("log", output="log.jsonl", reader="", mode="write")
    wire.give("log", [[i * 1000, {"e": i}] for i in range(100)])
    server.restart()
    wire = Wire(server.url)
    wire.give("log", [[i * 1000, {"e": "again"}] for i in range(101)])
    assert read_jsonl(server.cwd / "log.jsonl") == [{"e": i} for i in range(100)] + [{"e": "again"}]


def test_arrays_stay_arrays(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.serve("j", 10)
    values = [["ab", "cd"], [["a", 1], ["b", 2]], [], {}, [[]], [{"a": "b"}]]
    wire.give("j", list(enumerate(values)))
    assert read_jsonl(server.cwd / "out.jsonl") == values


def test_coerced_ids(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    answer = wire.post("/receive", b'[["5", {"r":5}], [7.9, {"r":7}], [true, {"r":1}], [" 8 ", {"r":8}]]', job_name="j", overwrite="False")
    assert answer.body == b"null"
    assert read_jsonl(server.cwd / "out.jsonl") == [{"r": 5}, {"r": 7}, {"r": 1}, {"r": 8}]
    assert [i for i, _ in wire.serve("j", 8)] == [0, 2, 3, 4, 6, 9, 10, 11]


def test_complete_and_reopened(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl")
    wire.drain("j")
    assert wire.report("j")["status"] == "COMPLETE"
    server.restart()
    wire = Wire(server.url)
    assert wire.report("j")["status"] == "COMPLETE" and wire.report("j")["received"] == 30
    assert wire.scramble("j", "in.jsonl", "out.jsonl").detail == "Job j already exists."
    refused(wire.scramble("k", "in.jsonl", "out.jsonl"), "Output path not allowed `out.jsonl`.")
    wire.start("j", "in.jsonl", "out.jsonl", cont="true")
    assert wire.serve("j") == []
    assert len(read_jsonl(server.cwd / "out.jsonl")) == 30


# ---- health ----


def test_health_before_and_after_a_job_is_done(wire):
    health = wire.get("/health").json()
    assert (health["Redis status"], health["Number of jobs"], health["Number of finished jobs"]) == ("Online", 0, [])
    wire.start("done", "in.jsonl", "out.jsonl")
    wire.start("open", "in.jsonl", "open.jsonl")
    wire.drain("done")
    health = wire.get("/health").json()
    assert (health["Number of jobs"], health["Number of finished jobs"]) == (2, ["done"])


def test_a_broken_job_is_alone(wire, server):
    write_jsonl(server.cwd / "gone.jsonl", numbered(5))
    wire.start("broken", "gone.jsonl", "broken.jsonl")
    wire.start("sound", "in.jsonl", "out.jsonl")
    wire.give("broken", wire.serve("broken", 2))
    server.stop()
    (server.cwd / "gone.jsonl").unlink()
    server.restart()
    wire = Wire(server.url)
    assert wire.get("/health").json()["broken_jobs"] == 1
    report = wire.report("broken")
    assert report["status"] == "BROKEN" and "gone.jsonl" in report["detail"] and report["received"] == 2
    refused(wire.post("/serve", job_name="broken"), "broken", "gone.jsonl")
    assert len(wire.drain("sound")) == 30


def test_a_broken_job_is_repaired_when_its_input_is_back(wire, server):
    path = write_jsonl(server.cwd / "gone.jsonl", numbered(5))
    wire.start("j", "gone.jsonl", "out-gone.jsonl")
    wire.give("j", wire.serve("j", 2))
    server.stop()
    path.rename(server.cwd / "aside.jsonl")
    server.restart()
    wire = Wire(server.url)
    refused(wire.scramble("j", "gone.jsonl", "out-gone.jsonl", cont="true"), "gone.jsonl")
    (server.cwd / "aside.jsonl").rename(path)
    wire.start("j", "gone.jsonl", "out-gone.jsonl", cont="true")
    assert wire.drain("j") == [2, 3, 4]
    assert sorted(row["n"] for row in read_jsonl(server.cwd / "out-gone.jsonl")) == list(range(5))


def test_purge_with_a_master_token(tutti):
    server = tutti(env={"PLANCHET_MASTER_TOKEN": "m4ster"})
    write_jsonl(server.cwd / "in.jsonl", numbered(3))
    wire = Wire(server.url)
    wire.start("j", "in.jsonl", "out.jsonl", token="own")
    for token in (None, "", "None", "own", "m4ste"):
        answer = wire.get("/purge", token=token, output="True")
        assert (answer.status, answer.json()) == (403, {"detail": "Wrong or missing master authentication token"})
    assert len(wire.serve("j", 1, token="m4ster")) == 1
    assert wire.get("/purge", token="m4ster", output="True").body == b"null"
    assert wire.report("j") == {}
    server.stop()
    assert "m4ster" not in server.log()


def test_jobs_of_a_killed_server(wire, server):
    wire.start("j", "in.jsonl", "out.jsonl", token="t")
    items = wire.serve("j", 10, token="t")
    wire.give("j", items[:4], token="t")
    server.kill_server()
    assert counts(wire, "j") == (0, 4)
    assert wire.post("/serve", job_name="j").status == 403
    wire.give("j", items[:6], token="t")
    assert [i for i, _ in wire.serve("j", 100, token="t")] == list(range(6, 30))
    assert [row["n"] for row in read_jsonl(server.cwd / "out.jsonl")] == list(range(6))


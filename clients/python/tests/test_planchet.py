"""The older client's names, against the older routes."""

import inspect
import logging

import pytest

from tutti import PlanchetClient, Unreachable


@pytest.fixture
def planchet(proxy):
    return PlanchetClient(proxy.url)


@pytest.fixture
def metadata(tmp_path):
    (tmp_path / "in.jsonl").write_text("".join('{"n": %d}\n' % i for i in range(20)))
    return {"input_file_path": str(tmp_path / "in.jsonl"), "output_file_path": str(tmp_path / "out.jsonl")}


def test_the_standard_loop(planchet, metadata, output):
    assert planchet.start_job("job", metadata, "JsonlReader", writer_name="JsonlWriter").status_code == 200
    assert planchet.start_job("job", metadata, "JsonlReader", "JsonlWriter").status_code == 400
    batch = planchet.get("job", 6)
    while batch:
        answer = planchet.send("job", [(id, dict(item, twice=item["n"] * 2)) for id, item in batch])
        assert answer.ok and answer.text == "null" and answer.json() is None
        batch = planchet.get("job", 6)
    assert batch == []
    assert sorted(r["n"] for r in output()) == list(range(20))
    report = planchet.get_job_report("job")
    assert (report["received"], report["served"], report["status"]) == (20, 0, "COMPLETE")


def test_refusals_are_none_with_the_reason_in_the_log(planchet, metadata, caplog):
    with caplog.at_level(logging.WARNING):
        assert planchet.get("no such job", 5) is None
    assert "400" in caplog.text and "No known job: no such job" in caplog.text


def test_tokens_and_names_are_escaped(planchet, metadata):
    token = "a&b=c#d+e %41é"
    assert planchet.start_job("j b", metadata, "JsonlReader", "JsonlWriter", token=token).ok
    assert planchet.get("j b", 5) is None
    assert len(planchet.get("j b", 5, token)) == 5
    wrong = planchet.send("j b", [(0, {})])
    assert wrong.status_code == 403 and not wrong and "token" in wrong.json()["detail"]
    with pytest.raises(Exception, match="token"):
        wrong.raise_for_status()
    assert "a%26b%3Dc%23d%2Be%20%2541%C3%A9" in planchet.make_param_url("serve", {"token": token})


def test_lost_answers(planchet, metadata, proxy, output):
    planchet.start_job("job", metadata, "JsonlReader", "JsonlWriter")
    proxy.spoil("/serve", "lose")
    batch = planchet.get("job", 20)
    assert len(batch) == 20
    proxy.spoil("/receive", "lose")
    assert planchet.send("job", batch).ok
    assert len(output()) == 20


def test_state_changing_gets_are_not_repeated_blindly(planchet, metadata, proxy):
    planchet.start_job("job", metadata, "JsonlReader", "JsonlWriter")
    proxy.spoil("/clean", "lose")
    with pytest.raises(Unreachable):
        planchet.clean_job("job")
    assert proxy.count("/clean") == 1


def test_the_last_refusal_is_returned_after_the_retries(planchet, proxy):
    proxy.spoil("/health", 500, times=5)
    assert planchet.check(retries=1) is None
    assert proxy.count("/health") == 2


def test_the_other_calls(planchet, metadata):
    planchet.start_job("job", metadata, "JsonlReader", "JsonlWriter")
    assert planchet.check()
    assert planchet.mark_errors("job", [3]).ok
    assert planchet.delete_job("job").ok
    assert not planchet.get_job_report("job")
    planchet.start_job("job", metadata, "JsonlReader", "JsonlWriter")
    assert planchet.clean_job("job").ok


def test_signatures_are_the_older_ones():
    def parameters(method):
        return list(inspect.signature(getattr(PlanchetClient, method)).parameters)[1:]

    assert parameters("start_job") == ["job_name", "metadata", "reader_name", "writer_name", "clean_start", "token",
                                       "retries", "mode", "cont"]
    assert parameters("get") == ["job_name", "n_items", "token", "retries"]
    assert parameters("send") == ["job_name", "items", "token", "overwrite", "retries"]
    assert parameters("mark_errors") == ["job_name", "ids", "token", "retries"]
    assert parameters("purge_server") == ["master_token", "output", "retries"]
    for method in ("delete_job", "clean_job"):
        assert parameters(method) == ["job_name", "token", "retries"]
    assert parameters("get_job_report") == ["job_name", "retries"] and parameters("check") == ["retries"]

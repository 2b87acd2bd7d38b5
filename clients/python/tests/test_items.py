"""The loop over items: everything exactly once, whatever happens on the way."""

import json
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import eventually
from tutti import Conflict, NotFound, Unreachable, Client
from tutti._wire import dumps


def work_through(job, **options):
    """Do every item; the ids in order of appearance."""
    seen = []
    for item in job.items(progress=False, **options):
        job.done(item, {"n": item.value["n"], "twice": item.value["n"] * 2})
        seen.append(item.id)
    return seen


def numbers(output):
    return sorted(record["n"] for record in output())


def test_every_item_is_in_the_output_once(make_job, output):
    job = make_job(2500)
    assert sorted(work_through(job)) == list(range(2500))
    assert numbers(output) == list(range(2500))
    assert output()[0]["twice"] == output()[0]["n"] * 2
    assert job.status()["status"] == "COMPLETE"


def test_batches_grow_with_fast_work(make_job, proxy):
    work_through(make_job(2500))
    assert proxy.count("/claim") < 12
    assert proxy.count("/results") < 12


def test_batch_fixes_the_number_of_items(make_job, proxy):
    work_through(make_job(20), batch=5)
    claims = [path for path in proxy.requests if "/claim" in path]
    assert claims and all("n=5&" in path for path in claims)


def test_changed_value_is_the_result_when_none_is_given(make_job, output):
    job = make_job(1)
    for item in job.items(progress=False):
        item.value["seen"] = True
        job.done(item)
    assert output() == [{"n": 0, "seen": True}]


def test_values_travel_unchanged(make_job, output):
    said = {"n": 0, "t": "ünï\u2028\"\\ \x00\ud83d\ude00", "big": 2 ** 70, "f": 0.1, "e": [], "o": {}, "z": None}
    said["t"] = said["t"].encode("utf-16", "surrogatepass").decode("utf-16")
    job = make_job(1)
    for item in job.items(progress=False):
        job.done(item, said)
    assert output() == [said]


def test_a_result_that_is_no_json_is_told_at_once_and_the_item_stays(make_job):
    job = make_job(1)
    with job.items(progress=False) as loop:
        item = next(loop)
        with pytest.raises(TypeError):
            job.done(item, object())
        assert job.done(item, [1]) is True
        assert job.done(item, [2]) is False


def test_failed_items_are_tried_again_and_parked_after_the_last_attempt(make_job):
    job = make_job(3, max_attempts=2)
    tries = []
    for item in job.items(progress=False):
        if item.value["n"] == 1:
            tries.append(item.id)
            job.fail(item, "bad luck")
        else:
            job.done(item, item.value)
    assert len(tries) == 2
    (error,) = job.errors()
    assert (error["id"], error["state"], error["reason"]) == (tries[0], "dead", "bad luck")


def test_a_final_failure_is_not_tried_again_but_can_be_sent_back(make_job, output):
    job = make_job(2)
    for item in job.items(progress=False):
        if item.value["n"] == 1:
            job.fail(item, "never", final=True)
        else:
            job.done(item)
    assert [e["state"] for e in job.errors()] == ["error"]
    assert job.retry() == 1
    assert len(work_through(job)) == 1
    assert numbers(output) == [0, 1]


def test_errors_come_page_by_page(make_job, monkeypatch):
    job = make_job(5)
    for item in job.items(progress=False):
        job.fail(item, "no", final=True)
    whole = job.api.errors
    monkeypatch.setattr(job.api, "errors", lambda after=None, **which: whole(limit=2, after=after, **which))
    assert len({e["id"] for e in job.errors()}) == 5


def test_skipped_items_come_back(make_job, output):
    job = make_job(4)
    skipped = []
    for item in job.items(progress=False):
        if not skipped:
            skipped.append(item.id)
            job.skip(item)
        else:
            job.done(item)
    assert numbers(output) == [0, 1, 2, 3]


@pytest.mark.parametrize("leave", ["break", "exception", "interrupt"])
def test_leaving_early_sends_the_finished_and_gives_back_the_rest(make_job, output, leave):
    job = make_job(30)
    errors = {"exception": ZeroDivisionError, "interrupt": KeyboardInterrupt}

    def loop():
        for count, item in enumerate(job.items(batch=10, progress=False, lease=60)):
            if count == 3:
                if leave == "break":
                    break
                raise errors[leave]()
            job.done(item)

    if leave == "break":
        loop()
    else:
        with pytest.raises(errors[leave]):
            loop()
    info = job.status()
    assert (info["received"], info["served"], info["pending"]) == (3, 0, 27)
    assert len(output()) == 3
    assert len(work_through(job)) == 27
    assert numbers(output) == list(range(30))


def test_with_block_ends_the_loop_of_a_kept_iterator(make_job):
    job = make_job(10)
    with job:
        loop = job.items(batch=5, progress=False)
        job.done(next(loop))
        assert job.status()["served"] > 0
    assert job.status()["served"] == 0
    assert job.status()["received"] == 1
    assert list(loop) == []


def test_result_after_the_loop_ended_is_sent_at_once(make_job, output):
    job = make_job(3)
    loop = job.items(batch=3, progress=False)
    item = next(loop)
    loop.close()
    assert job.done(item, {"n": 7}) is True
    assert output() == [{"n": 7}]


def test_lost_answers_change_nothing(make_job, proxy, output):
    job = make_job(40)
    for how in ("lose", "cut", "refuse"):
        proxy.spoil("/claim", how)
        proxy.spoil("/results", how)
    assert sorted(work_through(job, batch=8, wait=5)) == list(range(40))  # no batch waits for its lease to end
    assert numbers(output) == list(range(40))
    assert not proxy.faults


def test_busy_server_is_asked_again_after_the_time_it_said(make_job, proxy, output):
    job = make_job(4)
    proxy.spoil("/claim", 503, times=2, Retry_After="0.3")
    proxy.spoil("/results", 503, Retry_After="0.3")
    began = os.times().elapsed
    assert len(work_through(job)) == 4
    assert os.times().elapsed - began >= 0.9
    assert numbers(output) == [0, 1, 2, 3]


def test_loop_waits_for_what_others_hold_and_takes_it_over(make_job, proxy, output):
    job = make_job(6)
    held = job.api.claim(4, lease_s=600)
    assert len(held.items) == 4
    with ThreadPoolExecutor(1) as pool:
        loop = pool.submit(work_through, job, batch=2)
        # one claim was ours, one brought two items, the next came back empty: the fourth waits again
        eventually(lambda: proxy.count("/claim") >= 4 or loop.done(), "a claim after an empty one")
        job.api.release(lease=held.lease)
        assert len(loop.result(30)) == 6
    assert numbers(output) == list(range(6))


def test_loop_takes_over_what_a_silent_worker_held(make_job, output):
    job = make_job(6)
    job.api.claim(4, lease_s=0.5)
    assert len(work_through(job)) == 6
    assert numbers(output) == list(range(6))


def test_wait_ends_a_loop_that_others_keep_waiting(make_job):
    job = make_job(6)
    held = job.api.claim(4, lease_s=600)
    assert len(work_through(job, wait=0)) == 2
    assert work_through(job, wait=0.3) == []
    job.api.release(lease=held.lease)
    assert len(work_through(job, wait=0)) == 4


def test_renewal_keeps_a_lease_longer_than_its_length(make_job, proxy):
    job = make_job(2)
    with job.items(batch=2, lease=0.6, progress=False) as loop:
        item = next(loop)
        eventually(lambda: proxy.count("/renew") >= 6, "six renewals")
        assert job.api.claim(2).items == []
        job.done(item)


def test_after_a_lost_lease_results_are_still_sent_and_the_rest_goes_to_others(make_job, proxy, caplog):
    job = make_job(4)
    loop = job.items(batch=4, lease=0.5, wait=0, progress=False)
    item = next(loop)
    proxy.spoil("/renew", 409, times=1)
    with caplog.at_level(logging.WARNING):
        eventually(lambda: "lease was lost" in caplog.text, "the loss")
    others = eventually(lambda: job.api.claim(4, lease_s=60).items, "expiry")
    assert item.id in [id for id, _ in others]
    assert job.done(item, {"n": item.value["n"]}) is True
    assert list(loop) == []
    info = job.status()
    assert (info["received"], info["served"]) == (1, 3)


def test_first_result_wins(make_job, output):
    job = make_job(1)
    held = job.api.claim(1, lease_s=0.3)
    assert len(work_through(job)) == 1
    late = job.api.results([(held.items[0][0], dumps({"n": 99}))], lease=held.lease)
    assert (late.accepted, late.duplicate) == (0, 1)
    assert numbers(output) == [0]


def test_an_item_held_too_long_is_given_back(make_job, caplog):
    job = make_job(2)
    loop = job.items(batch=1, hold=0.2, progress=False)
    stuck = next(loop)
    with caplog.at_level(logging.WARNING):
        eventually(lambda: "given back" in caplog.text, "the end of the hold")
    eventually(lambda: job.status()["served"] == 0, "the item back")
    again = [pair[0] for pair in job.api.claim(2, lease_s=60).items]
    assert stuck.id in again
    loop.close()


def test_a_repeated_claim_brings_the_same_batch(make_job):
    job = make_job(9)
    first = job.api.claim(3, request_id="r1")
    assert job.api.claim(3, request_id="r1") == first
    assert job.api.claim(3, request_id="r2").items != first.items


def test_threads_share_one_loop(make_job, output):
    job = make_job(300)
    loop = job.items(progress=False)

    def run(_):
        return sum(job.done(item) for item in loop)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 300
    assert numbers(output) == list(range(300))


def test_threads_with_loops_of_their_own(make_job, output):
    job = make_job(300)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: len(work_through(job, batch=10)), range(4)))
    assert sum(counts) == 300
    assert numbers(output) == list(range(300))


def test_in_hand_bounds_what_a_pool_is_given(make_job, output):
    job = make_job(50)
    most, now, lock = [0], [0], threading.Lock()

    def work(item):
        job.done(item)
        with lock:
            now[0] -= 1

    with ThreadPoolExecutor(2) as pool:
        for item in job.items(in_hand=4, progress=False):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            pool.submit(work, item)
    assert most[0] <= 5
    assert numbers(output) == list(range(50))


def test_items_collected_before_they_are_done(make_job, output):
    job = make_job(100)
    kept = []
    for item in job.items(progress=False):
        kept.append(item)
        if len(kept) == 50:
            for each in kept:
                job.done(each)
            kept = []
    assert numbers(output) == list(range(100))


def test_read_job_needs_no_results(make_job):
    job = make_job(25, mode="read")
    assert sorted(item.value["n"] for item in job.items(progress=False, wait=0)) == list(range(25))


def test_unknown_job_says_so(client):
    with pytest.raises(NotFound) as caught:
        next(client.job("nowhere").items(progress=False))
    assert caught.value.status == 404 and caught.value.code == "not_found"
    assert "nowhere" in str(caught.value)


def test_a_job_deleted_under_the_loop_ends_it(make_job):
    job = make_job(10)
    loop = job.items(batch=2, lease=60, progress=False)
    first = next(loop)
    job.delete()
    with pytest.raises(NotFound):
        job.done(first)
        for item in loop:
            job.done(item)
        loop.close()


def test_server_that_stays_away_is_an_error_in_the_loop(make_job, proxy, server):
    make_job(10)
    with Client(proxy.url, timeout=1.0) as hasty:
        job = hasty.job("words")
        loop = job.items(batch=2, progress=False)
        job.done(next(loop))
        proxy.spoil("/", "refuse", times=1000)
        with pytest.raises(Unreachable):
            for item in loop:
                job.done(item)
        proxy.faults.clear()


@pytest.mark.fake
def test_one_result_too_large_costs_only_its_item(make_job, server, output):
    server.max_value_bytes = 1000
    job = make_job(9)
    for item in job.items(progress=False, batch=9, wait=3):
        job.done(item, {"n": item.value["n"], "x": "x" * (2000 if item.value["n"] == 4 else 1)})
    assert numbers(output) == [0, 1, 2, 3, 5, 6, 7, 8]
    (error,) = job.errors()
    assert error["state"] == "error" and "larger than the limit" in error["reason"]


@pytest.mark.fake
def test_a_broken_job_ends_the_loop_with_a_reason(make_job, server, monkeypatch):
    job = make_job(3)
    monkeypatch.setattr(type(server.jobs["words"]), "status", lambda self: "BROKEN")
    server.jobs["words"].pending = []
    with pytest.raises(Conflict, match="BROKEN"):
        next(job.items(progress=False))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_of_a_fork_neither_works_on_nor_gives_back_its_parents_items(make_job):
    job = make_job(6)
    loop = job.items(batch=6, progress=False)
    item = next(loop)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            loop.close()
            assert job.status()["served"] == 6  # over a connection of its own
            try:
                job.done(item)
            except RuntimeError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert job.status()["served"] == 6
    job.done(item)
    for item in loop:
        job.done(item)
    assert job.status()["received"] == 6


def test_end_of_the_program_sends_and_gives_back(make_job, proxy, tmp_path):
    import subprocess
    import sys
    job = make_job(10)
    script = ("from tutti import Client\n"
              "job = Client(%r).job('words')\n"
              "loop = job.items(batch=10, progress=False)\n"
              "job.done(next(loop))\n"
              "kept = next(loop)\n" % proxy.url)
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30,
                   env=dict(os.environ, PYTHONPATH=folder))
    info = job.status()
    assert (info["received"], info["served"]) == (1, 0)


def test_dumps_escapes_what_utf8_cannot_hold():
    assert json.loads(dumps("\ud800")) == "\ud800"
    assert dumps({"a": "é"}) == '{"a":"é"}'.encode("utf-8")
    deep = []
    for _ in range(200000):
        deep = [deep]
    with pytest.raises(ValueError):
        dumps(deep)

"""Batch sizes, durations, texts of the progress display."""

import io

import pytest

from tutti import progress
from tutti._outbox import chunks
from tutti._pace import MOST_ITEMS, Pacer
from tutti._wire import duration, job_path
from tutti.progress import Progress
from tutti.worker import seconds


def settle(pacer, item_s, rounds=12):
    for _ in range(rounds):
        pacer.note_work(pacer.size, pacer.size * item_s)
        pacer.next_size()
    return pacer.size


@pytest.mark.parametrize("item_s,size", [(0.01, 100), (0.0001, 10000), (3.0, 1), (1e-9, MOST_ITEMS)])
def test_batches_become_about_a_second_of_work(item_s, size):
    assert settle(Pacer(), item_s) == pytest.approx(size, abs=1)


def test_large_items_make_small_batches():
    pacer = Pacer()
    pacer.note_batch(1, 4 << 20)
    assert settle(pacer, 0.001) == 2


def test_slow_items_are_not_fetched_ahead():
    slow, fast = Pacer(), Pacer()
    settle(slow, 60.0)
    settle(fast, 0.01)
    assert not slow.wants_ahead(0)
    assert fast.wants_ahead(10) and not fast.wants_ahead(80)


def test_batch_adapts_down_at_once():
    pacer = Pacer()
    settle(pacer, 0.001)
    assert settle(pacer, 1.0, rounds=8) <= 10


def test_chunks_keep_order_and_bounds():
    results = [(i, b"x" * 1000) for i in range(45000)]
    parts = list(chunks(results))
    assert [pair for part in parts for pair in part] == results
    assert len(parts) > 2 and all(len(part) <= 20000 for part in parts)
    assert list(chunks([])) == []


def test_durations_and_paths():
    assert duration(1.5) == "1500ms" and duration(None) is None
    assert job_path("a/b ü", "claim") == "/v1/jobs/a%2Fb%20%C3%BC/claim"
    with pytest.raises(ValueError):
        job_path("")
    assert (seconds("90"), seconds("500ms"), seconds("1h30m"), seconds("1.5s")) == (90, 0.5, 5400, 1.5)
    for wrong in ("", "x", "5 s", "-1", "1d"):
        with pytest.raises(Exception):
            seconds(wrong)


def test_texts_of_the_progress():
    info = {"name": "w", "status": "IN_PROGRESS", "total": 10000, "received": 4190, "errors": 7, "dead": 3,
            "rate": 530.2, "eta_s": 11}
    assert progress.line(info) == "w: 4,200/10,000 (42 %), 530/s, ETA 11s, 10 errors"
    assert progress.bar(info).startswith("w [##########--------------] 4,200/10,000")
    assert "complete" in progress.line(dict(info, status="COMPLETE"))
    assert progress.line({"name": "w", "total": None, "received": 5}) == "w: 5, 0.0/s, 0 errors"
    assert [progress.span(s) for s in (59, 125, 11220)] == ["59s", "2m05s", "3h07m"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Told:
    def info(self, timeout_s=None):
        return {"name": "w", "status": "COMPLETE", "total": 2, "received": 2}


@pytest.mark.parametrize("stream,start", [(Terminal(), "\r\x1b[Kw [####"), (io.StringIO(), "")])
def test_last_state_is_shown(stream, start):
    Progress(Told(), None, stream).close()
    text = stream.getvalue()
    assert text.startswith(start) and "2/2 (100 %), complete" in text and text.endswith("\n")


def test_progress_can_be_turned_off():
    stream = io.StringIO()
    Progress(Told(), False, stream).close()
    assert stream.getvalue() == ""

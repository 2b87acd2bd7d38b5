"""What a query does not read: pages and row groups that a timeframe or a filter leaves out, by the statistics that others wrote. The answers are those of
the evaluator and of DuckDB; an index that contradicts the pages is as good as none."""
import random
import struct

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
import pyarrow.parquet as pq  # noqa: E402
from parquet_bomb import I32, I64, LIST, STRUCT, fields  # noqa: E402
from query_cases import agree, ask, random_query, random_table, so_many, write  # noqa: E402

ROWS, PAGE, START = 40_000, 400, 1_000_000_000
EVENTS = ["view", "cart", "buy"]
FUNNEL = {"funnel": {"sequence": [{"filter": ["event", "==", e]} for e in EVENTS[:2]]}}


@pytest.mark.parametrize("seed", range(4))
def test_sorted_tables_of_small_pages_agree_with_the_evaluator(tmp_path, seed, is_long):
    rng = random.Random(seed + 200)
    for _ in range(so_many(is_long, 60, 6)):
        by = rng.choice(["ts", "event", "country", "n", "price", "user"])
        rows = sorted(random_table(rng, rng.choice([30, 150]), rng.choice([3, 20]), False), key=lambda row: (1, 0) if row[by] is None or row[by] != row[by] else (0, row[by]))
        write(tmp_path / "p.parquet", rows, rng, write_page_index=True, max_rows_per_page=rng.choice([3, 8]))
        for _ in range(8):
            query = random_query(rng)
            if rng.random() < 0.5:
                query["timeframe"] = {"from": rng.randrange(20), "to": rng.randrange(20, 40)}
            agree(rows, query, ask(tmp_path / "p.parquet", query))


# ---- how much is read ----

def make(path, **more):
    """Times in order, one refund in all, a column of which no two pages have a value in common, and the user as text."""
    rng = random.Random(5)
    event = [rng.choice(EVENTS) for _ in range(ROWS)]
    event[ROWS // 2] = "refund"
    table = pa.table({"user": ["user-%d" % rng.randrange(1000) for _ in range(ROWS)], "ts": [START + i // 3 for i in range(ROWS)], "event": event,
                      "page": [i // PAGE for i in range(ROWS)], "amount": [rng.random() for _ in range(ROWS)], "kind": ["k%02d" % (2 * rng.randrange(20)) for _ in range(ROWS)]})
    pq.write_table(table, path, **{"row_group_size": ROWS // 2, "max_rows_per_page": PAGE, "write_page_index": True, "write_batch_size": 100, "store_schema": False, **more})


def count(path, query):
    answer = ask(path, query)
    return answer, answer["stats"]


def rows_of_users(path, where, having):
    sql = "WITH m AS (SELECT user FROM '%s' WHERE %s GROUP BY user HAVING %s) SELECT (SELECT count(*) FROM m), (SELECT count(*) FROM '%s' WHERE user IN (SELECT user FROM m))"
    return duckdb.sql(sql % (path, where, having, path)).fetchall()[0]


def matching(answer):
    return answer["query"]["matchingGroups"], answer["query"]["matchingGroupRows"]


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    path = tmp_path_factory.mktemp("pruning") / "history.parquet"
    make(path)
    return path


def test_a_timeframe_leaves_pages_out(history):
    _, whole = count(history, FUNNEL)
    answer, part = count(history, {**FUNNEL, "timeframe": {"from": START + 200, "to": START + 300}})
    want = duckdb.sql("SELECT count(DISTINCT user), count(*) FROM '%s' WHERE ts >= %d AND ts < %d" % (history, START + 200, START + 300)).fetchall()[0]
    assert matching(answer) == want and part["scannedRows"] == want[1]
    assert part["prunedRowGroups"] == 1 and part["prunedPages"] > 100 and part["pages"] < 12, part
    assert part["packedBytes"] < whole["packedBytes"] / 4 and whole["prunedPages"] == 0


def test_times_are_not_read_where_no_step_is(history):
    """The group's column is, because all rows of a group count, and so is the event's."""
    query = {"funnel": {"sequence": [{"filter": ["event", "==", "refund"]}, {"filter": ["event", "==", "refund"]}]}}
    answer, stats = count(history, query)
    assert [step["matchingGroups"] for step in answer["funnel"]["sequence"]] == [1, 0] and matching(answer) == (duckdb.sql("SELECT count(DISTINCT user) FROM '%s'" % history).fetchall()[0][0], ROWS)
    both = 2 * ROWS // PAGE
    assert stats["prunedPages"] == ROWS // PAGE - 1 and stats["pages"] <= both + 1, stats


@pytest.mark.parametrize("text, query_filter, where", [
    ("a number, by the bounds of pages", ["page", "==", 7], "page = 7"),
    ("a range, by the bounds of pages", ["page", "<", 3], "page < 3"),
    ("some of a list", ["page", "in", [1, 2, 90, 1000]], "page IN (1, 2, 90, 1000)"),
    ("a time", ["ts", ">=", START + ROWS // 3 - 100], "ts >= %d" % (START + ROWS // 3 - 100)),
])
def test_filters_leave_pages_out(history, text, query_filter, where):
    answer, stats = count(history, {"query": {"conditions": [{"filter": query_filter}]}})
    assert matching(answer) == rows_of_users(history, where, "count(*) >= 1"), text
    assert stats["prunedPages"] >= ROWS // PAGE - 6 - ROWS // PAGE // 2, (text, stats)
    both, _ = count(history, {"query": {"conditions": [{"filters": [dict(zip(("column", "op", "value"), query_filter)), {"column": "event", "op": "==", "value": "buy"}], "target": ["sum", "amount", ">", 0.5]}]}})
    assert matching(both) == rows_of_users(history, where + " AND event = 'buy'", "sum(amount) > 0.5"), text


@pytest.mark.parametrize("more", [{}, {"use_dictionary": False, "bloom_filter_options": {"kind": {"ndv": 20}}}])
@pytest.mark.parametrize("value", ["k01", "k38", "zz"])
def test_a_row_group_without_the_value_costs_its_column_nothing(tmp_path, more, value):
    """k01 lies between the bounds, and in no dictionary and no bloom filter."""
    make(tmp_path / "p.parquet", **more)
    query = {"query": {"conditions": [{"filter": ["kind", "==", value]}]}}
    answer, stats = count(tmp_path / "p.parquet", query)
    assert matching(answer) == rows_of_users(tmp_path / "p.parquet", "kind = '%s'" % value, "count(*) >= 1")
    assert stats["pages"] == (ROWS // PAGE) * (2 if value == "k38" else 1), stats
    answer, _ = count(tmp_path / "p.parquet", {"query": {"conditions": [{"filter": ["kind", "!=", value]}]}})
    assert matching(answer) == rows_of_users(tmp_path / "p.parquet", "kind <> '%s'" % value, "count(*) >= 1")


def test_aggregations_read_pages_of_the_groups_that_match(tmp_path):
    """Of a file that is sorted by user, those of one user."""
    table = pa.table({"user": [i // 20 for i in range(ROWS)], "ts": list(range(ROWS)), "event": [EVENTS[i % 3] for i in range(ROWS)], "amount": [float(i % 97) for i in range(ROWS)]})
    pq.write_table(table, tmp_path / "p.parquet", max_rows_per_page=PAGE, write_batch_size=100, row_group_size=ROWS, write_page_index=True)
    query = {"query": {"conditions": [{"filters": [{"column": "event", "op": "==", "value": "buy"}, {"column": "ts", "op": "<", "value": 18}], "target": ["count", ">=", 6]}],
                       "aggregations": [{"column": "event", "type": "sumPerValue", "otherColumn": "amount"}]}}
    answer, stats = count(tmp_path / "p.parquet", query)
    assert matching(answer) == (1, 20)
    want = dict(duckdb.sql("SELECT event, sum(amount) FROM '%s' WHERE user = 0 GROUP BY event" % (tmp_path / "p.parquet")).fetchall())
    assert answer["query"]["aggregations"][0]["value"] == want
    assert stats["pages"] < ROWS // PAGE + 10, stats


# ---- indexes that are wrong ----

def read_varint(data, at):
    n, shift = 0, 0
    while True:
        n |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return (n >> 1) ^ -(n & 1), at


def read_locations(data, at):
    """The page locations of the offset index that begins there: [offset, bytes, first row]."""
    assert data[at] == 0x19
    n, at = data[at + 1] >> 4, at + 2
    if n == 15:
        n, at = read_varint(data, at)[0] * 2, at + 1  # of one byte, and not zigzag
    places = []
    for _ in range(n):
        place = []
        for _ in range(3):
            value, at = read_varint(data, at + 1)
            place.append(value)
        assert data[at] == 0
        at += 1
        places.append(place)
    return places, at + 1


def write_locations(places):
    return fields([(1, LIST, (STRUCT, [[(1, I64, a), (2, I32, b), (3, I64, c)] for a, b, c in places]))])


def swap(places, member):
    places[1][member], places[2][member] = places[2][member], places[1][member]


WRONG = {
    "as it was": lambda places: None,
    "offsets out of order": lambda places: swap(places, 0),
    "first rows that do not increase": lambda places: swap(places, 2),
    "a first row twice": lambda places: places[2].__setitem__(2, places[1][2]),
    "a page's first row one less": lambda places: places[2].__setitem__(2, places[2][2] - 1),
    "every page moved to the one behind": lambda places: [places[i].__setitem__(2, places[i][2] - 500 + 300) for i in range(1, len(places))],
    "a size that is not the page's": lambda places: places[1].__setitem__(1, places[1][1] - 1),
    "an offset in the page before": lambda places: places[1].__setitem__(0, places[1][0] - 1),
    "a page less": lambda places: places.pop(),
    "a first page that does not begin the row group": lambda places: places.pop(0),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_index_that_is_wrong_changes_no_answer(tmp_path, what):
    path = tmp_path / "p.parquet"
    n = 5000
    pq.write_table(pa.table({"user": [i % 100 for i in range(n)], "ts": [START + i for i in range(n)], "event": [EVENTS[i % 3] for i in range(n)]}), path, max_rows_per_page=500, write_batch_size=100,
                   write_page_index=True, use_dictionary=False, compression="none")
    data = bytearray(path.read_bytes())
    first_page = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    footer = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    head = bytes([0x19, 10 << 4 | 12]) + fields([(1, I64, first_page)])[:-1]  # of the column ts, with ten pages
    at = data.index(head, 0, footer)
    places, end = read_locations(data, at)
    assert [place[2] for place in places] == list(range(0, n, 500))
    WRONG[what](places)
    new = write_locations(places)
    assert len(new) <= end - at
    data[at:end] = new + bytes(end - at - len(new))
    path.write_bytes(data)
    query = {**FUNNEL, "timeframe": {"from": START + 600, "to": START + 1100}}
    answer, stats = count(path, query)
    assert matching(answer) == (100, 500)
    assert [step["matchingGroups"] for step in answer["funnel"]["sequence"]] == [100, 100]
    assert (stats["prunedPages"] > 20) == (what == "as it was"), stats
    assert stats["scannedRows"] == 500

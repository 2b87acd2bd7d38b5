"""The query language row by row: a case for each row of the older service's tables, of its oddities that are done right here, and of the extensions."""
import datetime as dt
import json

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pyarrow.parquet as pq  # noqa: E402
from query_cases import ask, command_line  # noqa: E402

UTC = dt.timezone.utc
NAN = float("nan")
SCHEMA = pa.schema([
    ("user", pa.int64()), ("ts", pa.int64()), ("n", pa.int32()), ("f", pa.float64()), ("f32", pa.float32()), ("b", pa.bool_()), ("s", pa.string()),
    ("day", pa.date32()), ("at", pa.timestamp("us", "UTC")), ("tags", pa.list_(pa.string())), ("nums", pa.list_(pa.int64())), ("event time", pa.int64()), ("we`ird#\\", pa.int64()),
    ("__cond_1", pa.int64()), ("u", pa.uint64())])
ROWS = [
    (1, 10, 5, 1.5, 0.1, True, "alpha", dt.date(2026, 1, 31), dt.datetime(2026, 1, 31, 10, 30, tzinfo=UTC), ["x", "y"], [1, 2], 10, 1, 1, 2**64 - 1),
    (2, 10, None, NAN, None, None, None, None, None, None, None, 10, 1, 1, 2**63),
    (3, 10, -3, -0.5, NAN, False, "Alpha", dt.date(1969, 12, 31), dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), [], [], 10, 2, 1, 2**63 - 1),
    (4, 10, 7, None, 2.0, True, "back\\slash's \"q\"\n", dt.date(2026, 2, 1), dt.datetime(2026, 1, 31, 10, 30, 0, 1, tzinfo=UTC), ["y", None, "z"], [2, 2], 10, 2, 2, None),
]
TABLE = pa.Table.from_pylist([dict(zip(SCHEMA.names, row)) for row in ROWS], schema=SCHEMA)


@pytest.fixture(scope="module", params=[True, False], ids=["dictionary", "plain"])
def part(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("language") / "part.parquet"
    pq.write_table(TABLE, path, use_dictionary=request.param)
    return path


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    path = tmp_path_factory.mktemp("language") / "part.parquet"
    pq.write_table(TABLE, path)
    return path


def groups_where(path, *filters):
    """The ids of the groups that have a row which passes."""
    query = {"query": {"conditions": [{"filters": [dict(zip(("column", "op", "value"), one)) for one in filters]}], "aggregations": [{"column": "user", "type": "countPerValue"}]}}
    return sorted(map(int, ask(path, query)["query"]["aggregations"][0]["value"]))


# ---- filters: each operator over each type that has it, with nulls and NaN ----

FILTERS = [
    ("n", "==", 5, [1]), ("n", "!=", 5, [2, 3, 4]), ("n", ">", 5, [4]), ("n", ">=", 5, [1, 4]), ("n", "<", 5, [3]), ("n", "<=", 5, [1, 3]),
    ("n", ">", 4.5, [1, 4]), ("n", "==", 4.5, []), ("n", "!=", 4.5, [1, 2, 3, 4]), ("n", "==", 5.0, [1]), ("n", "<", 1e300, [1, 3, 4]), ("n", ">=", -9223372036854775808, [1, 3, 4]),
    ("f", "==", 1.5, [1]), ("f", "!=", 1.5, [2, 3, 4]), ("f", ">", -1, [1, 3]), ("f", ">=", 1.5, [1]), ("f", "<", 0, [3]), ("f", "<=", 1.5, [1, 3]),
    ("n", ">=", 9.3e18, []), ("n", "<", -9.3e18, []), ("n", "<", 9.3e18, [1, 3, 4]), ("n", "!=", 1e19, [1, 2, 3, 4]), ("n", ">", -9.3e18, [1, 3, 4]),
    ("u", ">", 9223372036854775807, [1, 2]), ("u", ">=", 9.223372036854775808e18, [1, 2]), ("u", ">", 1e19, [1]), ("u", "<", 1e19, [2, 3]), ("u", "==", 9.223372036854775808e18, [2]),
    ("u", "!=", 9.223372036854775808e18, [1, 3, 4]), ("u", "in", [9.223372036854775808e18, 1], [2]), ("u", "not in", [1, 2], [1, 2, 3, 4]), ("u", "<", 2e19, [1, 2, 3]), ("u", "<", -1, []),
    ("f32", "==", 0.1, [1]), ("f32", "!=", 0.1, [2, 3, 4]), ("f32", ">", 0.1, [4]), ("f32", "<=", 0.1, [1]),
    ("b", "==", True, [1, 4]), ("b", "==", False, [3]), ("b", "!=", True, [2, 3]), ("b", "!=", False, [1, 2, 4]),
    ("s", "==", "alpha", [1]), ("s", "!=", "alpha", [2, 3, 4]), ("s", "contains", "lph", [1, 3]), ("s", "contains", "", [1, 3, 4]), ("s", "contains", "A", [3]),
    ("s", "not contains", "lph", [2, 4]), ("s", "not contains", "", [2]),
    ("s", "regex", "^a", [1]), ("s", "regex", "(?i)^a", [1, 3]), ("s", "regex", "", [1, 3, 4]), ("s", "regex", "h\\b", [4]),
    ("n", "in", [5, 7, 9], [1, 4]), ("n", "in", [5.5, 7], [4]), ("n", "not in", [5, 7], [2, 3]), ("n", "not in", [5.5], [1, 2, 3, 4]), ("f", "in", [1.5, -0.5], [1, 3]),
    ("s", "in", ["alpha", "Alpha", "x"], [1, 3]), ("s", "not in", ["alpha"], [2, 3, 4]), ("b", "in", [True], [1, 4]), ("day", "in", ["2026-01-31", "2026-02-01"], [1, 4]),
    ("day", "==", "2026-01-31", [1]), ("day", "!=", "2026-01-31", [2, 3, 4]), ("day", ">", "2026-01-31", [4]), ("day", ">=", "2026-01-31", [1, 4]), ("day", "<", "1970-01-01", [3]),
    ("day", "==", -1, [3]),
    ("at", "==", "2026-01-31T10:30:00Z", [1]), ("at", "==", "2026-01-31 11:30:00+01:00", [1]), ("at", ">", "2026-01-31T10:30", [4]), ("at", "<", "1970-01-01", [3]),
    ("at", "==", "2026-01-31T10:30:00.000001Z", [4]), ("at", "==", -1, [3]), ("at", "<=", "1969-12-31T23:59:59.999999Z", [3]),
    ("tags", "contains", "y", [1, 4]), ("tags", "not contains", "y", [2, 3]), ("tags", "containsAny", ["x", "z"], [1, 4]), ("tags", "containsAll", ["x", "y"], [1]),
    ("tags", "containsAll", ["y", "y"], [1, 4]), ("tags", "containsAny", ["nope"], []),
    ("tags", "size ==", 0, [3]), ("tags", "size ==", 3, [4]), ("tags", "size !=", 0, [1, 4]), ("tags", "size >", 2, [4]), ("tags", "size >=", 2, [1, 4]), ("tags", "size <", 3, [1, 3]),
    ("tags", "size <=", 0, [3]),
    ("nums", "contains", 2, [1, 4]), ("nums", "containsAll", [1, 2], [1]), ("nums", "containsAny", [1, 9], [1]),
]


@pytest.mark.parametrize("column, op, value, groups", FILTERS, ids=["%s %s %s" % row[:3] for row in FILTERS])
def test_a_filter(part, column, op, value, groups):
    assert groups_where(part, (column, op, value)) == groups


VALUES = ["back\\slash's \"q\"\n", "\\", "'", "\\' or 1==1 or '", "\n", "alpha"]


@pytest.mark.parametrize("text", VALUES, ids=range(len(VALUES)))
def test_values_are_data(part, text):
    """Backslashes, quotes and line breaks in values mean themselves; nothing is run."""
    assert groups_where(part, ("s", "==", text)) == [row[0] for row in ROWS if row[6] == text]
    assert groups_where(part, ("s", "contains", text)) == [row[0] for row in ROWS if row[6] and text in row[6]]


def test_names_are_data(part):
    for name in ("event time", "we`ird#\\", "__cond_1"):
        assert groups_where(part, (name, ">=", 2)) == [row[0] for row in ROWS if row[SCHEMA.names.index(name)] >= 2]
    assert ask(part, {"query": {"aggregations": [{"column": "we`ird#\\", "type": "count"}]}})["query"]["aggregations"][0]["value"] == 4


def test_filters_of_one_row(part):
    assert groups_where(part, ("n", ">", 0), ("b", "==", True)) == [1, 4]
    assert groups_where(part, ("n", ">", 0), ("s", "==", "alpha")) == [1]


# ---- what is accepted, in all its forms ----

FILTER = {"column": "n", "op": ">=", "value": 0}
GOOD = [
    {}, {"timeframe": {}}, {"timeframe": {"from": 0}}, {"timeframe": {"from": 1, "to": 2}}, {"timeframe": {"to": 99.0}}, {"query": {}}, {"query": {"conditions": []}},
    {"query": {"conditions": [], "relation": "and"}}, {"query": {"aggregations": []}}, {"query": {"aggregations": {"columns": [{"column": "n"}]}}},
    {"query": {"conditions": [{"filter": ["n", "==", 1]}]}}, {"query": {"conditions": [{"filter": FILTER}]}}, {"query": {"conditions": [{"filters": [FILTER, FILTER]}]}},
    {"query": {"conditions": [{"name": "a_1", "filter": FILTER, "target": ["count", ">=", 1], "includeZero": False}]}},
    {"query": {"conditions": [{"filter": FILTER, "target": {"type": "count", "op": "<", "value": 1.0}, "includeZero": True}]}},
    {"query": {"conditions": [{"filter": FILTER, "target": ["sum", "n", "<", -2.5]}]}}, {"query": {"conditions": [{"filter": FILTER, "target": {"type": "sum", "column": "f", "op": "==", "value": 1}}]}},
    {"query": {"conditions": [{"name": "s", "sequence": [{"filter": ["n", "==", 1]}, {"filters": [FILTER], "rowFound": True}], "maxDuration": 5}]}},
    {"query": {"conditions": [{"filter": FILTER}, {"name": "Two", "filter": FILTER}], "relation": " $0AND( $two ||$1)&&$0 "}},
    {"query": {"conditions": [{"filter": FILTER}, {"filter": FILTER}], "relation": "OR"}}, {"query": {"conditions": [{"filter": FILTER}], "relation": "$00"}},
    {"query": {"aggregations": [{"column": "n"}, {"column": "n", "type": "countPerValue", "top": 1, "name": "a"}, {"column": "s", "type": "sumPerValue", "otherColumn": "f"}]}},
    {"funnel": {"sequence": [{"filter": FILTER}], "maxDuration": 0, "stepAggregations": [{"column": "n"}], "endAggregations": [{"column": "n", "name": "a", "type": "count"}]}},
    {"funnel": {"sequence": [{"filter": FILTER}, {"filter": FILTER, "rowFound": False}, {"filter": FILTER, "minGap": 1, "maxGap": 2}], "timeToConvert": {"quantiles": [0, 0.5, 1]}}},
    {"funnel": {"sequence": [{"filter": FILTER}], "breakdown": {"column": "s", "top": 3}, "timeToConvert": False}},
    {"retention": {"period": 7}}, {"retention": {"first": {"filter": FILTER}, "again": {"filters": [FILTER]}, "period": 1, "periods": 1}},
]


@pytest.mark.parametrize("query", GOOD, ids=range(len(GOOD)))
def test_a_form_is_accepted(one, query):
    ask(one, query)


# ---- what is refused, and in which words ----

def condition(**more):
    return {"query": {"conditions": [{"filter": FILTER, **more}]}}


BAD = [
    # objects are closed; what is unknown is named, and so is the nearest that is known
    ({"blah": 1}, "SCHEMA: Additional properties are not allowed ('blah' was unexpected)"),
    ({"timeFrame": {}}, "('timeFrame' was unexpected): did you mean 'timeframe'?"),
    ({"funnel": {"sequence": [{"filter": FILTER}], "max_duration": 5}}, "('max_duration' was unexpected): did you mean 'maxDuration'?"),
    (condition(includezero=True), "did you mean 'includeZero'?"), ({"query": {"condition": []}}, "did you mean 'conditions'?"),
    ({"funnel": {"sequence": [{"filter": FILTER, "rowfound": False}]}}, "did you mean 'rowFound'?"),
    ({"query": {"aggregations": [{"column": "n", "othercolumn": "f"}]}}, "did you mean 'otherColumn'?"), ({"retention": {"period": 1, "period_count": 3}}, "('period_count' was unexpected)"),
    ({"timeframe": {"form": 1}}, "did you mean 'from'?"), (condition(target={"type": "count", "op": ">=", "value": 1, "x": 1}), "('x' was unexpected)"),
    ({"query": {"conditions": [{"filter": ["nn", "==", 1]}]}}, "DATASET_MISMATCH: Column 'nn' not in dataset: did you mean 'n'?"),
    ({"query": {"conditions": [{"filter": ["zzzzzz", "==", 1]}]}}, "DATASET_MISMATCH: Column 'zzzzzz' not in dataset)"),
    ({"query": {"conditions": [{"filter": ["s", "contain", "x"]}]}}, "did you mean 'contains'?"), ({"query": {"conditions": [{"filter": ["n", "=", 1]}]}}, "'=' is not one of ['==', '!='"),
    ({"query": {"aggregations": [{"column": "n", "type": "countpervalue"}]}}, "did you mean 'countPerValue'?"), (condition(target=["count", "contains", 1]), "'contains' is not one of ['==', '!=', '>'"),
    # shapes
    ([], "[] is not of type 'object'"), ({"query": []}, "[] is not of type 'object'"), ({"funnel": {}}, "'sequence' is a required property"), ({"funnel": {"sequence": []}}, "[] is too short"),
    ({"query": {"conditions": [{}]}}, "is not valid under any of the given schemas"), ({"query": {"conditions": [{"filter": []}]}}, "a filter is [column, operator, value], not []"),
    ({"query": {"conditions": [{"filter": ["n", "==", None]}]}}, "None is not of type"), (condition(target=[]), "a target is"), (condition(target=["sum", "n", ">"]), "a target is"),
    (condition(target=["count", ">=", -1]), "-1 is less than the minimum of 0"), (condition(target=["count", ">=", 1.5]), "1.5 is not of type 'integer'"),
    (condition(name=5), "5 is not of type 'string'"), (condition(includeZero=1), "1 is not of type 'boolean'"), ({"timeframe": {"from": -1}}, "-1 is less than the minimum of 0"),
    ({"query": {"conditions": [{"filters": [["n", "==", 1]]}]}}, "is not of type 'object'"), ({"funnel": {"sequence": [{"filter": FILTER}], "maxDuration": -1}}, "-1 is less than the minimum"),
    ({"query": {"aggregations": [{"column": "n", "type": "countPerValue", "top": 0}]}}, "0 is less than the minimum of 1"),
    ({"query": {"aggregations": [{"column": "n", "type": "countPerValue", "top": 10**7}]}}, "greater than the maximum of 1000000"),
    ({"query": {"aggregations": [{"column": "n", "type": "count", "top": 5}]}}, "'top' is not applicable for type 'count'"),
    ({"funnel": {"sequence": [{"filter": FILTER}], "timeToConvert": {"quantiles": [1.5]}}}, "1.5 is not a number from 0 to 1"),
    ({"funnel": {"sequence": [{"filter": FILTER}], "timeToConvert": {"quantiles": []}}}, "[] is too short"),
    # includeZero
    (condition(target=["sum", "n", ">", 1], includeZero=True), "TYPE_MISMATCH: 'includeZero' is not applicable for target type 'sum'"),
    (condition(target=["count", "==", 0], includeZero=False), "TYPE_MISMATCH: When using a target of count == 0, 'includeZero' cannot be false"),
    (condition(target=["count", ">", 0], includeZero=True), "TYPE_MISMATCH: For target operator '>'"), (condition(target=["count", "<", 0], includeZero=True), "implies a negative value"),
    (condition(target=["count", ">=", 2], includeZero=True), "explicitly precludes zero"),
    # aggregations
    ({"query": {"aggregations": [{"column": "n", "name": "a"}]}}, "a name attributeis not supported"),
    ({"query": {"aggregations": [{"column": "n", "type": "sumPerValue"}]}}, "other column name is required but was not found"),
    ({"query": {"aggregations": [{"column": "n", "type": "count", "otherColumn": "f"}]}}, "other column name is not relevant but was given"),
    ({"query": {"aggregations": [{"column": "n", "otherColumn": "f"}]}}, "not relevant but was given"),
    ({"query": {"aggregations": [{"column": "n", "type": "sumPerValue", "otherColumn": "s"}]}}, "TYPE_MISMATCH: Column 's' is of type STRING, but should be one of ['INT', 'FLOAT']"),
    # names
    ({"query": {"conditions": [{"name": "a", "filter": FILTER}, {"name": "A", "filter": FILTER}]}}, "'A' is not unique in scope 'query.conditions.name'"),
    (condition(name="2a"), "Invalid identifier name '2a'"), (condition(name="a\n"), "Invalid identifier name"), (condition(name="\u017f"), "Invalid identifier name"), (condition(name="AND"), "'AND' is not a valid condition name"),
    ({"query": {"aggregations": [{"column": "n", "type": "count", "name": "x"}, {"column": "f", "type": "count", "name": "x"}]}}, "not unique in scope 'query.aggregations.name'"),
    ({"funnel": {"sequence": [{"filter": FILTER}], "endAggregations": [{"column": "n", "type": "count", "name": "-"}]}}, "Invalid identifier name '-'"),
    # relations
    *[({"query": {"conditions": [{"filter": FILTER}], "relation": text}}, "RELATION: ") for text in ("", "  ", "mosh", "$", "$1a", "$0 and", "$0 $0", "$0 and ()", "(($0)))", "*", "$0 and not $0", "$0$0", "\"")],
    ({"query": {"conditions": [{"filter": FILTER}], "relation": "$3"}}, "RELATION: Condition no. 3 does not exist"), ({"query": {"relation": "$0"}}, "RELATION: Condition no. 0 does not exist"),
    ({"query": {"conditions": [{"name": "buyers", "filter": FILTER}], "relation": "$buyer"}}, "RELATION: Condition named buyer does not exist: did you mean 'buyers'?"),
    # timeframes
    ({"timeframe": {"from": 5, "to": 5}}, "SCHEMA: Value of 'to' (exclusive) should be larger than 'from' (inclusive)"),
    ({"timeframe": {"from": 123456}}, "TYPE_MISMATCH: Given timestamp 123456 doesn't appear to be in same scale as minimum timestamp in dataset (10)"),
    ({"timeframe": {"from": "2026-01-31"}}, "column 'ts' of type INT: give a number in its units; of a dataset it can be declared as times"),
    ({"timeframe": {"from": 1700000000000000100, "to": 1700000000000000001}}, "should be larger than"),
    # what to give instead
    ({"query": {"conditions": [{"filter": ["n", "==", "5"]}]}}, "of type INT: give a number, without quotes"), ({"query": {"conditions": [{"filter": ["s", "==", 5]}]}}, "of type STRING: give a text, in quotes"),
    ({"query": {"conditions": [{"filter": ["b", "==", "true"]}]}}, "of type BOOL: give true or false, without quotes"), ({"query": {"conditions": [{"filter": ["n", "in", []]}]}}, "[] is too short"),
    ({"query": {"conditions": [{"filter": ["b", ">", True]}]}}, "of type BOOL: it takes ==, !=, in, not in"),
    # types
    *[({"query": {"conditions": [{"filter": one}]}}, "TYPE_MISMATCH: Operator") for one in (["n", "contains", "1"], ["s", ">", "a"], ["b", ">", True], ["b", "contains", True], ["n", "regex", "1"],
                                                                                          ["tags", "==", "x"], ["s", "containsAny", ["x"]], ["s", "size ==", 1], ["tags", "in", ["x"]])],
    *[({"query": {"conditions": [{"filter": one}]}}, "TYPE_MISMATCH: Value") for one in (["n", "==", "1"], ["n", "==", True], ["f", "==", "x"], ["s", "==", 1], ["s", "==", True], ["b", "==", 1],
                                                                                       ["b", "==", "true"], ["day", "==", "31.1.2026"], ["at", "==", "2026-02-30"], ["at", "==", True], ["tags", "contains", 1],
                                                                                       ["n", "in", [1, "2"]], ["nums", "contains", "1"])],
    *[({"query": {"conditions": [{"filter": one}]}}, "TYPE_MISMATCH: Operator") for one in (["n", "in", 5], ["n", "==", [5]], ["tags", "containsAll", "x"])],
    ({"query": {"conditions": [{"filter": ["tags", "size ==", -1]}]}}, "TYPE_MISMATCH: The size of a list"),
    (condition(target=["sum", "s", ">", 1]), "TYPE_MISMATCH: Column 's' is of type STRING"), (condition(target=["sum", "nope", ">", 1]), "DATASET_MISMATCH: "),
    ({"funnel": {"sequence": [{"filter": FILTER}], "breakdown": {"column": "tags"}}}, "TYPE_MISMATCH: Column 'tags' is of type LIST"),
    # steps
    ({"funnel": {"sequence": [{"filter": FILTER, "minGap": 1}]}}, "the first step has none"), ({"funnel": {"sequence": [{"filter": FILTER}, {"filter": FILTER, "minGap": 3, "maxGap": 2}]}}, "minGap is larger than maxGap"),
    ({"funnel": {"sequence": [{"filter": FILTER}, {"filter": FILTER, "rowFound": False, "maxGap": 2}]}}, "a step that must not happen has none"),
    ({"funnel": {"sequence": [{"filter": FILTER, "rowFound": False}]}}, "at least one step that happens"), ({"funnel": {"sequence": [{"filter": FILTER}], "maxDuration": "2h"}}, "holds numbers: give a number in its units"),
    ({"funnel": {"sequence": [{"filter": FILTER}] * 65}}, "more than 64 conditions and steps"),
    # sizes
    ({"query": {"conditions": [{"filter": FILTER}] * 1001}}, "a list of 1001 entries is too long: at most 1000 are taken"),
    ({"query": {"conditions": [{"filter": ["n", "in", list(range(100001))]}]}}, "a list of 100001 entries is too long"),
    # regular expressions
    ({"query": {"conditions": [{"filter": ["s", "regex", "("]}]}}, "the regular expression '(' cannot be read: missing closing parenthesis (at byte 1)"),
    ({"query": {"conditions": [{"filter": ["s", "regex", "a" * 8193]}]}}, "the regular expression has 8193 bytes: at most 8192 are read"),
    ({"query": {"conditions": [{"filter": ["s", "regex", "(" * 100 + ")" * 100]}]}}, "cannot be read: parentheses are too deeply nested"),
    ({"query": {"conditions": [{"filter": ["s", "regex", "((((a{1,999}){1,999}){1,999}){1,999})"]}]}}, "cannot be read: regular expression is too large"),
]


@pytest.mark.parametrize("query, text", BAD, ids=range(len(BAD)))
def test_a_mistake_is_named(one, query, text):
    (one.parent / "query.json").write_text(json.dumps(query))
    done = command_line("query", str(one), "-g", "user", "-t", "ts", "-f", str(one.parent / "query.json"))
    assert (done.returncode, text in done.stderr) == (2, True), done.stderr[:500]


@pytest.mark.parametrize("text, says", [("{", "not JSON"), ("", "not JSON"), ('{"query":{},"query":{}}', "duplicate object key"), ("[" * 100000, "not JSON"), ('{"query":' * 3000, "maximum parsing depth"),
                                        ('{"timeframe":{"from":NaN}}', "not JSON"), ("{}x", "not JSON"), ("\ud800", "not JSON")])
def test_what_is_not_json_is_refused(one, text, says):
    (one.parent / "query.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    done = command_line("query", str(one), "-g", "user", "-t", "ts", "-f", str(one.parent / "query.json"))
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr[:500]


# ---- hostile but well-formed ----

def write_texts(path, texts):
    pq.write_table(pa.table({"user": list(range(len(texts))), "ts": [1] * len(texts), "s": texts}), path)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "^(([a-z])+.)+[A-Z]([a-z])+$", "(?=(a+))a*b\\1", "(.*)(.*)(.*)(.*)(.*)x"])
def test_a_regular_expression_that_takes_too_long_is_given_up(tmp_path, pattern):
    write_texts(tmp_path / "p.parquet", ["a" * 5000] * 200)
    done = command_line("query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "-e", json.dumps({"query": {"conditions": [{"filter": ["s", "regex", pattern]}]}}))
    assert done.returncode == 0 or (done.returncode == 2 and "takes too long on a text of 5000 bytes" in done.stderr), done.stderr


def test_at_least_the_worst_is_given_up(tmp_path):
    write_texts(tmp_path / "p.parquet", ["a" * 5000 + "!"])
    done = command_line("query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "-e", json.dumps({"query": {"conditions": [{"filter": ["s", "regex", "^(\\w|\\w\\w)+$"]}]}}))
    assert (done.returncode, "takes too long" in done.stderr) == (2, True), done


def test_long_lists_of_values_are_searched_not_tried(tmp_path):
    """50,000 values on 200,000 rows, plain: tried one by one that would be ten thousand million comparisons."""
    count = 200000
    pq.write_table(pa.table({"user": list(range(count)), "ts": [1] * count, "s": ["u%d" % i for i in range(count)], "f": [i / 2 for i in range(count)]}), tmp_path / "p.parquet", use_dictionary=False)
    for column, values in (("user", range(0, 100000, 2)), ("s", ["u%d" % i for i in range(0, 100000, 2)]), ("f", [i / 2 for i in range(0, 100000, 2)])):
        for op, want in (("in", 50000), ("not in", 150000)):
            (tmp_path / "q.json").write_text(json.dumps({"query": {"conditions": [{"filter": [column, op, list(values)]}]}}))
            done = command_line("query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "-f", str(tmp_path / "q.json"), "--json")
            assert json.loads(done.stdout)["query"]["matchingGroups"] == want, (column, op, done.stderr)


# ---- answers ----

def write_rows(path, **columns):
    pq.write_table(pa.table(columns), path)


def values_of(path, *more, type="countPerValue", column="k", **extra):
    return ask(path, {"query": {"aggregations": [{"column": column, "type": type, **extra}]}}, *more)["query"]["aggregations"][0]["value"]


def test_means_over_parts_are_means(tmp_path):
    """O1: the sum of the parts' means in the older service."""
    write_rows(tmp_path / "a.parquet", user=[1, 2], ts=[1, 1], k=["x", "x"], v=[1.0, 3.0])
    write_rows(tmp_path / "b.parquet", user=[3], ts=[1], k=["x"], v=[8.0])
    assert values_of(tmp_path / "a.parquet", str(tmp_path / "b.parquet"), type="meanPerValue", otherColumn="v") == {"x": 4.0}


def test_values_without_rows_are_left_out(tmp_path):
    """O4: entries of a dictionary that no row has are no keys; a value whose sum is 0 is one."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int8()), ["x", "unused"])
    pq.write_table(pa.table({"user": [1, 2], "ts": [1, 1], "k": column, "v": [-1, 1]}), tmp_path / "p.parquet")
    assert values_of(tmp_path / "p.parquet", type="sumPerValue", otherColumn="v") == {"x": 0}


def test_keys_do_not_depend_on_nulls(tmp_path):
    """O7: whole numbers stay whole where others are null, and so do booleans."""
    write_rows(tmp_path / "a.parquet", user=[1, 2], ts=[1, 1], k=[5, None], b=[True, None])
    write_rows(tmp_path / "b.parquet", user=[3], ts=[1], k=[5], b=[False])
    assert values_of(tmp_path / "a.parquet", str(tmp_path / "b.parquet")) == {"5": 2}
    assert values_of(tmp_path / "a.parquet", str(tmp_path / "b.parquet"), column="b") == {"True": 1, "False": 1}


def test_a_timeframe_within_the_times_has_their_scale(tmp_path):
    pq.write_table(pa.table({"user": [1, 2, 3], "ts": [0, 5000, 100000]}), tmp_path / "p.parquet")
    assert ask(tmp_path / "p.parquet", {"timeframe": {"from": 4000, "to": 6000}})["query"]["matchingGroups"] == 1
    days = pa.array([-7, 3, 20000], type=pa.int32()).view(pa.date32())
    pq.write_table(pa.table({"user": [1, 2, 3], "ts": days}), tmp_path / "p.parquet")
    for frame, groups in (({"from": "1900-01-01"}, 3), ({"to": "1970-01-01"}, 1), ({"from": "1970-01-02", "to": "2100-01-01"}, 2)):
        assert ask(tmp_path / "p.parquet", {"timeframe": frame})["query"]["matchingGroups"] == groups, frame


def test_values_that_are_equally_common_stand_by_their_bytes(tmp_path):
    pq.write_table(pa.table({"user": [1, 1, 2, 2, 3], "ts": [1] * 5, "n": [10, 9, 2, -1, 10], "s": ["b", "a", "\u00e9", "B", ""]}), tmp_path / "p.parquet")
    answer = ask(tmp_path / "p.parquet", {"query": {"aggregations": [{"column": "n", "type": "countPerValue"}, {"column": "s", "type": "countPerValue"}]}})["query"]["aggregations"]
    assert [list(one["value"]) for one in answer] == [["10", "-1", "2", "9"], ["", "B", "a", "b", "\u00e9"]]


@pytest.mark.parametrize("prepared", [False, True])
def test_sums_of_floats_are_added_in_the_order_of_rows(tmp_path, prepared):
    """Of a prepared part: by group and time."""
    pq.write_table(pa.table({"user": [2, 1, 2, 1], "ts": [1, 1, 2, 2], "s": ["a"] * 4, "f": [1e16, 1.0, -1e16, 1.0]}), tmp_path / "p.parquet")
    more = ["--prepared", "--cache", str(tmp_path / "cache")] if prepared else []
    if prepared:
        assert command_line("parquet", "prepare", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "--cache", str(tmp_path / "cache")).returncode == 0
    query = {"query": {"aggregations": [{"column": "s", "type": "sumPerValue", "otherColumn": "f"}]}}
    assert ask(tmp_path / "p.parquet", query, *more)["query"]["aggregations"][0]["value"] == {"a": ((1.0 + 1.0) + 1e16) - 1e16 if prepared else ((1e16 + 1.0) - 1e16) + 1.0}


def test_a_breakdown_by_truth_takes_false_before_true(tmp_path):
    pq.write_table(pa.table({"user": [1, 1, 2, 2, 3], "ts": [1, 1, 1, 2, 1], "b": [True, False, True, False, None]}), tmp_path / "p.parquet")
    breakdown = ask(tmp_path / "p.parquet", {"funnel": {"sequence": [{"filter": ["ts", ">", 0]}], "breakdown": {"column": "b"}}})["funnel"]["breakdown"]
    assert [(one["value"], one["sequence"][0]["matchingGroups"]) for one in breakdown["values"]] == [("False", 1), ("True", 1)]
    assert breakdown["without"]["sequence"][0]["matchingGroups"] == 1


def test_times_that_do_not_fit(tmp_path):
    pq.write_table(pa.table({"user": [1, 2, 3], "ts": [-2**63, 1 - 2**63, 6]}), tmp_path / "p.parquet")  # the least of all is none
    assert ask(tmp_path / "p.parquet", {"funnel": {"sequence": [{"filter": ["user", ">", 0]}]}})["funnel"]["sequence"][0]["matchingGroups"] == 2
    pq.write_table(pa.table({"user": [1, 2], "ts": pa.array([1, 2**63], type=pa.uint64())}), tmp_path / "p.parquet")
    done = command_line("query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "--empty")
    assert done.returncode == 2 and "Column ts holds times in %s/p.parquet that do not fit" % tmp_path in done.stderr
    pq.write_table(pa.table({"user": [1, 2], "ts": [1700000000000000000, 1700000000000000100]}), tmp_path / "p.parquet")
    assert ask(tmp_path / "p.parquet", {"timeframe": {"from": 1700000000000000001, "to": 1700000000000000101}})["query"]["matchingGroups"] == 1


def test_times_of_nanoseconds_are_exact(tmp_path):
    """O11: one nanosecond apart is apart."""
    base = 1_700_000_000_000_000_000
    write_rows(tmp_path / "p.parquet", user=[1, 1, 2, 2], ts=[base, base + 1, base, base], e=["a", "b", "a", "b"])
    answer = ask(tmp_path / "p.parquet", {"funnel": {"sequence": [{"filter": ["e", "==", "a"]}, {"filter": ["e", "==", "b"]}]}})
    assert [step["matchingGroups"] for step in answer["funnel"]["sequence"]] == [2, 1]


def test_windows_are_kept(tmp_path):
    """O5: maxDuration and rowFound mean something; so do gaps."""
    write_rows(tmp_path / "p.parquet", user=[1, 1, 1, 2, 2], ts=[0, 5, 9, 0, 3], e=["a", "x", "b", "a", "b"])
    steps = [{"filter": ["e", "==", "a"]}, {"filter": ["e", "==", "b"]}]

    def last(**more):
        return ask(tmp_path / "p.parquet", {"funnel": {"sequence": steps, **more}})["funnel"]["sequence"][-1]["matchingGroups"]
    assert [last(), last(maxDuration=9), last(maxDuration=8), last(maxDuration=2)] == [2, 2, 1, 0]
    steps.insert(1, {"filter": ["e", "==", "x"], "rowFound": False})
    assert last() == 1
    steps[1:] = [{"filter": ["e", "==", "b"], "minGap": 4}]
    assert last() == 1
    steps[1:] = [{"filter": ["e", "==", "b"], "maxGap": 8}]
    assert last() == 1


def test_durations_on_columns_of_times(tmp_path):
    at = [dt.datetime(2026, 1, 1, hour) for hour in (0, 3, 0, 1)]
    write_rows(tmp_path / "p.parquet", user=[1, 1, 2, 2], ts=at, e=["a", "b", "a", "b"])

    def last(step=None, **more):
        query = {"funnel": {"sequence": [{"filter": ["e", "==", "a"]}, {"filter": ["e", "==", "b"], **(step or {})}], **more}}
        return ask(tmp_path / "p.parquet", query)["funnel"]["sequence"][-1]
    assert [last(maxDuration=d)["matchingGroups"] for d in ("2h", "3h", "59m", 3600 * 10**6)] == [1, 2, 0, 1]
    assert [last(step={"minGap": "90m"})["matchingGroups"], last(step={"maxGap": "90m"})["matchingGroups"]] == [1, 1]
    times = last(timeToConvert={"quantiles": [0.1, 0.999]})["timeToConvert"]
    hour = 3600 * 10**6
    assert times["unit"] == "us" and times["median"] == 2 * hour and times["10%"] == pytest.approx(1.2 * hour) and times["99.9%"] == pytest.approx(2.998 * hour) and "95%" not in times
    frame = ask(tmp_path / "p.parquet", {"timeframe": {"from": "2026-01-01T01:00:00Z", "to": "2026-01-01T03:00:00Z"}})
    assert frame["query"] == {"matchingGroups": 1, "matchingGroupRows": 1}
    assert "median 2h00m" in command_line("query", str(tmp_path / "p.parquet"), "-g", "user", "-t", "ts", "-e", json.dumps(
        {"funnel": {"sequence": [{"filter": ["e", "==", "a"]}, {"filter": ["e", "==", "b"]}], "timeToConvert": True}})).stdout


def test_nothing_has_no_mean(tmp_path):
    """O59: left out."""
    write_rows(tmp_path / "p.parquet", user=[1, 2], ts=[1, 1], k=["x", "y"], v=pa.array([None, 2.0]))
    assert values_of(tmp_path / "p.parquet", type="meanPerValue", otherColumn="v") == {"y": 2.0}
    assert values_of(tmp_path / "p.parquet", type="sumPerValue", otherColumn="v") == {"y": 2.0, "x": 0.0}


def test_largest_values_are_exact(tmp_path):
    """O43: a value that is nowhere among the first of its part may be the largest of all."""
    for part in range(3):
        keys = ["common"] * 2 + ["own%d-%d" % (part, i) for i in range(40) for _ in range(3)]
        write_rows(tmp_path / ("%d.parquet" % part), user=[part * 1000 + i for i in range(len(keys))], ts=[1] * len(keys), k=keys)
    got = values_of(tmp_path / "0.parquet", str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet"))
    assert list(got.items())[0] == ("common", 6) and len(got) == 10
    assert list(values_of(tmp_path / "0.parquet", top=3)) == ["own0-0", "own0-1", "own0-10"]
    assert len(values_of(tmp_path / "0.parquet", top=100)) == 41


def test_small_floats_are_added_in_double(tmp_path):
    """O51: literals are rounded to 32 bits, sums are not."""
    write_rows(tmp_path / "p.parquet", user=[1] * 3, ts=[1] * 3, k=["x"] * 3, v=pa.array([0.1] * 3, pa.float32()))
    exact = float(pa.array([0.1], pa.float32())[0].as_py())
    assert values_of(tmp_path / "p.parquet", type="sumPerValue", otherColumn="v") == {"x": exact * 3}


def test_rows_without_a_group_are_none(tmp_path):
    """O53."""
    write_rows(tmp_path / "p.parquet", user=[1, None], ts=[1, 1], k=["x", "y"])
    answer = ask(tmp_path / "p.parquet", {})
    assert answer["query"] == {"matchingGroups": 1, "matchingGroupRows": 1}
    assert (answer["stats"]["scannedRows"], answer["stats"]["scannedGroups"]) == (1, 1)
    assert values_of(tmp_path / "p.parquet") == {"x": 1}


def test_large_sums_do_not_wrap(tmp_path):
    """O58."""
    big = 2**62
    write_rows(tmp_path / "p.parquet", user=[1] * 4, ts=[1] * 4, k=["x"] * 4, v=[big] * 4)
    assert values_of(tmp_path / "p.parquet", type="sumPerValue", otherColumn="v") == {"x": float(2**64)}
    assert values_of(tmp_path / "p.parquet", type="meanPerValue", otherColumn="v") == {"x": float(big)}
    assert ask(tmp_path / "p.parquet", {"query": {"conditions": [{"filter": ["v", ">", 0], "target": ["sum", "v", ">", big]}]}})["query"]["matchingGroups"] == 1


def test_ids_may_be_of_a_dictionary(tmp_path):
    """O73; and the keys of all types of columns."""
    write_rows(tmp_path / "p.parquet", user=pa.array(["a", "b", "a"]).dictionary_encode(), ts=[1, 2, 3], k=[1.0, 2.5, 1e20], d=[dt.date(2026, 1, 31)] * 3,
               t=[dt.datetime(2026, 1, 31, 10, 30, 0, 500000)] * 3, u=pa.array([2**64 - 1] * 3, pa.uint64()), f=pa.array([0.1] * 3, pa.float32()))
    assert ask(tmp_path / "p.parquet", {})["query"] == {"matchingGroups": 2, "matchingGroupRows": 3}
    assert {column: list(values_of(tmp_path / "p.parquet", column=column)) for column in "kdtuf"} == {
        "k": ["1.0", "1e+20", "2.5"], "d": ["2026-01-31"], "t": ["2026-01-31T10:30:00.500Z"], "u": [str(2**64 - 1)], "f": ["0.10000000149011612"]}


def test_elements_of_lists_are_values(part):
    assert values_of(part, column="tags") == {"y": 2, "x": 1, "z": 1}
    assert values_of(part, column="nums") == {"2": 2, "1": 1}
    assert values_of(part, column="nums", type="sumPerValue", otherColumn="n") == {"2": 12, "1": 5}
    assert values_of(part, column="tags", type="groupsPerValue") == {"y": 2, "x": 1, "z": 1}
    assert values_of(part, column="tags", type="count") == 3


def test_texts_that_are_not_texts(tmp_path):
    """Bytes that JSON cannot hold are shown as U+FFFD; a NUL is a character like others."""
    pq.write_table(pa.table({"user": [1, 2], "ts": [1, 1], "k": pa.array([b"\xff", b"a\0b"], pa.binary())}), tmp_path / "p.parquet")
    assert values_of(tmp_path / "p.parquet") == {"a\0b": 1, "\ufffd": 1}


def test_the_shape_of_an_answer(part):
    """O33, decision 21: the members that clients know."""
    answer = ask(part, {"query": {"aggregations": [{"column": "n", "type": "count", "name": "a"}, {"column": "b", "type": "countPerValue"}]},
                        "funnel": {"sequence": [{"filter": FILTER}], "endAggregations": []}})
    assert answer["query"]["aggregations"] == [{"column": "n", "type": "count", "value": 3, "top": None, "name": "a"},
                                               {"column": "b", "type": "countPerValue", "value": {"True": 2, "False": 1}, "top": 10, "name": None}]
    assert answer["funnel"] == {"sequence": [{"matchingGroups": 2, "matchingGroupRows": 2, "aggregations": None}], "endAggregations": []}


TARGETS = [(["count", "==", 0], None, [3]), (["count", ">=", 2], None, [1]), (["count", "<", 2], None, [2]), (["count", "<", 2], True, [2, 3]), (["count", "!=", 2], True, [2, 3]),
           (["count", "<=", 0], None, []), (["count", "<=", 0], True, [3]), (["count", ">=", 0], True, [1, 2, 3]), (["count", "<", 0], None, []), (["count", "!=", 0], None, [1, 2]),
           (["sum", "v", "<", 100], None, [1, 2]), (["sum", "v", "==", 0], None, [2]), (["sum", "v", ">", -1], None, [2]), (["sum", "v", "==", -2], None, [1]), (["sum", "v", "<", -1.5], None, [1])]


@pytest.mark.parametrize("target, zero, groups", TARGETS, ids=range(len(TARGETS)))
def test_a_target(tmp_path, target, zero, groups):
    write_rows(tmp_path / "p.parquet", user=[1, 1, 2, 3], ts=[1, 2, 1, 1], e=["x", "x", "x", "y"], v=[-5, 3, None, 7])
    query = {"query": {"conditions": [{"filter": ["e", "==", "x"], "target": target, **({} if zero is None else {"includeZero": zero})}],
                       "aggregations": [{"column": "user", "type": "countPerValue"}]}}
    assert sorted(map(int, ask(tmp_path / "p.parquet", query)["query"]["aggregations"][0]["value"])) == groups

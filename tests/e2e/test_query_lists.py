"""Lists: as Parquet knows them, and as texts that are declared to be lists, of which every answer must be the same and that of the small evaluator; from files and
from prepared parts. Columns of nothing but nulls that have no type."""
import json
import random
from collections import Counter

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pyarrow.parquet as pq  # noqa: E402
from query_cases import agree, command_line, matches, random_query, so_many  # noqa: E402

WORDS = ["red", "green", "blue", "a b", "", "re"]
SEPARATORS = {"list": ",", "list[;]": ";", "list[, ]": ", ", "list[]]": "]", "list[::]": "::"}


def text_of(rng, words, separator):
    if words is None:
        return None
    padded = [rng.choice(["", " "]) + word + rng.choice(["", "  "]) for word in words]
    return separator.join(padded) + (separator if words and (not words[-1] or rng.random() < 0.3) else "")


def random_rows(rng, count):
    return [{"user": rng.randrange(9), "ts": rng.randrange(15), "event": rng.choice(["view", "buy", None]), "country": rng.choice(["de", "fr"]), "n": rng.choice([None, -3, 1, 7]),
             "price": rng.choice([None, 0.5, 2.25]), "tags": rng.choice([None, [], *[[rng.choice(WORDS) for _ in range(rng.randrange(1, 5))] for _ in range(4)]])} for _ in range(count)]


def write(path, rows, rng, separator):
    schema = pa.schema([("user", pa.int64()), ("ts", pa.int64()), ("event", pa.string()), ("country", pa.string()), ("n", pa.int32()), ("price", pa.float64()),
                        ("tags", pa.list_(pa.string())), ("text", pa.string()), ("nothing", pa.null())])
    table = pa.Table.from_pylist([{**row, "text": text_of(rng, row["tags"], separator), "nothing": None} for row in rows], schema=schema)
    pq.write_table(table, path, row_group_size=rng.choice([7, 10000]), use_dictionary=rng.choice([True, False]), data_page_version=rng.choice(["1.0", "2.0"]))


def random_list_filter(rng):
    words = [rng.choice(WORDS) for _ in range(rng.randrange(1, 4))]
    return rng.choice([["tags", rng.choice(["contains", "not contains"]), words[0]], ["tags", rng.choice(["containsAny", "containsAll"]), words],
                       ["tags", "size " + rng.choice(["==", "!=", ">", ">=", "<", "<="]), rng.randrange(4)]])


def replaced(node, change):
    """The query with every filter changed."""
    if isinstance(node, dict):
        return {key: change(value) if key == "filter" else replaced(value, change) for key, value in node.items()}
    return [replaced(one, change) for one in node] if isinstance(node, list) else node


def list_query(rng):
    query = replaced(random_query(rng), lambda f: random_list_filter(rng) if rng.random() < 0.7 else f)
    query["query"]["conditions"].append({"filter": random_list_filter(rng)})
    return query


def of_text(query):
    return replaced(query, lambda f: ["text", *f[1:]] if f[0] == "tags" else f)


def tutti(cwd, *arguments):
    done = command_line(*arguments, "--data", str(cwd / "d"))
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def ask(cwd, query):
    return json.loads(tutti(cwd, "query", "shop", json.dumps(query), "--explain", "--json"))


def tallies(rows, column):
    """countPerValue, groupsPerValue and sumPerValue of n, of lists: each different element of a row once."""
    pairs = [(value, row) for row in rows for value in sorted(set(row[column] or []))]
    sums = Counter({value: 0 for value, _ in pairs})
    for value, row in pairs:
        sums[value] += row["n"] or 0
    return [dict(Counter(value for value, _ in pairs)), dict(Counter(value for value, _ in {(value, row["user"]) for value, row in pairs})), dict(sums)]


@pytest.mark.parametrize("given, is_prepared", [("list", False), ("list[;]", True), ("list[, ]", True), ("list[]]", False), ("list[::]", True)])
def test_lists_agree_with_the_evaluator(tmp_path, given, is_prepared, is_long):
    rng = random.Random(given)
    rows = random_rows(rng, rng.choice([20, 60]))
    (tmp_path / "shop").mkdir()
    write(tmp_path / "shop" / "part.parquet", rows, rng, SEPARATORS[given])
    tutti(tmp_path, "dataset", "register", "shop", str(tmp_path / "shop"), "--group", "user", "--timestamp", "ts", "--column", "text=" + given)
    if is_prepared:
        assert "1 of 1 parts prepared" in tutti(tmp_path, "dataset", "prepare", "shop")
    for _ in range(so_many(is_long, 60, 4)):
        query = list_query(rng)
        agree(rows, query, ask(tmp_path, query))
        answer = ask(tmp_path, of_text(query))
        agree(rows, query, answer)
        assert answer["stats"]["engine"]["preparedParts"] or not is_prepared
    types = [{"type": "countPerValue"}, {"type": "groupsPerValue"}, {"type": "sumPerValue", "otherColumn": "n"}, {"type": "count"}]
    word = {"filter": random_list_filter(rng)}
    ids = {row["user"] for row in rows if matches(row, word)}
    found = [row for row in rows if row["user"] in ids]
    for column in ("tags", "text"):
        query = {"query": {"conditions": [word], "aggregations": [{"column": column, **one} for one in types]}}
        answer = ask(tmp_path, of_text(query) if column == "text" else query)
        assert [one["value"] for one in answer["query"]["aggregations"]] == [*tallies(found, "tags"), sum(row["tags"] is not None for row in found)]


def test_a_declared_list_is_what_convert_makes_of_it(tmp_path):
    (tmp_path / "a.csv").write_text('user,ts,tags\n1,1,"red, green"\n2,2,\n3,3,"red,"\n4,4,",blue"\n5,5," red , ,x"\n')
    values = {}
    for name, column in (("text", "tags=string"), ("cut", "tags=list")):
        (tmp_path / name).mkdir()
        assert command_line("parquet", "convert", str(tmp_path / "a.csv"), str(tmp_path / name / "a.parquet"), "--column", column).returncode == 0
        (tmp_path / "shop").unlink(missing_ok=True)
        (tmp_path / "shop").symlink_to(tmp_path / name)
        tutti(tmp_path, "dataset", "register", "shop", str(tmp_path / name), "-g", "user", "-t", "ts", "--column", "tags=list")
        values[name] = [ask(tmp_path, {"query": {"aggregations": [{"column": "tags", "type": "countPerValue"}], "conditions": [{"filter": ["tags", "size ==", size]}]}})["query"]
                        for size in range(4)]
    assert values["text"] == values["cut"]
    assert [one["matchingGroups"] for one in values["cut"]] == [0, 1, 2, 1]


@pytest.mark.parametrize("column, text", [
    ("country=list", "column country cannot be a list: it is the group's"), ("n=list", "column n cannot be given the type list: it is of type INT in the file"),
    ("tags=list[;]", "column tags cannot be given the type list[;]: it is of type LIST in the file"), ("text=list[]", "list[;] of texts that are cut at semicolons"),
    ("text=list[%s]" % ("x" * 17), "list[;] of texts that are cut at semicolons"), ("nothing=float", "cannot be given the type float"),
])
def test_what_cannot_be_declared(tmp_path, column, text):
    rng = random.Random(1)
    (tmp_path / "shop").mkdir()
    write(tmp_path / "shop" / "part.parquet", random_rows(rng, 20), rng, ";")  # countries are groups here
    done = command_line("dataset", "register", "shop", str(tmp_path / "shop"), "-g", "country", "-t", "ts", "--column", column, "--data", str(tmp_path / "d"))
    assert done.returncode and text in done.stderr, done


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_column_of_no_type_is_of_texts_that_are_all_null(tmp_path, is_prepared):
    rng = random.Random(5)
    rows = random_rows(rng, 60)
    (tmp_path / "shop").mkdir()
    write(tmp_path / "shop" / "a.parquet", rows, rng, ";")
    others = pa.table({**{name: [row[name] for row in rows] for name in ("ts", "event", "country", "tags")}, "user": [row["user"] + 100 for row in rows],
                       "n": pa.array([row["n"] for row in rows], pa.int32()), "price": pa.array([row["price"] for row in rows], pa.float64()), "text": ["x"] * len(rows), "nothing": ["there"] * len(rows)})
    pq.write_table(others, tmp_path / "shop" / "b.parquet")
    tutti(tmp_path, "dataset", "register", "shop", str(tmp_path / "shop"), "-g", "user", "-t", "ts")
    shown = json.loads(tutti(tmp_path, "dataset", "show", "shop", "--json"))["columns"]["nothing"]
    assert shown["coltype"] == "STRING" and "nothing" not in json.loads(tutti(tmp_path, "dataset", "show", "shop", "--json")).get("unsupportedColumns", {})
    if is_prepared:
        tutti(tmp_path, "dataset", "prepare", "shop")
    users = {row["user"] for row in rows}
    for one, groups in ((["nothing", "==", "there"], len(users)), (["nothing", "!=", "there"], len(users)), (["nothing", "contains", ""], len(users)), (["nothing", "in", ["there"]], len(users)),
                        (["nothing", "not contains", "x"], 2 * len(users)), (["nothing", "regex", "."], len(users))):
        answer = ask(tmp_path, {"query": {"conditions": [{"filter": one}], "aggregations": [{"column": "nothing", "type": "countPerValue"}, {"column": "nothing", "type": "count"}]}})
        assert answer["query"]["matchingGroups"] == groups and (answer["stats"]["engine"]["preparedParts"] == 2 or not is_prepared), one
    assert [one["value"] for one in answer["query"]["aggregations"]] == [{"there": len(rows)}, len(rows)]

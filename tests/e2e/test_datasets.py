"""Registered datasets: the older query service's routes with its shapes and its words, parts in query workers, and the same answers as of the files."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pandas as pd
import pytest

import dataset_files
from dataset_files import BASE
from tutti_process import Answer, Tutti, binary

PARTS = 4
COLUMNS = {name: "INT" if name.startswith("int") else "FLOAT" if name.startswith("float") else "STRING" if name.startswith("str") else
           "BOOL" if name == "bool" else "LIST" if name.startswith("list") else "DATETIME" for name in dataset_files.frame(0).columns}
FUNNEL = {"query": {"conditions": [{"filter": ["int_64_userid", ">", 100000]}]},
          "funnel": {"sequence": [{"filter": ["int_64_ts", ">=", BASE + 30000]}], "endAggregations": [{"column": "bool", "type": "countPerValue"}]}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset_files.write(tmp_path_factory.mktemp("datasets"), PARTS)


class Service:
    def __init__(self, t: Tutti, files: Path) -> None:
        self.t = t
        self.directory = t.cwd / "events"
        shutil.copytree(files, self.directory)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.t.request("POST", path, body=body if isinstance(body, bytes) else json.dumps(body).encode())

    def register(self, name: str = "events", **more: Any) -> Answer:
        body = {"name": name, "basepath": str(self.directory), "groupIdColumn": "int_64_userid", "timestampColumn": "int_64_ts"}
        return self.post("/datasets/register", {k: v for k, v in {**body, **more}.items() if v is not ...})

    def query(self, query: Any, name: str = "events") -> Answer:
        return self.post("/datasets/%s/query" % name, query)

    def cli(self, *args: Any, code: int = 0) -> str:
        done = subprocess.run([str(binary()), *map(str, args), "--data", str(self.t.data)], cwd=self.t.cwd, capture_output=True, text=True)
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout if code == 0 else done.stderr


@pytest.fixture
def service(tutti: Callable[..., Tutti], files: Path) -> Service:
    return Service(tutti(query_workers=2), files)


# ---- shapes ----


def test_registering_listing_and_forgetting(service: Service) -> None:
    assert service.t.get("/datasets").json == []
    answer = service.post("/datasets/register", {"name": "events", "basepath": "events", "group_id_column": "int_64_userid", "timestamp_column": "int_64_ts",
                                                 "validation_mode": "FIRST_LAST", "unknown": 1})
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    assert sorted(answer.json) == ["dataset", "requestId", "stats", "success"] and answer.json["success"] is True
    assert re.fullmatch(r"\d{10}-[0-9a-f]{8}", answer.json["requestId"])
    info = answer.json["dataset"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", info["id"].pop("registeredAt"))
    assert info == {"basepath": "events", "totalParts": PARTS, "id": {"name": "events"}, "groupIdColumn": "int_64_userid", "timestampColumn": "int_64_ts"}
    stats = answer.json["stats"]
    assert stats["invoker"]["totalTasks"] == 2 and stats["invoker"]["failedTasks"] == 0 and sum(stats["invoker"]["taskSuccessOverTime"].values()) == 2
    assert stats["worker"]["coldTasks"] + stats["worker"]["warmTasks"] == 2 == sum(stats["worker"]["cache"].values())
    assert stats["dataset"] == {"parts": PARTS, "totalSize": sum(f.stat().st_size for f in service.directory.iterdir())}
    for timing in ("invokeLatency", "loadTime", "totalTime"):
        one = stats["worker"][timing]
        assert sorted(one) == ["50%", "max", "mean", "min"] and 0 < one["min"] <= one["50%"] <= one["max"]
    listed = service.t.get("/datasets").json
    assert len(listed) == 1 and sorted(listed[0]) == ["basepath", "groupIdColumn", "id", "timestampColumn", "totalParts"]
    assert service.post("/datasets/events/unregister").json == {"success": True, "datasetFound": True}
    assert service.post("/datasets/events/unregister").json == {"success": True, "datasetFound": False}
    assert service.t.get("/datasets").json == []


def test_what_a_registration_found_out(service: Service) -> None:
    assert service.register(validationMode="SINGLE").status == 200
    parts = service.t.get("/datasets/events/parts").json
    assert parts == {"namingMethod": "LIST", "totalParts": PARTS, "totalSize": sum(f.stat().st_size for f in service.directory.iterdir()),
                     "filenames": ["part-%d.parquet" % i for i in range(PARTS)]}
    short = service.t.get("/datasets/events/schema").json
    assert short == {"columns": COLUMNS, "minTimestamp": float(BASE), "maxTimestamp": float(BASE + PARTS * 10000),
                     "sourceCategoricals": ["str_category_userid", "str_category_many"], "potentialCategoricals": ["str_and_none", "str_category_few"]}
    full = service.t.get("/datasets/events/schema?full=true").json
    assert full["groupIdColumn"] == "int_64_userid" and full["timestampColumn"] == "int_64_ts" and "unsupportedColumns" not in full
    columns, frame = full["columns"], dataset_files.frame(0)
    assert columns["int_64_userid"] == {"name": "int_64_userid", "dtypeName": "int64", "coltype": "INT", "colattrs": {"categorical": False, "numericMin": 0.0, "numericMax": 199.0}}
    assert columns["bool"]["colattrs"] == {"categorical": False} == columns["float_all_none"]["colattrs"]
    assert columns["int_u32"]["dtypeName"] == "uint32" and columns["float_32"]["dtypeName"] == "float32"
    assert columns["str_category_many"]["dtypeName"] == "category" and columns["datetimes"]["colattrs"]["unitNs"] == {"ms": 10**6, "us": 1000, "ns": 1}[columns["datetimes"]["dtypeName"][11:-1]]
    shown = service.cli("dataset", "show", "events")
    day = lambda ms: pd.Timestamp(ms, unit="ms").strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: E731
    assert re.search(r"^datetimes +DATETIME +%s to %s$" % (day(BASE), day(BASE + 10000)), shown, re.M) and re.search(r"^int_64_userid +INT +0 to 199$", shown, re.M), shown
    assert re.search(r"^str_category_few +STRING +category +0 90.0 %, 1 7.0 %, 2 2.0 %, 3 1.0 %$", shown, re.M)
    few, many = columns["str_category_few"]["colattrs"], columns["str_category_many"]["colattrs"]
    assert few["catTopValues"] == pytest.approx({"0": 0.9, "1": 0.07, "2": 0.02, "3": 0.01}) and few["catUniqueRatio"] == 4 / 1000
    assert len(many["catTopValues"]) == 20 and many["catTopValues"]["0"] == 0.5 and many["catTopValues"]["1"] == 0.2
    shares = frame["str_and_none"].value_counts(normalize=True)
    assert columns["str_and_none"]["colattrs"]["catTopValues"] == pytest.approx(shares.to_dict())
    assert columns["float_32"]["colattrs"]["numericMax"] == float(frame["float_32"].max())
    assert b'"minTimestamp": %s' % repr(float(BASE)).encode() in service.t.get("/datasets/events/schema").body


def test_a_query_and_what_it_says_of_its_work(service: Service) -> None:
    service.register()
    answer = service.query(FUNNEL)
    assert answer.status == 200
    frame = pd.concat([dataset_files.frame(i) for i in range(PARTS)])
    matching = frame[frame.int_64_userid.isin(frame[frame.int_64_userid > 100000].int_64_userid)]
    passed = matching[matching.int_64_userid.isin(matching[matching.int_64_ts >= BASE + 30000].int_64_userid)]
    assert answer.json["query"] == {"matchingGroups": matching.int_64_userid.nunique(), "matchingGroupRows": len(matching)}
    assert answer.json["funnel"]["sequence"] == [{"matchingGroups": passed.int_64_userid.nunique(), "matchingGroupRows": len(passed), "aggregations": None}]
    assert answer.json["funnel"]["endAggregations"] == [{"column": "bool", "type": "countPerValue", "top": 10, "name": None,
                                                         "value": {str(k): v for k, v in passed.bool.value_counts().items()}}]
    worker = answer.json["stats"]["worker"]
    assert answer.json["stats"]["invoker"]["totalTasks"] == PARTS and worker["scannedRows"] == len(frame) and worker["scannedGroups"] == frame.int_64_userid.nunique()
    empty = service.t.get("/datasets/events/empty-query").json
    assert empty["query"] == {"matchingGroups": 800, "matchingGroupRows": 4000} and "funnel" not in empty
    assert service.query(b"{}").json["query"] == empty["query"]


def test_progress_line_by_line(service: Service) -> None:
    for path, body, tasks in (("/datasets/register", {"name": "events", "basepath": "events", "groupIdColumn": "int_64_userid", "timestampColumn": "int_64_ts"}, 2),
                              ("/datasets/events/query", FUNNEL, PARTS)):
        answer = service.post(path + "?stream=true", body)
        lines = answer.body.decode().splitlines()
        assert answer.status == 200 and answer.body.endswith(b"}\n")
        for line in map(json.loads, lines[:-1]):
            assert sorted(line) == ["message", "stage", "tasks"] and line["stage"] in ("RUNNING", "FINISHING") and sum(line["tasks"].values()) == tasks
        assert json.loads(lines[-1])["success"] is True


# ---- failures ----


@pytest.mark.parametrize("change, text", [
    ({"name": ...}, "Error: 'name' missing or invalid in body"), ({"groupIdColumn": ...}, "Error: 'group_id_column' missing or invalid in body"),
    ({"basepath": None}, "Error: 'basepath' missing or invalid in body"), ({"timestampColumn": 5}, "Error: 5 is not a str"),
    ({"validationMode": "SINGLEX"}, "Error: 'SINGLEX' is not a valid DatasetValidationMode"), ({"validateUniques": "123"}, "Error: '123' is not a bool"),
    ({"basepath": ""}, "Error: 'basepath' missing or invalid in body: give the directory of the Parquet files"), ({"columns": []}, "Error: [] is not a dict"), ({"prepare": "yes"}, "Error: 'yes' is not a bool"),
    ({"name": "n" * 1001}, "Error: the name of a dataset has 1001 bytes, and at most 1000 fit into the addresses that ask for it"),
])
def test_bodies_that_cannot_be(service: Service, change: Dict[str, Any], text: str) -> None:
    answer = service.register(**change)
    assert (answer.status, answer.body.decode()) == (400, text) and answer.headers["content-type"].startswith("text/plain")


def test_questions_that_cannot_be(service: Service) -> None:
    service.register()
    for path, body, status, text in (
            ("/datasets/register", b"", 400, "Error: Expecting value: line 1 column 1 (char 0)"),
            ("/datasets/register", b"[]", 400, "Error: the body is no JSON object"),
            ("/datasets/register", b'{"name":"a","name":"b"}', 400, "Error: the body is not JSON: duplicate object key near '\"name\"': line 1 column 18 (char 18): name each member once"),
            ("/datasets/events/query", b"{'query':{}}", 400, "Error: the body is not JSON: string or '}' expected near ''': line 1 column 2 (char 2): names and texts stand in double quotes"),
            ("/datasets/events/query", b"", 422, "Error: Query validation failed: ValidationError(SCHEMA: None is not of type 'object')"),
            ("/datasets/events/query", b"5", 422, "Error: Query validation failed: ValidationError(SCHEMA: 5 is not of type 'object')"),
            ("/datasets/events/query", b" " * (1 << 20) + b"{}", 413, "Error: the body has 1048578 bytes, 1048576 are allowed here: send less at a time"),
            ("/datasets/events/query?stream=true", b"{", 400, "Error: the body is not JSON: string or '}' expected near end of file: line 1 column 1 (char 1)"),
            ("/datasets/a%2Fb/query", b"{}", 404, "Error: Dataset a/b not found"),
            ("/datasets/nowhere!/query", b"{}", 404, "Error: Dataset nowhere! not found"),
            ("/datasets/events/query", b'{"blah":123}', 422,
             "Error: Query validation failed: ValidationError(SCHEMA: Additional properties are not allowed ('blah' was unexpected))")):
        answer = service.post(path, body)
        assert (answer.status, answer.body.decode()) == (status, text)
    assert service.post("/datasets/events/query", b"{").status == 400
    assert service.t.get("/datasets/nowhere/schema").status == 404 == service.t.get("/datasets/nowhere/parts").status


def test_registrations_that_fail(service: Service) -> None:
    def why(**change: Any) -> Tuple[int, str]:
        answer = service.register(**change)
        assert answer.json["success"] is False and "dataset" not in answer.json
        return answer.status, answer.json["errorMessage"]

    assert why(basepath=str(service.t.cwd / "nowhere")) == (
        422, "[Errno 2] No such file or directory: '%s': give the directory of the Parquet files, as the server sees it" % (service.t.cwd / "nowhere"))
    assert why(basepath=str(service.directory / "part-0.parquet"))[1].startswith("[Errno 20] Not a directory: '%s/part-0.parquet': give the directory" % service.directory)
    assert why(pattern="*.csv") == (422, "No files found at %s: no name there matches the pattern *.csv" % service.directory)
    assert why(basepath="/etc")[1].startswith("'/etc' leads outside the allowed directories")
    status, text = why(groupIdColumn="notacolumn", validationMode="SINGLE", validateUniques=False)
    assert status == 422 and text.startswith("No more retries for task(s): [0], failing. Task errors: ['Column notacolumn not found in file part-0.parquet: its columns are int_64_userid, ")
    assert re.search(r"Column int_64_user not found in file part-\d.parquet: did you mean 'int_64_userid'\? Its columns are ", why(groupIdColumn="int_64_user")[1])
    assert "Group column float_64_ts type must be either integer or string" in why(groupIdColumn="float_64_ts")[1]
    assert "Some values in column str_and_none are null" in why(groupIdColumn="str_and_none")[1]
    assert "Column float_32 has NaN values" in why(timestampColumn="float_32")[1]
    assert "Column str_userid is not numeric" in why(timestampColumn="str_userid")[1]
    shutil.copy(service.directory / "part-0.parquet", service.directory / "part-9.parquet")
    assert why(validationMode="FIRST_LAST")[1] == (
        "Group IDs are not unique across the 2 sampled files! Count of unique IDs merged from all sampled files (200) should equal the simple sum of the "
        "unique IDs counts from each file (400)")
    dataset_files.frame(9).drop(columns="bool").to_parquet(service.directory / "part-9.parquet")
    assert why()[1].startswith("Schemas differ!\nIn %s/part-0.parquet (%d columns):\n{" % (service.directory, len(COLUMNS)))
    (service.directory / "part-9.parquet").write_bytes(b"not a Parquet file")
    assert "part-9.parquet" in why()[1]
    assert service.t.get("/datasets").json == []
    assert service.register(name="elsewhere", basepath="/etc").status == 403


GOOD = [{"user": [1, 1, 2], "ts": [1, 2, 3], "event": ["a", "b", "a"]}, {"user": [5], "ts": [4], "event": ["a"]}]
DAYS = [pd.to_datetime(t, unit="s").astype("datetime64[ms]") for t in ([1, 2, 3], [4])]


def without(column: str) -> Dict[str, Any]:
    return {k: v for k, v in GOOD[1].items() if k != column}


ODD = [
    ({**GOOD[1], "user": ["x"]}, "`user` is INT in p0.parquet and STRING in p1.parquet", "column user of p1.parquet is STRING, not of type INT, as it was when"),
    ({"user": [5, None], "ts": [4, 5], "event": ["a", "a"]}, "Group column user type must be either integer or string, but found: FLOAT in p1.parquet", "column user of p1.parquet is FLOAT, not of type INT"),
    (without("user"), "Column user not found in file p1.parquet: its columns are ts, event", "Column user not found in file p1.parquet, but in others"),
    (without("ts"), "Column ts not found in file p1.parquet: its columns are user, event", "Column ts not found in file p1.parquet, but in others"),
    ({**GOOD[1], "ts": [1.5]}, "`ts` is INT in p0.parquet and FLOAT in p1.parquet", "column ts of p1.parquet is FLOAT, not of type INT"),
    ({**GOOD[1], "ts": ["4"]}, "Column ts is not numeric but STRING in p1.parquet", "column ts of p1.parquet is STRING, not of type INT"),
    ({**GOOD[1], "ts": DAYS[1]}, "`ts` is INT in p0.parquet and DATETIME in ms in p1.parquet", "column ts of p1.parquet is DATETIME in ms, not of type INT"),
    ({**GOOD[1], "event": [7]}, "`event` is STRING in p0.parquet and INT in p1.parquet", "column event of p1.parquet is INT, not of type STRING"),
    (without("event"), "`event` is not in p1.parquet", "Column event not found in file p1.parquet, but in others"),
]


def test_files_that_do_not_fit(tutti: Callable[..., Tutti], tmp_path: Path) -> None:
    """As a sample one fails the registration, with the older words in front; as another file it is named by the registration, by the query, and by the check."""
    (tmp_path / "none").mkdir()
    service = Service(tutti(query_workers=1), tmp_path / "none")
    query = {"funnel": {"sequence": [{"filter": ["event", "==", "a"]}, {"filter": ["event", "==", "b"]}]}}
    for odd, registered, asked in ODD:
        for i, part in enumerate((GOOD[0], odd)):
            pd.DataFrame(part).to_parquet(service.directory / ("p%d.parquet" % i))
        refused = service.register(groupIdColumn="user", timestampColumn="ts", validationMode="FIRST_LAST")
        assert refused.status == 422 and registered in refused.json["errorMessage"], refused.body
        accepted = service.register(groupIdColumn="user", timestampColumn="ts", validationMode="SINGLE")
        assert accepted.status == 200 and [(a["level"], a["about"]) for a in accepted.json["advice"]] == [("fault", "p1.parquet")]
        assert registered in accepted.json["advice"][0]["text"]
        answer = service.query(query)
        assert answer.status == 422 and asked in answer.json["errorMessage"] and "register the dataset again" in answer.json["errorMessage"], answer.body
        faults = service.post("/v1/datasets/events/check").json["advice"]
        assert [a["level"] for a in faults] == ["fault"] and "p1.parquet" in faults[0]["text"] and registered.split(" in p0")[0] in faults[0]["text"]
    assert service.cli("dataset", "check", "events", code=3) == "tutti: 1 fault\n"
    assert '"code":"check_failed"' in service.cli("dataset", "check", "events", "--json", code=3)


def test_units_that_a_declaration_hides(service: Service) -> None:
    """`int` of timestamps: whole numbers of different units would be compared."""
    shutil.rmtree(service.directory)
    service.directory.mkdir()
    for i, unit in enumerate(("ms", "us")):
        pd.DataFrame({"user": [i], "ts": pd.to_datetime([5 + i], unit="s").astype("datetime64[%s]" % unit)}).to_parquet(service.directory / ("p%d.parquet" % i))
    columns = {"groupIdColumn": "user", "timestampColumn": "ts", "columns": {"ts": "int"}}
    assert "`ts` is INT of times in ms in p0.parquet and INT of times in us in p1.parquet" in service.register(**columns).json["errorMessage"]
    assert service.register(**columns, validationMode="SINGLE").status == 200
    assert "column ts of p1.parquet is DATETIME in us, not of type INT of times in ms" in service.query({"query": {"conditions": [{"filter": ["ts", ">", 0]}]}}).json["errorMessage"]


COMMANDS = [
    (["register"], 2, "NAME is missing"), (["register", "x"], 2, "PATH is missing"), (["register", "x", "events"], 2, "--group COLUMN (users, cases) and --timestamp COLUMN"),
    (["register", "x", "events", "-g", "user"], 2, "--timestamp COLUMN"), (["register", "", "events", "-g", "a", "-t", "b"], 2, "the name is empty"),
    (["register", "\udcff", "events", "-g", "a", "-t", "b"], 2, "the name is not UTF-8"), (["register", "x", "e\udcff", "-g", "a", "-t", "b"], 2, "the path is not UTF-8"),
    (["register", "x", "events", "-g", "a", "--time", "ts"], 1, "Column a not found in file part-"), (["register", "x", "nowhere", "-g", "a", "-t", "b"], 1, "give the directory of the Parquet files"),
    (["register", "x", "events", "-g", "a", "-t", "b", "--validation", "all"], 2, "give single, first_last or sample"), (["register", "x", "events", "-g", "a", "-t", "b", "--column", "a"], 2, "give NAME=TYPE"),
    (["register", "x", "events", "-g", "a", "-t", "b", "--column", "a=date"], 2, "give category, string, int"), (["register", "x", "s3://b/k", "-g", "a", "-t", "b"], 1, "copy the files into a local directory"),
    (["register", "x", "events", "-g", "int_64_userid", "-t", "int_64_ts", "--column", "bool=int"], 1, "column bool cannot be given the type int: it is of type BOOL in the file part-"),
    *[([verb, "nothing"], 4, "Dataset nothing not found: tutti dataset list shows those that are registered") for verb in ("show", "parts", "check", "prepare")],
    (["shw", "events"], 2, "did you mean `tutti dataset show`?"), (["list", "x"], 2, "one argument too many"), (["unregister", "events"], 5, "add --force"),
]
QUERIES = [
    (["nothing", "{}"], 4, "Dataset nothing not found: tutti dataset list"), (["d", "{}"], 4, "Dataset d not found: there is a file of this name: queries of files need --group"), (["events"], 2, "no query is given"), (["events", "{"], 2, "the query is not JSON"), (["events", "{}", "{}"], 2, "one dataset at a time"),
    (["events", "--empty", "-g", "user", "-t", "ts"], 2, "events is a directory: give its files"), (["events", "--empty", "-g", "user"], 2, "--group is for queries of files"),
    (["events", '{"query":{"conditions":[{"filter":["bol","==",true]}]}}'], 2, "Column 'bol' not in dataset: did you mean 'bool'?"),
    (["events", "{}", "--export", "nowhere/x.csv"], 4, "cannot create, its directory is not there"), (["events", "{}", "--export", "x.csv", "--export-step", "3"], 2, "a funnel of 0 steps"),
]


def test_commands_that_cannot_be(service: Service) -> None:
    service.register()
    service.query({})
    for arguments, code, text in [(["dataset", *one[0]], *one[1:]) for one in COMMANDS] + [(["query", *one[0]], *one[1:]) for one in QUERIES]:
        done = subprocess.run([str(binary()), *arguments, "--data", str(service.t.data)], cwd=service.t.cwd, capture_output=True, text=True, errors="surrogateescape")
        assert (done.returncode, text in done.stderr, done.stdout) == (code, True, ""), (arguments, done.stderr[:600], done.stdout)


def test_a_dataset_that_is_removed_while_it_is_asked(service: Service) -> None:
    """Whoever asks it has an answer or is told so."""
    for _ in range(3):
        service.register()
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(service.query, {"query": {"aggregations": [{"column": "bool"}]}}) for _ in range(8)]
            assert service.post("/datasets/events/unregister?force=true").json["datasetFound"] is True
            statuses = {answer.result().status for answer in answers}
        assert statuses <= {200, 404} and service.query({}).status == 404, statuses


def test_a_dataset_in_use_is_kept(service: Service) -> None:
    service.register()
    service.query({})
    answer = service.post("/datasets/events/unregister")
    assert answer.status == 409 and answer.json["success"] is False and answer.json["datasetFound"] is True and answer.json["datasetLastUsed"] > 1.7e9
    assert re.fullmatch(r"Dataset was last used \d+ seconds ago, which is less than safety interval 30\. Use the 'force' parameter to unregister anyway\.",
                        answer.json["errorMessage"])
    assert service.post("/datasets/events/unregister?force=TRUE").json["datasetFound"] is True
    assert service.register().status == 200 and service.post("/datasets/events/unregister").status == 200


def test_files_that_are_not_what_they_were(service: Service) -> None:
    service.register()
    assert service.query({}).status == 200
    part = service.directory / "part-2.parquet"
    dataset_files.frame(7).to_parquet(part)
    answer = service.query({})
    assert answer.status == 409 and "part-2.parquet has changed since the dataset was registered: register it again" in answer.json["errorMessage"]
    part.unlink()
    assert "part-2.parquet is gone since the dataset was registered" in service.query({}).json["errorMessage"]
    assert service.register().json["dataset"]["totalParts"] == PARTS - 1 and service.query({}).json["query"]["matchingGroups"] == 600


def test_statuses_of_the_older_service(tutti: Callable[..., Tutti], files: Path) -> None:
    service = Service(tutti(query_workers=1, env={"TUTTI_QUERY_LEGACY_STATUS": "true", "FROCKET_APISERVER_PRETTYPRINT": "false"}), files)
    assert service.register(name=...).status == service.query({}).status == service.register(pattern="none").status == 500
    assert b'": ' not in service.register(pattern="*.csv").body


# ---- the command line ----


def test_commands_with_and_without_a_server(service: Service, files: Path) -> None:
    query = json.dumps(FUNNEL)
    direct = json.loads(service.cli("query", *sorted(service.directory.iterdir()), "--group", "int_64_userid", "--time", "int_64_ts", "-e", query, "--json"))
    for served in (True, False):
        if not served:
            service.t.stop()
        made = service.cli("dataset", "register", "shop", service.directory, "--group", "int_64_userid", "--timestamp", "int_64_ts", "--column", "str_userid=category")
        assert made == "shop is registered: 4 parts\n"
        assert json.loads(service.cli("dataset", "list", "--json"))["datasets"][0]["id"]["name"] == "shop"
        assert "shop" in service.cli("dataset", "list") and "str_category_few" in service.cli("dataset", "show", "shop")
        assert service.cli("dataset", "parts", "shop").split() == ["part-%d.parquet" % i for i in range(PARTS)]
        answer = json.loads(service.cli("query", "shop", query, "--json"))
        assert answer["query"] == direct["query"] and answer["funnel"] == direct["funnel"] and answer["schema"] == 1
        assert "599 groups match" in service.cli("query", "shop", "-e", query)
        assert "Dataset nothing not found" in service.cli("query", "nothing", "--empty", code=4)
        assert "less than safety interval" in service.cli("dataset", "unregister", "shop", code=5)
        assert service.cli("dataset", "unregister", "shop", "--force") == "shop is unregistered; its files stay\n"
        assert service.cli("dataset", "unregister", "shop") == "shop was not registered\n"

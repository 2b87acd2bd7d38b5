"""Scoped tokens: what each may do, on every kind of route, with the peer on loopback."""
import pytest

TOKENS = {"TUTTI_SERVER_TOKEN": "master-tok", "TUTTI_SERVER_OPERATOR_TOKEN": "operator-tok", "TUTTI_SERVER_READ_TOKEN": "read-tok"}

# route, body, who may call it
ROUTES = [
    ("GET", "/v1/jobs", None, {"master", "operator", "read"}),
    ("GET", "/v1/workers", None, {"master", "operator", "read"}),
    ("POST", "/v1/jobs/guarded/claim?n=0", None, {"master", "operator", "job"}),
    ("POST", "/serve?job_name=guarded&batch_size=0", None, {"master", "operator", "job"}),
    ("POST", "/v1/tasks/probe?timeout=0", None, {"master", "operator"}),
    ("GET", "/purge", None, {"master"}),
]


@pytest.mark.parametrize("who", ["master", "operator", "read", "job", "wrong", None])
def test_each_scope_opens_its_routes_and_no_other(tutti, who):
    t = tutti(env=TOKENS)
    (t.cwd / "in.jsonl").write_text('{"a":1}\n')
    t.post("/scramble", {"input_file_path": "in.jsonl", "output_file_path": "out.jsonl"},
           params={"job_name": "guarded", "reader_name": "JsonlReader", "writer_name": "JsonlWriter", "token": "job-tok"})
    headers = {"Authorization": "Bearer %s-tok" % who} if who else {}
    for method, path, body, allowed in ROUTES:
        answer = t.request(method, path, body, headers=headers)
        refused = answer.status in (401, 403)
        assert refused == (who not in allowed), (who, method, path, answer.status, answer.text)


def test_tokens_never_reach_log_or_answers(tutti):
    t = tutti(env=TOKENS)
    for token in ("master-tok", "operator-tok", "nonsense-tok"):
        t.get("/v1/jobs", params={"token": token})
        t.get("/v1/jobs", headers={"Authorization": "Bearer " + token})
    assert "path=/v1/jobs" in t.log()
    assert "-tok" not in t.log()

"""Fixtures for all tests of the whole program: `tutti` starts it, `shared` finds the corpora beside the project."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional

import pytest
from redis_process import Redis
from config_database import Config
import mail_server as mail
from shared_house import House
import sql_servers
from tutti_process import ROOT, Tutti, binary, is_sanitized

# What a build with sanitizers is not asked again: these run other programs, or the same ways of ours as another file does that it is asked. Whatever reads
# strange bytes, keeps the ledger, answers queries or is meant to be killed is not here.
RELEASE_ONLY = {
    "e2e/test_aarch64.py": "runs an emulator, and not the program",
    "e2e/test_client_handout.py": "is about the Python client; the server's part is in test_items_handout.py",
    "e2e/test_demo.py": "is about script/demo",
    "e2e/test_docs.py": "is about texts, and the areas' own files have what they say",
    "e2e/test_example_retail.py": "is about script/example-retail",
    "e2e/test_install.py": "is about where files lie",
    "e2e/test_mail.py": "is about programs in Python, which test_executions.py and test_programs.py have too",
    "lint/test_lint.py": "does not run the program",
    "peers/test_planchet_client.py": "is about the older service's client; its routes are in test_items_spec.py",
}

SERVERS: pytest.StashKey[List[Tutti]] = pytest.StashKey()
SHOWN_LINES = 15
ID_LENGTH = 60

# A shell that starts us in the background has SIGINT ignored, which programs started from here would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests marked `long` as well")
    parser.addoption("--server-logs", action="store_true", help="show the whole logs of failed tests' servers")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of a module with the mark `stores` run on the ledger of one machine, and on one that is shared over Redis: there with --long only, but for
    those marked `both_stores`. TUTTI_TEST_STORE=sqlite or =redis: on that one alone, all of them."""
    if not metafunc.definition.get_closest_marker("stores") or metafunc.definition.get_closest_marker("one_store"):
        return
    chosen = os.environ.get("TUTTI_TEST_STORE")
    marks = [] if chosen or metafunc.definition.get_closest_marker("both_stores") else [pytest.mark.long]
    all_of_them = {"sqlite": pytest.param("sqlite"), "redis": pytest.param("redis", marks=marks)}
    metafunc.fixturenames.insert(0, "store")
    metafunc.parametrize("store", [all_of_them[chosen]] if chosen else list(all_of_them.values()), indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "sqlite")


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="only with script/test --long"))
            reason = RELEASE_ONLY.get(item.path.relative_to(ROOT / "tests").as_posix())
            if reason and is_sanitized():
                item.add_marker(pytest.mark.skip(reason="only on a build without sanitizers: " + reason))


def pytest_make_parametrize_id(val: Any) -> Optional[str]:
    """Long parameters have short names: a test's name stands in every report, and in the environment of what it starts."""
    if isinstance(val, (str, bytes)) and len(val) > ID_LENGTH:
        return "%s...(%d)" % (repr(val[:ID_LENGTH]).strip("b'\""), len(val))
    return None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure is shown with the logs of its servers."""
    report = (yield).get_result()
    if report.failed and report.when == "call":
        for one in item.stash.get(SERVERS, []):
            lines = one.log().splitlines(keepends=True)
            shown = lines if item.config.getoption("--server-logs") else lines[-SHOWN_LINES:]
            title = "log of %s%s" % (one.cwd.name, "" if len(shown) == len(lines) else " (its end: script/test --log shows it all)")
            report.sections.append((title, "".join(shown)))


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """For tests that do more rounds with script/test --long."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def tutti(tmp_path: Path, request: pytest.FixtureRequest, store: str) -> Iterator[Callable[..., Tutti]]:
    """tutti(args=[...], env={...}, workers=0, start=True) -> Tutti, each in a fresh directory; ended and checked after the test. With the store `redis` each
    shares a Redis of its own, which ends after it."""
    assert binary().exists(), "no program at %s: run script/build, or set TUTTI_BIN" % binary()
    made: List[Tutti] = request.node.stash.setdefault(SERVERS, [])
    redises: List[Redis] = []

    def make(*, start: bool = True, **options: Any) -> Tutti:
        if store == "redis":
            redises.append(Redis(tmp_path / ("store%d" % len(made)), "--maxmemory-policy", "noeviction"))
            options["env"] = {"TUTTI_SHARED": redises[-1].url, **options.get("env", {})}
        made.append(Tutti(tmp_path / ("t%d" % len(made)), **options))
        made[-1].cwd.mkdir()
        return made[-1].start() if start else made[-1]

    yield make
    faults = []
    for one in made:
        try:
            one.finish()
        except AssertionError as fault:
            faults.append(str(fault))
    for redis_server in redises:
        redis_server.kill()
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="module")
def commons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[List[Tutti]]:
    made: List[Tutti] = []
    yield made
    for one in made:
        one.finish()


@pytest.fixture
def common(commons: List[Tutti], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Tutti:
    """One server for the tests of a file, for those that leave nothing behind but jobs and files: most of the time of a short test is the start and
    the end of a server. Before each test it runs, without jobs, in an empty directory (but for its data)."""
    if not commons:
        commons.append(Tutti(tmp_path_factory.mktemp("common") / "t"))
    one = commons[-1]
    request.node.stash.setdefault(SERVERS, []).append(one)
    if not one.process:
        one.start()
    assert one.get("/purge?output=true").status == 200
    for path in one.cwd.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path != one.data:
                shutil.rmtree(path)
        else:
            path.unlink()
    return one


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Callable[..., Redis]]:
    """redis(OPTION..., appendonly=True) -> Redis, each with data of its own; ended after the test. Skips where there is none."""
    made: List[Redis] = []

    def make(*options: str, **more: Any) -> Redis:
        made.append(Redis(tmp_path / ("redis%d" % len(made)), *options, **more))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """small_disk(size) mounts a file system of that size, or changes it."""
    place = tmp_path / "small"
    place.mkdir()
    mounted: List[str] = []

    def mount(size: str) -> Path:
        options = "size=" + size + (",remount" if mounted else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
        if done.returncode:
            pytest.skip("mounting is not permitted")
        mounted.append(size)
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def house(tutti: Callable[..., Tutti], redis: Callable[..., Redis], tmp_path: Path) -> Iterator[House]:
    """A Redis, servers and machines with workers alone: shared_house.House."""
    made = House(tutti, redis, tmp_path)
    yield made
    made.close()


@pytest.fixture
def shared() -> Path:
    """The folder of corpora beside the project (TUTTI_CORPORA/data, ../shared/data, ../../shared/data); skips where there is none."""
    tops = [os.environ.get("TUTTI_CORPORA"), ROOT.parent / "shared", ROOT.parent.parent / "shared"]
    for top in tops:
        if top and (Path(top) / "data").is_dir():
            return Path(top) / "data"
    pytest.skip("no shared data beside the project (set TUTTI_CORPORA)")


def _database(kind: Any, program: str) -> Iterator[sql_servers.Server]:
    if not sql_servers.find(program):
        pytest.skip("no %s: script/setup installs it" % program)
    server = kind()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def mail_server() -> Iterator[mail.MailServer]:
    """A Dovecot for all tests of the session; each has users of its own."""
    if not Path(mail.PROGRAM).exists():
        pytest.skip("no dovecot: script/setup installs it")
    server = mail.MailServer()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[sql_servers.Server]:
    """A PostgreSQL for all tests of the session; each makes tables of its own."""
    yield from _database(sql_servers.Postgres, "initdb")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[sql_servers.Server]:
    """A MariaDB, likewise."""
    yield from _database(sql_servers.MariaDb, "mariadb-install-db")


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Config]:
    """The configuration database, in each engine."""
    yield Config(tmp_path, request.getfixturevalue("postgres") if request.param == "postgresql" else None)

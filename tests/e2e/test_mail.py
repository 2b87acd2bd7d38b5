"""Reports that come by mail: the program mail_report and the mailbox helpers of older platforms, against a Dovecot."""
import base64
import binascii
import email.message
import email.policy
import io
import json
import os
import sqlite3
import sys
import zipfile
from itertools import count

import pytest
from test_programs import Programs
from tutti_process import until

NUMBERS = count(1)
CSV = "channel,gross,country\r\n12345678,2.5,UK\r\n87654321,4,DE\r\n"
ROWS = [{"channel": "12345678", "gross": "2.5", "country": "UK"}, {"channel": "87654321", "gross": "4", "country": "DE"}]


def message(*attachments, subject="Daily report", sender="Reports <reports@example.org>", date="Fri, 02 Jan 2026 08:00:00 +0000", identity=None):
    """A mail as programs write it: text, and attachments (name, content, type)."""
    made = email.message.EmailMessage(policy=email.policy.SMTP)
    made["From"], made["To"], made["Subject"], made["Date"] = sender, "ada@example.com", subject, date
    made["Message-ID"] = identity or "<%d.%d@example.org>" % (os.getpid(), next(NUMBERS))
    made.set_content("See the attachment.\n")
    made.add_alternative("<p>See the attachment.</p>", subtype="html")
    for name, content, kind in attachments:
        maintype, _, subtype = kind.partition("/")
        made.add_attachment(content if isinstance(content, bytes) else content.encode(), maintype=maintype, subtype=subtype, filename=name)
    return made.as_bytes()


def csv_message(**how):
    return message(("report.csv", CSV, "text/csv"), **how)


@pytest.fixture
def box(mail_server):
    return mail_server.mailbox()


@pytest.fixture
def report(tmp_path, box):
    """Runs mail_report on the mailbox in the foreground: its outcome, and the records."""
    programs = Programs(tmp_path)

    def run(**settings):
        given = {**where(box), **settings}
        result = programs.here("mail_report", *("%s=%s" % (k, v if isinstance(v, str) else json.dumps(v)) for k, v in given.items()),
                               env={"TUTTI_PROGRAMS_PYTHON": sys.executable})
        return result, [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return run


def where(box, tls=True):
    tied = {"security": "tls", "port": box.server.tls_port, "ca_file": str(box.server.cert)} if tls else {"security": "none", "port": box.server.port}
    return {"host": "localhost", "user": box.user, "password": box.password, **tied}


# ---- finding ----


def test_messages_are_found_by_sender_subject_and_day(report, box):
    box.put(csv_message())
    box.put(csv_message(sender="others@example.org"))
    box.put(csv_message(subject="Wöchentlicher Bericht"))
    box.put(csv_message(date="Sat, 03 Jan 2026 08:00:00 +0000"))
    result, rows = report(sender="reports@example.org", subject="daily", date="2026-01-02")
    assert result.returncode == 0 and rows == ROWS, result
    assert "login: completed" in result.stderr and box.password not in result.stderr + result.stdout
    assert len(report(subject="Wöchentlich")[1]) == 2
    assert len(report(sender="reports@")[1]) == 6
    assert len(report(sender="reports@", since="2026-01-03")[1]) == 2
    result, rows = report(subject="nothing like this")
    assert result.returncode == 0 and rows == [] and "mailbox: no message" in result.stderr
    result, rows = report(which="latest")
    assert len(rows) == 2 and "using the latest of multiple matching messages" in result.stderr
    assert not any("Seen" in flags for flags in box.flags())


def test_records_are_shaped_as_those_of_other_reports(report, box):
    box.put(csv_message())
    result, rows = report(rename={"gross": "earnings"}, filters=[{"column": "earnings", "above": 3}], lower=["country"], constants={"network": "n"},
                          keep=["country", "earnings", "network"])
    assert rows == [{"country": "de", "earnings": "4", "network": "n"}], result


def test_a_folder_with_an_odd_name(report, box):
    box.put(csv_message(), folder='"Entw&APw-rfe &- &ZeVnLA-"')
    assert report(folder="Entwürfe & 日本")[1] == ROWS
    result, _ = report(folder="Nowhere")
    assert result.returncode == 1 and "there is no folder `Nowhere`" in result.stderr


# ---- logging in ----


def test_who_may_log_in(report, box):
    box.put(csv_message())
    result, _ = report(password="wrong-password")
    assert result.returncode == 1 and "localhost refuses the login of %s" % box.user in result.stderr and "wrong-password" not in result.stderr
    result, _ = report(ca_file="")
    assert result.returncode == 1 and "localhost is not who it says it is" in result.stderr, result
    result, _ = report(host="127.0.0.1")  # the certificate is for another name
    assert result.returncode == 1 and "127.0.0.1 is not who it says it is" in result.stderr, result
    result, _ = report(port=1)
    assert result.returncode == 1 and "localhost cannot be reached" in result.stderr
    assert report(**where(box, tls=False))[1] == ROWS
    assert report(**{**where(box, tls=False), "security": "starttls", "ca_file": str(box.server.cert)})[1] == ROWS


# ---- attachments ----


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return out.getvalue()


def workbook():
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["nothing", "here"])
    sheet = book.create_sheet("Sales")
    for row in (["channel", "gross", "country"], ["12345678", 2.5, "UK"], [None, None, None], ["87654321", 4, "DE"]):
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_archives_and_workbooks(report, box):
    box.put(message(("report.zip", zipped(readme_txt="x", report_csv=CSV), "application/zip"), subject="zip"))
    assert report(subject="zip")[1] == ROWS
    sheet = [{"channel": "12345678", "gross": 2.5, "country": "UK"}, {"channel": "87654321", "gross": 4, "country": "DE"}]
    box.put(message(("report.xlsx", workbook(), "application/octet-stream"), subject="book"))
    result, rows = report(subject="book", sheet="Sales")
    assert rows == sheet, result
    box.put(message(("r.zip", zipped(report_xlsx=workbook()), "application/zip"), subject="both"))
    assert report(subject="both", sheet="Sales")[1] == sheet
    result, _ = report(subject="book", sheet="Nope")
    assert result.returncode == 1 and "no sheet `Nope`: Sheet, Sales" in result.stderr


def test_which_attachments_are_taken(report, box):
    box.put(message(("logo.png", b"\x89PNG", "image/png"), ("a.csv", CSV, "text/csv"), ("b.csv", "x\r\n1\r\n", "application/octet-stream")))
    assert len(report()[1]) == 3
    assert report(attachment="B.*")[1] == [{"x": "1"}]
    result, rows = report(attachment="c.*")
    assert result.returncode == 0 and rows == [] and "no attachment that is asked for" in result.stdout


RAW = """From: reports@example.org\r
Subject: %s\r
Date: Fri, 02 Jan 2026 08:00:00 +0000\r
MIME-Version: 1.0\r
%s\r
\r
%s"""


@pytest.mark.parametrize("header, body", [
    ("Content-Type: text/csv; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable", "city\r\nK=F6ln\r\n"),
    ("Content-Type: text/csv; charset=utf-16\r\nContent-Transfer-Encoding: base64", base64.encodebytes("city\r\nKöln\r\n".encode("utf-16")).decode()),
    ("Content-Type: text/csv; charset=us-ascii\r\nContent-Transfer-Encoding: 8bit", "\ufeffcity\r\nKöln\r\n"),
    ("Content-Type: application/octet-stream; name*0*=utf-8''%43ities; name*1=\"%2E.csv\"\r\nContent-Transfer-Encoding: 8bit", "city\r\nKöln\r\n"),
    ("Content-Type: application/octet-stream; name=\"=?utf-8?B?U3TDpGR0ZS5jc3Y=?=\"", "city\r\nKöln\r\n"),
    ("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"../../../../etc/passwd.csv\"", "city\r\nKöln\r\n"),
    ("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"C:\\\\temp\\\\\x07r.csv\"", "city\r\nKöln\r\n"),
    ("Content-Type: multipart/mixed; boundary=a", "--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
     "Subject: inner\r\nContent-Type: multipart/related; boundary=c\r\n\r\n--c\r\nContent-Type: text/csv\r\n\r\ncity\r\nKöln\r\n--c--\r\n--b--\r\n--a--\r\n"),
    ("Content-Type: multipart/mixed; boundary=a", "--a\r\nContent-Type: text/csv\r\n\r\ncity\r\nKöln"),  # cut off
    ("Content-Type: text/csv; charset=utf-8\r\nContent-Transfer-Encoding: x-uuencode",
     "begin 644 r.csv\n%s \nend\n" % binascii.b2a_uu("city\r\nKöln\r\n".encode()).decode()),
], ids=["latin", "utf-16", "a mark", "rfc2231", "rfc2047", "path", "windows path", "nested", "cut off", "uuencode"])
def test_odd_mails_that_can_be_read(report, box, header, body):
    box.put((RAW % ("odd", header, body)).encode())
    result, rows = report()
    assert rows == [{"city": "Köln"}], result
    assert "passwd" not in result.stderr or "../" not in result.stderr


def bomb():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("bomb.csv", "w", force_zip64=True) as file:
        for _ in range(33):
            file.write(bytes(1 << 20))
    return out.getvalue()


HOSTILE = {
    "deep": lambda: (RAW % ("x", "Content-Type: multipart/mixed; boundary=0", "".join(
        "--%d\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n" % (n, n + 1) for n in range(3000)))).encode(),
    "many parts": lambda: (RAW % ("x", "Content-Type: multipart/mixed; boundary=a", "--a\r\nContent-Type: text/csv\r\n\r\na\r\n1\r\n" * 1100)).encode(),
    "bad base64": lambda: (RAW % ("x", "Content-Type: text/csv\r\nContent-Transfer-Encoding: base64", "Y2l0eQpLw7ZsbgoK*")).encode(),
    "unknown charset": lambda: (RAW % ("x", "Content-Type: text/csv; charset=x-klingon", "city\r\nBonn\r\n")).encode(),
    "not the charset": lambda: (RAW % ("x", "Content-Type: text/csv; charset=utf-8", "city\r\nK")).encode() + b"\xf6ln\r\n",
    "cut zip": lambda: message(("r.zip", zipped(report_csv=CSV)[:-30], "application/zip")),
    "bomb": lambda: message(("r.zip", bomb(), "application/zip")),
    "no workbook": lambda: message(("r.xlsx", zipped(**{"xl/workbook_xml": "<a/>"}), "application/octet-stream")),
    "too large": lambda: message(("r.csv", "a\r\n" + "x" * (3 << 20), "text/csv")),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_mail_that_cannot_be_read_keeps_no_other_away(report, box, kind):
    box.put(HOSTILE[kind]())
    box.put(csv_message())
    result, rows = report(most_mb=2)
    assert result.returncode == 0 and rows == ROWS, result
    assert "message 1 cannot be read: " in result.stdout, result


def test_only_such_mails_are_a_failure(report, box):
    box.put(HOSTILE["cut zip"]())
    result, _ = report()
    assert result.returncode == 1 and "message 1 cannot be read: BadZipFile" in result.stderr, result


# ---- once ----


class Shop:
    """A server whose worker stores reports into a table."""

    def __init__(self, t, box):
        self.t, self.box = t, box
        self.db = sqlite3.connect(t.cwd / "shop.db", isolation_level=None)

    def make_table(self):
        self.db.execute("CREATE TABLE sales (channel TEXT, gross REAL, country TEXT, UNIQUE (channel, country))")

    def run(self, **settings):
        storage = {"type": "sqlite", "settings": {"path": "shop.db", "table": "sales"}}
        started = self.t.post("/v1/executions", {"program": "mail_report", "settings": {**where(self.box), "storage": storage, **settings}, "max_attempts": 1}).json
        return until(lambda: (lambda e: e["ended"] and e)(self.t.get("/v1/executions/%s?wait=5s" % started["id"]).json), "its end", 60)

    def rows(self):
        return self.db.execute("SELECT channel, gross, country FROM sales ORDER BY channel").fetchall()


@pytest.fixture
def shop(tutti, box):
    made = Shop(tutti(workers=1, env={"TUTTI_PROGRAMS_PYTHON": sys.executable}), box)
    yield made
    made.db.close()


def test_each_message_is_stored_once(shop, box):
    box.put(csv_message(identity="<one@example.org>"))
    box.put(csv_message(identity="<one@example.org>"))  # delivered twice
    lost = shop.run()
    assert lost["state"] == "failed" and "there is no table `sales`" in lost["reason"], lost
    shop.make_table()
    shown = shop.run()  # what was not stored was not remembered
    assert shown["state"] == "finished" and shown["counters"]["messages"] == 1 and shown["counters"]["messages_known"] == 1, shown
    assert shop.rows() == [("12345678", 2.5, "UK"), ("87654321", 4, "DE")]
    shop.db.execute("UPDATE sales SET gross = 0")
    again = shop.run()
    assert again["counters"]["messages"] == 0 and again["counters"]["messages_known"] == 2 and again["result"] is False, again
    assert [row[1] for row in shop.rows()] == [0, 0]
    shop.t.restart()
    box.put((RAW % ("no id", "Content-Type: text/csv", "channel,gross,country\r\n9,1,FR\r\n")).encode())
    assert shop.run()["counters"]["messages"] == 1
    assert shop.run()["counters"].get("records", 0) == 0
    assert len(shop.rows()) == 3
    assert shop.run(again=True)["counters"]["records"] == 3 and shop.rows()[0][1] == 2.5


@pytest.mark.parametrize("then", ["mark", "move", "delete"])
def test_a_message_is_put_away_when_it_is_stored(shop, box, then):
    shop.make_table()
    box.put(csv_message())
    box.put(csv_message(sender="others@example.org"))
    box.put(csv_message(), folder="Done")
    how = {"sender": "reports@", "then": then, **({"move_to": "Done"} if then == "move" else {})}
    assert shop.run(**how)["state"] == "finished"
    assert len(box.flags()) == 2 and not any("Seen" in flags for flags in box.flags())
    shown = shop.run(**how)
    assert shown["state"] == "finished" and shown["counters"]["messages_put_away"] == 1, shown
    assert len(box.flags()) == (2 if then == "mark" else 1)
    assert [("Seen" in flags) for flags in box.flags()] == ([True, False] if then == "mark" else [False])
    assert len(box.flags("Done")) == (2 if then == "move" else 1)


# ---- platforms of the older collector ----

PLATFORM = """
import csv
from datetime import datetime
from io import StringIO

from platforms.base_platform import BasePlatform


class PrivateEmailPlatform1(BasePlatform):
    MAIL_CONFIG = %s

    def __init__(self, date: datetime, storage: dict):
        super().__init__()
        self.date, self._store, self._settings = date, {'mysql': self._store_mysql}[storage['type']], storage['settings']

    def _run(self):
        mailbox = self._get_mailbox()
        uids = self._search_mailbox(mailbox)
        if len(uids) > 1:
            self.update('warning', 'using the latest of multiple matching messages')
        named = self._find_attachment('REPORT.csv', mailbox, uids)
        for payload in self._get_message(mailbox, max(named)).get_payload():
            if payload.get_filename():
                mailbox.logout()
                rows = list(csv.DictReader(StringIO(payload.get_payload(decode=True).decode())))
                return self._store(rows, self._settings)
        return False
"""


def test_a_platform_of_the_older_collector_reads_its_mail(tmp_path, box):
    programs = Programs(tmp_path)
    config = {"host": "localhost:%d" % box.server.tls_port, "user": box.user, "password": box.password, "sender": "reports@", "subject": "report"}
    programs.add("private_email_platform_1.py", PLATFORM % config, 0o644)
    box.put(csv_message())
    box.put(message(("other.csv", "x\n1\n", "text/csv")))
    box.put(csv_message(date="Sat, 03 Jan 2026 08:00:00 +0000"))

    def run(date, **env):
        return programs.here("private_email_platform_1", "date=" + date, 'storage={"type":"mysql","settings":{}}', env=env)

    result = run("2026-01-02", SSL_CERT_FILE=str(box.server.cert))
    assert [json.loads(line) for line in result.stdout.splitlines()] == ROWS, result
    assert "using the latest of multiple matching messages" in result.stderr and "mailbox: retrieving mail" in result.stderr
    result = run("2026-01-05", SSL_CERT_FILE=str(box.server.cert))
    assert result.returncode == 1 and "no message of reports@ on that day" in result.stderr
    result = run("2026-01-02")
    assert result.returncode == 1 and "CERTIFICATE_VERIFY_FAILED" in result.stderr  # nobody is told the password who cannot say who he is

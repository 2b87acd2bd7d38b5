"""Runs a Jupyter notebook as a program of tutti: the cell tagged `parameters` says its settings, and the others are run with those that were given.

    python3 _notebook_host.py FILE --describe     prints what the notebook says about itself, as JSON; the notebook is not run
    python3 _notebook_host.py FILE                runs it: settings as JSON on standard input, reports as JSON lines on descriptor 3

The work is done by nbclient (which papermill and jupyter nbconvert bring along) and ipykernel, of the Python that runs this file. What cells print goes to the
log at once. The executed copy is kept in `notebooks` of the data directory, also when a cell fails."""

import ast
import importlib.util
import json
import os
import re
import sys
import tempfile
import time

from _program_host import HERE, REPORT_FD, Reporter, as_json

KEPT_S = 30 * 24 * 3600
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SECRET_NAMES = re.compile(r"password|passwd|secret|token", re.I)


class NotebookError(Exception):
    """What is wrong with the notebook, in a sentence."""


# ---- the notebook's file ----

def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            book = json.load(file)
    except (ValueError, RecursionError) as error:
        raise NotebookError("it is no JSON, as notebooks are: %s" % error) from None
    if not isinstance(book, dict) or not isinstance(book.get("cells"), list) or book.get("nbformat") != 4:
        raise NotebookError("it is no notebook of the format 4: save it with a Jupyter of today")
    metadata = book.get("metadata") or {}
    language = (metadata.get("kernelspec") or {}).get("language") or (metadata.get("language_info") or {}).get("name") or "python"
    if language != "python":
        raise NotebookError("its language is %s: notebooks in Python are run" % language)
    return book


def source(cell):
    text = cell.get("source", "")
    return "".join(text) if isinstance(text, list) else text


def parameters_at(book):
    """The place of the cell with the tag `parameters`; -1: there is none."""
    tagged = [i for i, cell in enumerate(book["cells"]) if cell.get("cell_type") == "code" and "parameters" in ((cell.get("metadata") or {}).get("tags") or [])]
    if len(tagged) > 1:
        raise NotebookError("%d cells are tagged `parameters`: one may be" % len(tagged))
    return tagged[0] if tagged else -1


# ---- describing ----

def annotated(node):
    """`list` for list, "list", List[str] and Optional[list]."""
    if isinstance(node, ast.Constant):
        return str(node.value).rpartition(".")[2]
    if isinstance(node, ast.Subscript):
        outer = annotated(node.value)
        return annotated(node.slice) if outer == "Optional" else outer.lower()
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "any")


def setting(annotation, value):
    row = {"type": annotated(annotation)} if annotation is not None else {}
    if value is None:
        return row
    try:
        row["default"] = ast.literal_eval(value)
        json.dumps(row["default"])
    except (ValueError, TypeError):
        row.pop("default", None)
        row["required"] = False  # the cell itself computes it
    if "type" not in row:
        row["type"] = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}.get(type(row.get("default")), "any")
    if row.get("default", "") is None:
        del row["default"]
        row["required"] = False
    return row


def settings_of(book):
    at = parameters_at(book)
    if at < 0:
        return {}
    try:
        tree = ast.parse(source(book["cells"][at]))
    except SyntaxError as error:
        raise NotebookError("the cell `parameters`, line %s: %s: it holds assignments in plain Python" % (error.lineno, error.msg)) from None
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = setting(node.annotation, node.value)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = setting(None, node.value)
    return found


def describe(book):
    said = {"settings": settings_of(book)}
    for cell in book["cells"]:
        lines = [line.strip("# ").strip() for line in source(cell).splitlines() if line.strip("# ")] if cell.get("cell_type") == "markdown" else []
        if lines:
            said["description"] = lines[0]
            break
    return said


def needs():
    missing = [name for name in ("nbclient", "ipykernel") if importlib.util.find_spec(name) is None]
    if missing:
        raise NotebookError("notebooks need %s: papermill and jupyter nbconvert bring nbclient along. Install with `%s -m pip install papermill ipykernel` or, on Debian, "
                            "`apt install python3-nbclient python3-ipykernel`" % (" and ".join(missing), sys.executable))


# ---- running ----

def is_secret(name, row):
    return row.get("type") == "secret" or SECRET_NAMES.search(name) is not None


def injected(settings, given):
    """The cell behind that of the parameters. Secrets stand in the environment of the kernel, so that the copy does not hold them."""
    lines = ["# Parameters of this run"]
    for name, value in given.items():
        row = settings.get(name, {})
        if not name.isidentifier():
            raise NotebookError("the setting `%s` can be no name in Python" % name)
        if is_secret(name, row):
            lines.append('%s = __import__("json").loads(__import__("os").environ["TUTTI_VARIABLES"])["values"]["%s"]' % (name, name))
        elif row.get("type") == "datetime" and isinstance(value, str):
            lines.append('%s = __import__("datetime").datetime.fromisoformat(%r)' % (name, value))
        else:
            lines.append("%s = %r" % (name, value))
    return "\n".join(lines)


def masked(node, secrets):
    """The same tree without the texts of secrets."""
    if isinstance(node, dict):
        return {name: masked(value, secrets) for name, value in node.items()}
    if isinstance(node, list):
        return [masked(value, secrets) for value in node]
    if isinstance(node, str):
        for secret in secrets:
            node = node.replace(secret, "***")
    return node


def keep(book, name, secrets):
    """The copy's path; older ones of the notebook go."""
    folder = os.path.join(os.environ.get("TUTTI_DATA") or ".", "notebooks", name)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for old in os.scandir(folder):
        if old.name.endswith(".ipynb") and old.stat().st_mtime < time.time() - KEPT_S:
            os.unlink(old.path)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    path = os.path.abspath(os.path.join(folder, "%s.%s.%d.ipynb" % (os.environ.get("TUTTI_EXECUTION", "here"), stamp, os.getpid())))
    with open(os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(masked(book, secrets), file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)
    return path


def told(message):
    """What a message of the kernel adds to the log."""
    content, kind = message.get("content", {}), message.get("msg_type")
    if kind == "stream":
        return content.get("text", "")
    if kind == "error":
        return COLOURS.sub("", "\n".join(content.get("traceback", []))) + "\n"
    if kind in ("display_data", "execute_result"):
        return content.get("data", {}).get("text/plain", "") + "\n"
    return ""


def client_class(reporter):
    from nbclient import NotebookClient

    class Client(NotebookClient):
        def process_message(self, msg, cell, cell_index):
            sys.stdout.write(told(msg))
            sys.stdout.flush()
            return super().process_message(msg, cell, cell_index)

        async def async_execute_cell(self, cell, cell_index, *args, **kwargs):
            reporter.say(progress={"cell": "%d of %d" % (cell_index + 1, len(self.nb.cells))})
            return await super().async_execute_cell(cell, cell_index, *args, **kwargs)

    return Client


def execute(book, given, settings, reporter, scratch):
    """Runs all cells; the outputs stand in the returned notebook, and why it ended early beside it."""
    import nbformat
    from nbclient import exceptions
    from traitlets.config import Config

    at = parameters_at(book)
    node = nbformat.reads(json.dumps(book), as_version=4)
    if given:
        cell = nbformat.v4.new_code_cell(injected(settings, given), metadata={"tags": ["injected-parameters"]})
        if not any("id" in other for other in node.cells):
            cell.pop("id", None)
        node.cells.insert(at + 1, cell)
    types = {name: row.get("type") for name, row in settings.items()}
    os.environ.update(TUTTI_VARIABLES=json.dumps({"values": given, "types": types}), TUTTI_SECRETS_SEEN=os.path.join(scratch, "secrets"), IPYTHONDIR=os.path.join(scratch, "ipython"), JUPYTER_RUNTIME_DIR=scratch,
                      PYTHONPATH=os.pathsep.join(filter(None, [os.path.dirname(HERE), os.environ.get("PYTHONPATH")])))
    quiet = Config({"KernelManager": {"transport": "ipc", "ip": os.path.join(scratch, "kernel")}})  # no ports that others could find
    client = client_class(reporter)(node, config=quiet, timeout=None, kernel_name="python3", resources={"metadata": {"path": os.getcwd()}})
    try:
        client.execute()
    except exceptions.CellExecutionError as error:
        failed = next((i for i, cell in enumerate(node.cells, 1) if any(out.get("output_type") == "error" for out in cell.get("outputs", []))), 0)
        return node, "cell %d: %s: %s" % (failed, error.ename, error.evalue)
    except exceptions.DeadKernelError:
        return node, "the kernel died while it ran a cell"
    return node, None


def seen_secrets(scratch):
    """What cells have fetched with `tutti.Secret`."""
    path = os.path.join(scratch, "secrets")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [text for text in map(json.loads, file) if len(text) > 3]


def run(path, book, reporter):
    text = sys.stdin.read()
    given = json.loads(text) if text.strip() else {}
    settings = settings_of(book)
    secrets = sorted((v for n, v in given.items() if isinstance(v, str) and len(v) > 3 and is_secret(n, settings.get(n, {}))), key=len, reverse=True)
    with tempfile.TemporaryDirectory(prefix="tutti-") as scratch:
        done, why = execute(book, given, settings, reporter, scratch)
        secrets = sorted({*secrets, *seen_secrets(scratch)}, key=len, reverse=True)
    kept = keep(done, os.path.splitext(os.path.basename(path))[0], secrets)
    print("the executed copy: %s" % kept)
    if why:
        raise NotebookError("%s (the executed copy: %s)" % (why, kept))
    reporter.say(result={"cells": len(done["cells"]), "notebook": kept})


def main(arguments):
    path = os.path.abspath(arguments[0])
    describes = arguments[1:] == ["--describe"]
    try:
        book = load(path)
        said = describe(book)
        needs()
        if describes:
            print(json.dumps(said, default=as_json))
            return 0
        sys.stdout.reconfigure(line_buffering=True)
        run(path, book, Reporter())
        return 0
    except NotebookError as error:
        if describes:
            print(json.dumps({"error": str(error)}))
            return 0
        sys.stderr.write("%s\n" % error)
        Reporter().say(error=str(error))
        return 1


if __name__ == "__main__":
    os.set_inheritable(REPORT_FD, False) if os.path.exists("/proc/self/fd/%d" % REPORT_FD) else None
    sys.exit(main(sys.argv[1:]))

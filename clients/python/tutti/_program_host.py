"""Runs a Python program of tutti: one file with one class, whose constructor's annotated parameters are its settings, and a method `_run`.

    python3 _program_host.py FILE --describe     prints what the program says about itself, as JSON
    python3 _program_host.py FILE                runs it: settings as JSON on standard input, reports as JSON lines on descriptor 3
"""

import importlib.util
import inspect
import json
import os
import sys
import traceback
import types
from datetime import date, datetime

REPORT_FD = 3
HERE = os.path.dirname(os.path.abspath(__file__))


# ---- reports ----

class Reporter:
    """Lines on descriptor 3; nowhere when there is none (a program that is tried by hand)."""

    def __init__(self):
        try:
            self._out = os.fdopen(os.dup(REPORT_FD), "w", encoding="utf-8", errors="replace")
        except OSError:
            self._out = None

    def say(self, **members):
        if self._out:
            self._out.write(json.dumps(members, default=as_json) + "\n")
            self._out.flush()


def as_json(value):
    """What JSON does not know: dates as ISO text, numbers of numpy as numbers, anything else as text."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    return str(value)


# ---- the program's file ----

def load(path):
    """The file as a module. `platforms` is a package of the file's own folder, in which our base_platform stands."""
    name = os.path.splitext(os.path.basename(path))[0]
    folder = os.path.dirname(os.path.abspath(path))
    sys.dont_write_bytecode = True  # the folder is watched, and may be somebody else's
    sys.path[0] = folder
    sys.path.insert(1, os.path.dirname(HERE))
    sys.path.append(os.path.join(HERE, "_etlas"))
    package = types.ModuleType("platforms")
    package.__path__ = [os.path.join(HERE, "_etlas", "platforms"), folder]
    sys.modules["platforms"] = package
    module_from("tutti.program", os.path.join(HERE, "program.py"))
    return module_from("platforms." + name, path)


def module_from(name, path):
    """tutti.program is loaded without the package around it, which is a client of items and not needed here."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def camel_case(name):
    return "".join(part[:1].upper() + part[1:].lower() for part in name.replace("-", "_").split("_"))


def program_class(module, name):
    """The class that is named as the file, else the only one with `_run`."""
    own = [c for c in vars(module).values()
           if inspect.isclass(c) and c.__module__ == module.__name__ and callable(getattr(c, "_run", None))]
    named = [c for c in own if c.__name__ == camel_case(name)]
    if len(named) == 1 or len(own) == 1:
        return (named or own)[0]
    if not own:
        raise TypeError("no class with a method `_run` in it")
    raise TypeError("several classes with a method `_run`: %s; name one of them %s" % (", ".join(c.__name__ for c in own), camel_case(name)))


# ---- describing ----

def type_name(annotation):
    """`str` for str, "str" and Optional[str]; the text of what has no name."""
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2]
    arguments = [a for a in getattr(annotation, "__args__", ()) if a is not type(None)]
    if len(arguments) == 1 and type(None) in getattr(annotation, "__args__", ()):
        return type_name(arguments[0])
    origin = getattr(annotation, "__origin__", None)
    if isinstance(origin, type):
        return origin.__name__
    return getattr(annotation, "__name__", str(annotation))


def has_own_constructor(cls):
    return cls.__init__ is not object.__init__ and not getattr(cls.__init__, "_takes_no_settings", False)


def parameters(cls):
    if not has_own_constructor(cls):
        return []
    return [p for p in list(inspect.signature(cls.__init__).parameters.values())[1:]
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def setting(parameter):
    annotation = parameter.annotation
    row = {"type": type_name(annotation)}
    if hasattr(annotation, "__mro__") and any(c.__name__ == "Enum" for c in annotation.__mro__):
        row = {"type": "enum", "choices": [member.value for member in annotation]}
    elif getattr(getattr(annotation, "__origin__", None), "_name", None) == "Literal" or str(annotation).startswith("typing.Literal"):
        row = {"type": "enum", "choices": list(annotation.__args__)}
    if parameter.default is not parameter.empty:
        row["default"] = getattr(parameter.default, "value", parameter.default)
    return row


def describe(cls):
    """Only annotated parameters are settings; one without must have a default."""
    settings = {}
    for parameter in parameters(cls):
        if parameter.annotation is not parameter.empty:
            settings[parameter.name] = setting(parameter)
        elif parameter.default is parameter.empty:
            raise TypeError("parameter `%s` of %s has neither an annotation nor a default" % (parameter.name, cls.__name__))
    said = {"display_name": cls.__name__, "settings": settings}
    text = (cls.__doc__ or sys.modules[cls.__module__].__doc__ or "").strip()
    if text and cls.__doc__ != getattr(cls.__base__, "__doc__", None):
        said["description"] = text.splitlines()[0]
    for name in ("timeout_s", "memory_mb"):
        if isinstance(getattr(cls, name, None), (int, float)):
            said[name] = getattr(cls, name)
    return said


# ---- running ----

def to_python(value, annotation):
    name = type_name(annotation)
    if value is None:
        return None
    if name in ("datetime", "date"):
        moment = datetime.fromisoformat(value)
        return moment.date() if name == "date" else moment
    if name == "secret" and isinstance(value, str):
        return sys.modules["tutti.program"].SecretText(value)
    if hasattr(annotation, "__mro__") and any(c.__name__ == "Enum" for c in annotation.__mro__):
        return annotation(value)
    return value


def make(cls, reporter, given):
    """The program, with `update`, `count` and `store` also where its class inherits none."""
    base = sys.modules["tutti.program"].Program
    if not issubclass(cls, base):
        cls = type(cls.__name__, (cls, base), {"__module__": cls.__module__, "__doc__": cls.__doc__})
    base._reporter = reporter
    known = {p.name: p.annotation for p in parameters(cls)}
    typed = {name: to_python(value, known.get(name)) for name, value in given.items()}
    sys.modules["tutti.program"]._variables.update(typed)
    return cls(**typed)


def run(cls, reporter):
    text = sys.stdin.read()
    program = make(cls, reporter, json.loads(text) if text.strip() else {})
    result = program._run()
    reporter.say(result=result)


def own_lines(error, path):
    """The traceback from the program's file on: ours is of no interest."""
    steps = traceback.extract_tb(error.__traceback__)
    first = next((i for i, step in enumerate(steps) if os.path.abspath(step.filename) == path), 0)
    head = ["Traceback (most recent call last):\n"] if steps[first:] else []
    return "".join(head + traceback.format_list(steps[first:]) + traceback.format_exception_only(type(error), error))


def main(arguments):
    path = os.path.abspath(arguments[0])
    name = os.path.splitext(os.path.basename(path))[0]
    describes = arguments[1:] == ["--describe"]
    out = os.dup(1)
    if describes:
        os.dup2(2, 1)  # what the file prints while it is loaded is no description
    try:
        cls = program_class(load(path), name)
        if describes:
            os.write(out, json.dumps(describe(cls), default=as_json).encode())
            return 0
        sys.stdout.reconfigure(line_buffering=True)
        run(cls, Reporter())
        return 0
    except Exception as error:  # of the program's own code: any
        said = "%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__
        if describes:
            os.write(out, json.dumps({"error": said}).encode())
            return 0
        sys.stderr.write(own_lines(error, path))
        Reporter().say(error=said)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Runs the benchmark rows and prints them beside their peers and targets; script/bench is the way in.

Standard library only. Results go to bench/out/ as JSON, with the machine's own figures of the same run.
"""
import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from driver import report
from driver.rows import ROWS
from driver.tools import BenchError, placements, run_json

BENCH_DIR = Path(__file__).resolve().parent
ROOT_DIR = BENCH_DIR.parent


@dataclass
class Size:
    """Item counts per run. Slow services get fewer: a rate needs seconds, not millions."""
    items: int = 2_000_000
    items_small: int = 500_000
    planchet: int = 20_000
    planchet_many: int = 25_600
    beanstalkd: int = 20_000
    beanstalkd_relaxed: int = 100_000
    redis: int = 200_000
    real: int = 100_000
    real_planchet: int = 10_000
    memory_small: int = 1_000_000
    memory_large: int = 10_000_000
    resume: int = 10_000_000
    large: int = 100_000_000
    jobs: int = 10_000
    parquet_rows: int = 10_000_000
    query_rows: int = 20_000_000
    query_files: int = 8
    tasks: int = 1_000_000
    shared: int = 200_000
    rq: int = 1_500
    celery: int = 10_000
    starts: int = 1_000
    executables: int = 2_000
    transformations: int = 10_000
    pipelines: int = 1_000
    beside_airflow: int = 200


QUICK = Size(items=300_000, items_small=100_000, planchet=3_000, planchet_many=0, beanstalkd=2_000,
             beanstalkd_relaxed=20_000, redis=50_000, real=20_000, real_planchet=2_000, memory_small=100_000,
             memory_large=1_000_000, resume=2_000_000, large=2_000_000, jobs=1_000, tasks=100_000, shared=20_000, rq=300, celery=3_000, starts=200, executables=500, transformations=1_000, pipelines=100, beside_airflow=40,
             parquet_rows=1_000_000, query_rows=1_000_000, query_files=2)


class Context:
    """What every row needs: programs, sizes, a directory, inputs by line count, and where remarks go."""

    def __init__(self, options, directory):
        binaries = options.bin or ROOT_DIR / "build" / "bench"
        self.load, self.probe = binaries / "bench_items", binaries / "bench_probe"
        self.parquet, self.bench_dir = binaries / "bench_parquet", BENCH_DIR
        self.tutti = options.tutti or ROOT_DIR / "build" / "tutti"
        self.python = ROOT_DIR / ".venv-bench" / "bin" / "python"
        self.work_python = ROOT_DIR / ".venv-bench-work" / "bin" / "python"
        self.airflow_python = ROOT_DIR / ".venv-bench-airflow" / "bin" / "python"
        self.figures = {}  # the machine's own, of this run
        self.directory = directory
        self.size = QUICK if options.quick else Size()
        self.size.query_rows = options.query_rows or self.size.query_rows
        self.rounds = options.rounds or (1 if options.quick else 5)
        self.query_rounds = options.rounds or (1 if options.quick else 3)
        self.placements = placements()
        self.notes, self.faults = [], []
        self._inputs = {}

    def lines(self, count, line_bytes=200):
        """The input file with that many lines, made when first asked for."""
        if (count, line_bytes) not in self._inputs:
            path = self.directory / f"input-{count}-{line_bytes}.jsonl"
            if shutil.disk_usage(self.directory).free < count * line_bytes * 3:
                raise BenchError(f"not enough disk for {count} items (a copy in, a copy out, and room)")
            run_json([str(self.probe), "lines", str(count), str(line_bytes), str(path)])
            self._inputs[count, line_bytes] = path
        return self._inputs[count, line_bytes]

    def fitting(self, count, line_bytes):
        """So many of `count` lines as the disk has room for, by thirds: in, out, and left to others."""
        return min(count, shutil.disk_usage(self.directory).free // (line_bytes * 3))

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def fault(self, text):
        self.faults.append(text)
        self.say(f"FAILED: {text}")


def parse_options():
    parser = argparse.ArgumentParser(prog="script/bench", description="Benchmarks against peers of the same run.")
    parser.add_argument("area", nargs="?", choices=[*ROWS, "all"], default="all")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, under 90 s")
    parser.add_argument("--json", action="store_true", help="print the JSON document instead of the table")
    parser.add_argument("--out", type=Path, help="write the JSON document to this file as well")
    parser.add_argument("--tutti", type=lambda text: Path(text).resolve(), help="the program (default: build/tutti)")
    parser.add_argument("--bin", type=lambda text: Path(text).resolve(), help="directory of bench_items and bench_probe")
    parser.add_argument("--rounds", type=int, help="rounds per row (default 5, of queries 3; quick 1)")
    parser.add_argument("--query-rows", type=int, help="rows of the event files of the query rows (default 20 million, quick 1 million)")
    parser.add_argument("--row", help="only the rows whose function name holds this text")
    return parser.parse_args()


def run_rows(options, context):
    lines = []
    for area in ROWS if options.area == "all" else [options.area]:
        for row in ROWS[area]:
            if options.row and options.row not in row.__name__:
                continue
            context.say(f"{area}: {row.__doc__.splitlines()[0]}")
            try:
                lines += row(context)
            except (BenchError, OSError) as fault:
                context.fault(f"{row.__name__}: {fault}")
    return lines


def write_results(options, document):
    out_dir = BENCH_DIR / "out"
    text = json.dumps(document, indent=1) + "\n"
    path = out_dir / f"bench-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    for target in filter(None, [path, options.out]):
        target.write_text(text)
    return path, text


def main():
    options = parse_options()
    out_dir = BENCH_DIR / "out"
    out_dir.mkdir(exist_ok=True)
    begun = time.monotonic()
    # Beside the results and not in /tmp, which may be memory: the disk is part of what is measured.
    with tempfile.TemporaryDirectory(prefix="run-", dir=out_dir) as directory:
        context = Context(options, Path(directory))
        figures = run_json([str(context.probe), "machine", directory])
        context.figures = figures
        lines = run_rows(options, context)
    document = {"schema": 1, "quick": options.quick, "rounds": context.rounds, "sizes": asdict(context.size),
                "machine": figures, "lines": lines, "notes": context.notes, "faults": context.faults,
                "seconds": time.monotonic() - begun}
    path, text = write_results(options, document)
    if options.json:
        print(text, end="")
    else:
        print(report.machine(figures), report.table(lines), sep="\n\n")
        for remark in context.notes + [f"FAILED: {fault}" for fault in context.faults]:
            print(f"note: {remark}")
        print(f"results: {path.relative_to(ROOT_DIR)}")
    return 1 if context.faults else 0


if __name__ == "__main__":
    sys.exit(main())

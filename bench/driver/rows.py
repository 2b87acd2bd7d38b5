"""The rows of the benchmark table.

A row is a function that takes the context and gives result lines; ROWS at the end says which belong to which area. A line:
row, mode, ours and peer (numbers in the row's unit), ratio, target in words, met (True, False, or None where nothing could
be said), and the medians behind it. To add a row: write its function and name it in ROWS.
"""
import statistics
import subprocess
import time

from . import pipeline, query, servers, work
from .tools import BenchError, MemorySampler, run_json, tree_cpu_s

KIB_PER_MIB = 1024

# What the original is reported to do. A stand-in that is slower than that is judged as if it did the lower figure.
ORIGINAL_LOW_PER_S, ORIGINAL_HIGH_PER_S = 2_400, 8_000


def line(row, mode, unit, ours=None, peer=None, peer_name="", ratio=None, target="", met=None, **extra):
    return {"row": row, "mode": mode, "unit": unit, "ours": ours, "peer": peer, "peer_name": peer_name,
            "ratio": ratio, "target": target, "met": met, **extra}


def divide(above, below):
    return above / below if above and below else None


def at_least(value, bound):
    return None if value is None else value >= bound


def below(value, bound):
    return None if value is None else value < bound


# One run of one service.

def verified(context, input_path, output):
    proof = run_json([str(context.probe), "verify", str(input_path), str(output)])
    if not proof["same"]:
        raise BenchError(f"the output differs: {proof['input_lines']} lines in, {proof['output_lines']} out")


def drain_command(context, placement, service, peer, options):
    command = [str(context.load), "--address", service.address, "--peer", peer]
    for pid in service.pids:
        command += ["--server-pid", str(pid)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return placement.client(command)


def drain_http(context, placement, service_class, item_count, batch, connections, sample_s=1.0, **more):
    """Starts a service and a job, drains the job with the light client (which gets `more`), and proves the output.

    Reading the memory of a process tree costs a few ms, so it is read often only where memory is the question.
    """
    input_path = context.lines(item_count)
    with service_class(context, placement) as service:
        begun = time.monotonic()
        output = service.start_job("bench", input_path)
        start_s = time.monotonic() - begun
        command = drain_command(context, placement, service, "items", {"batch": batch, "connections": connections, **more})
        with MemorySampler(service.pids[0], sample_s) as memory:
            result = run_json(command)
        verified(context, input_path, output)
    return dict(result, start_job_s=start_s, memory_kib=memory.peak)


def drain_queue(context, placement, service_class, item_count, batch, connections):
    peer = service_class.name.split()[0]
    options = {"batch": batch, "connections": connections, "input": context.lines(item_count)}
    with service_class(context, placement) as service:
        result = run_json(drain_command(context, placement, service, peer, options))
    if result["items"] != item_count:
        raise BenchError(f"{service_class.name}: {result['items']} of {item_count} items")
    return result


def drain_real_client(context, placement, service_class, item_count, batch, clients=2):
    """The same job, with `clients` processes of the real Python client."""
    input_path = context.lines(item_count)
    with service_class(context, placement) as service:
        output = service.start_job("bench", input_path)
        before_s = [tree_cpu_s(pid) for pid in service.pids]
        begun = time.monotonic()
        command = [str(context.python), str(servers.BENCH_DIR / "real_client.py"), f"http://{service.address}", "bench",
                   str(batch)]
        workers = [subprocess.Popen(placement.client(command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                   for _ in range(clients)]
        errors = [worker.communicate()[1].decode() for worker in workers]
        seconds = time.monotonic() - begun
        used_s = [tree_cpu_s(pid) - before for pid, before in zip(service.pids, before_s)]
        if any(worker.returncode for worker in workers):
            raise BenchError(f"the real client failed: {''.join(errors)[-300:]}")
        verified(context, input_path, output)
    return {"items": item_count, "items_per_s": item_count / seconds, "server_cpu_s": used_s,
            "server_cpu_us_per_item": used_s[0] * 1e6 / item_count,
            "server_and_store_cpu_us_per_item": sum(used_s) * 1e6 / item_count}


# Several rounds of several services.

def pick(result, path):
    for step in path.split("."):
        result = result[step]
    return result


def rounds(context, placement, contenders):
    """Runs the contenders in turn, round after round; gives {name: [results]} of those that ran."""
    results, failed = {}, set()
    for number in range(context.rounds):
        for service_class, run in contenders:
            name = service_class.name
            if name in failed:
                continue
            context.say(f"{placement.name} round {number + 1}/{context.rounds}: {name}")
            try:
                results.setdefault(name, []).append(run(service_class))
            except (BenchError, OSError, subprocess.SubprocessError) as fault:
                context.fault(f"{name} ({placement.name}): {fault}")
                failed.add(name)
    return results


def median(results, name, path):
    values = [pick(result, path) for result in results.get(name, [])]
    return statistics.median(values) if values else None


def available(context, *contenders):
    """Leaves out what cannot run here, and says so once."""
    kept = []
    for service_class, run in contenders:
        reason = servers.missing(service_class, context)
        if reason:
            context.note(f"{service_class.name} left out: {reason}")
        else:
            kept.append((service_class, run))
    return kept


# The rows.

def throughput(context):
    """Batch 1000 over 4 connections, against queues that also sync to the disk."""
    size = context.size
    lines = []
    peers = [(servers.Beanstalkd, size.beanstalkd), (servers.BeanstalkdRelaxed, size.beanstalkd_relaxed),
             (servers.RedisStreams, size.redis), (servers.RedisStreamsRelaxed, size.redis)]
    for placement in context.placements:
        contenders = [(servers.Tutti, lambda cls: drain_http(context, placement, cls, size.items, 1000, 4))]
        contenders += [(cls, lambda cls, count=count: drain_queue(context, placement, cls, count, 1000, 4))
                       for cls, count in peers]
        results = rounds(context, placement, available(context, *contenders))
        ours = median(results, "tutti", "items_per_s")
        lines.append(line("items 1000 x 4", placement.name, "items/s", ours, target=">= 1,000,000",
                          met=at_least(ours, 1_000_000), results=results.get("tutti")))
        for cls, _ in peers:
            peer = median(results, cls.name, "items_per_s")
            lines.append(line("items 1000 x 4", placement.name, "items/s", ours, peer, cls.name, divide(ours, peer),
                              durability=cls.durability, results=results.get(cls.name)))
    return lines


def drain_mirrored(context, placement, service_class, item_count):
    """As drain_http; the clock stops when Redis shows all of it."""
    input_path = context.lines(item_count)
    with service_class(context, placement) as service:
        output = service.start_job("bench", input_path)
        result = run_json(drain_command(context, placement, service, "items", {"batch": 1000, "connections": 4}))
        behind_s = service.wait_for_mirror("bench", item_count)
        verified(context, input_path, output)
    drained_s = item_count / result["items_per_s"]
    return dict(result, behind_s=behind_s, shown_per_s=item_count / (drained_s + behind_s))


def with_mirror(context):
    """Batch 1000 over 4 connections with the Redis mirror, until Redis shows every item as received."""
    size, lines = context.size, []
    for placement in context.placements:
        results = rounds(context, placement, available(
            context,
            (servers.TuttiMirrored, lambda cls: drain_mirrored(context, placement, cls, size.items_small)),
            (servers.RedisStreamsRelaxed, lambda cls: drain_queue(context, placement, cls, size.redis, 1000, 4))))
        name, peer_name = servers.TuttiMirrored.name, servers.RedisStreamsRelaxed.name
        ours, peer = median(results, name, "shown_per_s"), median(results, peer_name, "items_per_s")
        lines.append(line("items 1000 x 4 with the Redis mirror", placement.name, "items/s", ours, peer, peer_name, divide(ours, peer),
                          ">= 150,000", at_least(ours, 150_000), clients_see=median(results, name, "items_per_s"),
                          behind_s=median(results, name, "behind_s"), results=results))
    return lines


def against_planchet(context):
    """Batch 100 over 4 connections, the same light client on both."""
    size, lines = context.size, []
    for placement in context.placements:
        results = rounds(context, placement, available(
            context,
            (servers.Tutti, lambda cls: drain_http(context, placement, cls, size.items_small, 100, 4)),
            (servers.PlanchetStandin, lambda cls: drain_http(context, placement, cls, size.planchet, 100, 4))))
        ours, peer = (median(results, name, "items_per_s") for name in ("tutti", "planchet stand-in"))
        judged = divide(ours, max(peer, ORIGINAL_LOW_PER_S)) if peer else None
        lines.append(line("items 100 x 4", placement.name, "items/s", ours, peer, "planchet stand-in",
                          divide(ours, peer), ">= 100 x", at_least(judged, 100), judged_ratio=judged,
                          ratio_to_original_best=divide(ours, ORIGINAL_HIGH_PER_S), results=results))
        lines.append(serve_p99(placement, "serve p99, 100 x 4", results))
    return lines


def serve_p99(placement, row, results):
    ours, peer = (median(results, name, "serve_ms.p99") for name in ("tutti", "planchet stand-in"))
    return line(row, placement.name, "ms", ours, peer, "planchet stand-in" if peer else "", divide(peer, ours),
                "< 20 ms", below(ours, 20), results=results)


def many_connections(context):
    """A serve's latency while 64 connections take and send."""
    size, lines = context.size, []
    for placement in context.placements:
        contenders = [(servers.Tutti, lambda cls: drain_http(context, placement, cls, size.items_small, 100, 64))]
        if size.planchet_many:
            contenders.append((servers.PlanchetStandin,
                               lambda cls: drain_http(context, placement, cls, size.planchet_many, 100, 64)))
        results = rounds(context, placement, available(context, *contenders))
        lines.append(serve_p99(placement, "serve p99, 100 x 64", results))
    return lines


def real_client_lines(context, placement, batch):
    size = context.size
    results = rounds(context, placement, available(
        context,
        (servers.Tutti, lambda cls: drain_real_client(context, placement, cls, size.real, batch)),
        (servers.PlanchetStandin, lambda cls: drain_real_client(context, placement, cls, size.real_planchet, batch))))
    ours, alone = (median(results, name, "server_cpu_us_per_item") for name in ("tutti", "planchet stand-in"))
    with_store = median(results, "planchet stand-in", "server_and_store_cpu_us_per_item")
    ratio = divide(alone, ours)
    name = f"real client {batch}, "
    lines = [line(name + "server CPU", placement.name, "us/item", ours, alone, "planchet stand-in", ratio, ">= 50 x lower",
                  at_least(ratio, 50), results=results),
             line(name + "server CPU", placement.name, "us/item", ours, with_store, "the same with its Redis",
                  divide(with_store, ours))]
    ours, peer = (median(results, name, "items_per_s") for name in ("tutti", "planchet stand-in"))
    return lines + [line(name + "rate", placement.name, "items/s", ours, peer, "planchet stand-in", divide(ours, peer))]


def real_client(context):
    """The real Python client on both sides: what an item costs the server."""
    lines = []
    if not context.python.exists():
        context.note("real client left out: no .venv-bench (script/bench makes it)")
        return lines
    for placement in context.placements:
        for batch in (100, 1000):
            lines += real_client_lines(context, placement, batch)
    return lines


def memory(context):
    """The server's anonymous memory with a small and a large job."""
    placement, peaks = context.placements[0], {}
    if servers.missing(servers.Tutti, context):
        return [line("memory", placement.name, "MiB RssAnon", target="< 64 MiB, flat")]
    for count in (context.size.memory_small, context.size.memory_large):
        context.say(f"memory: {count} items")
        peaks[count] = drain_http(context, placement, servers.Tutti, count, 1000, 4, sample_s=0.05)
    lines, first = [], None
    for count, result in peaks.items():
        anon_mib = result["memory_kib"]["RssAnon"] / KIB_PER_MIB
        flat = first is None or anon_mib <= first * 1.25 + 4
        lines.append(line(f"memory, {count:,} items", placement.name, "MiB RssAnon", anon_mib,
                          target="< 64 MiB" if first is None else "< 64 MiB, flat", met=anon_mib < 64 and flat,
                          high_water_mib=result["memory_kib"]["VmHWM"] / KIB_PER_MIB, result=result))
        first = first or anon_mib
    return lines


def first_batch_ms(service):
    """Starts the killed service again; the time from exec to a batch in hand. Sends the batch back, too."""
    begun = time.monotonic()
    service.start()
    batch = service.request("POST", "/serve?job_name=bench&batch_size=1000")
    took_ms = (time.monotonic() - begun) * 1000
    if batch.strip() == b"[]":
        raise BenchError("nothing was served after the restart")
    service.request("POST", "/receive?job_name=bench&overwrite=false", batch)
    return took_ms


def kill_in_the_middle(context, placement, service, received_count):
    """Drains in the background until that many items are received, then kills the whole service."""
    client = subprocess.Popen(drain_command(context, placement, service, "items", {"batch": 1000, "connections": 4}),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while client.poll() is None and service.report("bench")["received"] < received_count:
        time.sleep(0.02)
    if client.poll() is not None:
        raise BenchError("the job ended before the kill")
    service.kill()
    client.wait()


def resume(context):
    """kill -9 of everything in the middle of a job, three times; the output is proven at the end."""
    placement, count = context.placements[0], context.size.resume
    row = f"resume, {count:,} items"
    if servers.missing(servers.Tutti, context):
        return [line(row, placement.name, "ms", target="< 100 ms")]
    input_path, times_ms = context.lines(count), []
    with servers.Tutti(context, placement) as service:
        output = service.start_job("bench", input_path)
        for share in (0.25, 0.5, 0.75):
            context.say(f"resume: kill at {share:.0%}")
            kill_in_the_middle(context, placement, service, int(count * share))
            times_ms.append(first_batch_ms(service))
        run_json(drain_command(context, placement, service, "items", {"batch": 1000, "connections": 4}))
        verified(context, input_path, output)
    slowest = max(times_ms)
    return [line(row, placement.name, "ms", statistics.median(times_ms), target="< 100 ms", met=below(slowest, 100),
                 times_ms=times_ms)]


def measure_jobs(context, placement, count):
    """So many jobs of ten items: started, claimed from, killed, opened again."""
    input_path, claims = context.lines(10), min(200, count // 4)

    def timed_ms(function, *arguments):
        begun = time.monotonic()
        function(*arguments)
        return (time.monotonic() - begun) * 1000

    with servers.Tutti(context, placement) as service, MemorySampler(service.pids[0], 1.0) as memory_used:
        context.say(f"jobs: {count} are started")
        started = timed_ms(lambda: [service.start_job(f"j{number}", input_path) for number in range(count)])
        named = [timed_ms(service.request, "POST", f"/v1/jobs/j{number}/claim?n=10") for number in range(claims)]
        found = [timed_ms(service.request, "POST", "/v1/claim?n=10") for _ in range(claims)]
        context.say("jobs: the server is killed and opens them again")
        service.kill()
        opened = timed_ms(service.start)
        first = timed_ms(service.request, "POST", "/v1/claim?n=10")
    return {"start of one": started / count, "memory": memory_used.peak["RssAnon"] / KIB_PER_MIB, "open again": opened,
            "first claim after that": first, "claim": statistics.median(named), "claim of any job": statistics.median(found)}


def many_jobs(context):
    """Jobs by the thousand at once, beside a tenth of them: what one more costs, what all cost in memory and to open again, and claims."""
    placement, count = context.placements[0], context.size.jobs
    row = f"{count:,} jobs, "
    if servers.missing(servers.Tutti, context):
        return [line(row + "open", placement.name, "ms")]
    few, many = (measure_jobs(context, placement, n) for n in (count // 10, count))
    return [line(row + what, placement.name, "MiB RssAnon" if what == "memory" else "ms", many[what], few[what], f"{count // 10:,} jobs",
                 divide(many[what], few[what])) for what in many]


def five_hundred_connections(context):
    """500 connections: what is left of the throughput of 4, and a serve's latency when work comes at a fifth of that."""
    placement, count = context.placements[0], context.size.items_small
    contenders = available(context, (servers.Tutti, lambda cls: None))
    if not contenders:
        return [line("items 100 x 500", placement.name, "items/s")]

    def run(connections, **more):
        return rounds(context, placement, [
            (servers.Tutti, lambda cls: drain_http(context, placement, cls, count, 100, connections, **more))])

    few, many = run(4), run(500)
    base = median(few, "tutti", "items_per_s")
    if not base:
        return []
    ours = median(many, "tutti", "items_per_s")
    slow = run(500, rate=base / 5)
    p99 = median(slow, "tutti", "serve_ms.p99")
    return [line("items 100 x 500", placement.name, "items/s", ours, base, "4 connections", divide(ours, base), ">= 0.75 x",
                 at_least(divide(ours, base), 0.75), serve_p99_ms=median(many, "tutti", "serve_ms.p99"), results=many),
            line("serve p99, 500 at a fifth of that rate", placement.name, "ms", p99, target="< 20 ms", met=below(p99, 20),
                 offered_per_s=base / 5, reached_per_s=median(slow, "tutti", "items_per_s"),
                 receive_p99_ms=median(slow, "tutti", "receive_ms.p99"), results=slow)]


def large_job(context):
    """A job of 100 million short items beside one of a million: memory, resume after a kill in the middle, claims."""
    placement, line_bytes, seen = context.placements[0], 64, {}
    large = context.fitting(context.size.large, line_bytes)
    if servers.missing(servers.Tutti, context):
        return [line(f"{large:,} items, memory", placement.name, "MiB RssAnon")]
    if large < context.size.large:
        context.note(f"the disk has room for {large:,} of {context.size.large:,} items")
    for count in (min(1_000_000, large // 10), large):
        input_path = context.lines(count, line_bytes)
        with servers.Tutti(context, placement) as service, MemorySampler(service.pids[0], 0.2) as first:
            output = service.start_job("bench", input_path)
            context.say(f"{count} items: kill at a half")
            kill_in_the_middle(context, placement, service, count // 2)
            resume_ms = first_batch_ms(service)
            with MemorySampler(service.pids[0], 0.2) as second:
                result = run_json(drain_command(context, placement, service, "items", {"batch": 1000, "connections": 4}))
            verified(context, input_path, output)
        peak_mib = max(sampler.peak["RssAnon"] for sampler in (first, second)) / KIB_PER_MIB
        seen[count] = dict(result, memory_mib=peak_mib, resume_ms=resume_ms)
    (small_count, small), (_, ours) = seen.items()
    name, peer_name = f"{large:,} items, ", f"{small_count:,} items"

    def beside(what, unit, target, met, of):
        return line(name + what, placement.name, unit, of(ours), of(small), peer_name, divide(of(ours), of(small)), target, met(of(ours)))

    return [beside("memory", "MiB RssAnon", "< 64 MiB", lambda v: v < 64, lambda r: r["memory_mib"]),
            beside("resume", "ms", "< 100 ms", lambda v: v < 100, lambda r: r["resume_ms"]),
            beside("serve p50", "ms", "", lambda v: None, lambda r: r["serve_ms"]["p50"]),
            beside("serve p99", "ms", "< 20 ms", lambda v: v < 20, lambda r: r["serve_ms"]["p99"]),
            beside("rate", "items/s", "", lambda v: None, lambda r: r["items_per_s"])]


def program_start(context):
    """Spawn and wait, 50 times, beside the same for `true`."""
    def spawn(*command):
        return run_json([str(context.probe), "spawn", "50", *command])["p50"]

    base = spawn("true")
    have = servers.missing(servers.Tutti, context) is None
    lines = []
    for arguments in (["--help"], ["completion", "bash"]):
        ours = spawn(str(context.tutti), *arguments) if have else None
        lines.append(line("start: tutti " + " ".join(arguments), "plain", "ms", ours, base, "true", divide(ours, base),
                          "< 20 ms", below(ours, 20)))
    return lines


def parquet_decode(context):
    """A column of a Parquet file, decoded on one thread, beside pyarrow and DuckDB."""
    lines, rounds = [], max(3, context.rounds)
    peer = [str(context.python), str(context.bench_dir / "parquet_peer.py")]
    for codec in ("snappy", "zstd"):
        path = str(context.directory / f"events-{codec}.parquet")
        run_json([*peer, "make", path, str(context.size.parquet_rows), codec])
        for column in ("event", "category", "ts", "user", "user_id", "price"):
            ours = run_json([str(context.parquet), path, column, str(rounds)])
            arrow = run_json([*peer, "pyarrow", path, column, str(rounds)])
            duck = run_json([*peer, "duckdb", path, column, str(rounds)])
            if any(ours[key] != arrow[key] for key in ("values", "nulls", "sum")):
                raise BenchError(f"{column} of {path}: {ours} is not {arrow}")
            ns = [one["ns"] / ours["values"] for one in (ours, arrow, duck)]
            for name, peer_ns in (("pyarrow", ns[1]), ("DuckDB", ns[2])):
                lines.append(line(f"parquet: {column}, {codec}", "1 thread", "ns/value", ns[0], peer_ns, name, divide(peer_ns, ns[0])))
    return lines


def parquet_unpack(context):
    """Bits into 32-bit integers: the vector variants beside the plain one."""
    lines = []
    for one in run_json([str(context.parquet), "unpack"])["widths"]:
        if one["width"] in (1, 4, 10, 17, 20):
            for name in ("avx2", "vbmi"):
                if one[name]:
                    lines.append(line(f"parquet: unpack {one['width']} bits, {name}", "1 thread", "ns/value", one[name], one["plain"], "plain C", divide(one["plain"], one[name])))
    return lines


ROWS = {
    "parquet": [parquet_decode, parquet_unpack],
    "items": [throughput, with_mirror, against_planchet, many_connections, five_hundred_connections, real_client, memory, resume, large_job, many_jobs],
    "start": [program_start],
    "work": work.ROWS,
    "query": query.ROWS,
    "pipeline": pipeline.ROWS,
}

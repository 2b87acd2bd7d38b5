"""The table that people read."""

MARKS = {True: "met", False: "NOT MET", None: ""}


def number(value):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def table(lines):
    head = ["row", "mode", "tutti", "peer", "", "unit", "ratio", "target", ""]
    body = [[line["row"], line["mode"], number(line["ours"]), number(line["peer"]), line["peer_name"], line["unit"],
             number(line["ratio"]) + " x" if line["ratio"] else "", line["target"],
             MARKS[line["met"]] or ("not measured" if line["target"] else "")] for line in lines]
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    right = {2, 3, 6}
    return "\n".join("  ".join(cell.rjust(width) if i in right else cell.ljust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
                     for row in [head, *body])


def machine(figures):
    return (f"this machine, this run: {figures['cores']} cores; fdatasync of 4 KiB p50 {figures['fsync_4k_ms']['p50']:.2f} ms "
            f"(p99 {figures['fsync_4k_ms']['p99']:.2f}), of 200 KiB {figures['fsync_200k_ms']['p50']:.2f} ms, "
            f"synced writes {figures['synced_write_gb_per_s']:.2f} GB/s; "
            f"loopback round trip p50 {figures['loopback_trip_ms']['p50'] * 1000:.0f} us, "
            f"{figures['loopback_gb_per_s']:.1f} GB/s; memory copy {figures['memory_copy_gb_per_s']:.1f} GB/s")

"""Results as text: for the terminal, and as the tables of the README and of docs/speed.md."""

from tests.bench.results import OURS

README_COLUMNS = 3  # operation, rival, ratio
HEAD = ("operation", "against", "ratio", "at least", "", "its worst case", "ours", "rival")


def render_text(results):
    """Write everything that was measured, the bars last."""
    parts = [
        "\n".join(_matrix(results["measurements"])),
        "Growth, time ~ x^exponent:\n" + "\n".join(_growth(results["exponents"])),
        "\n".join(f"{label:<40}{found}" for label, found in _whole(results)),
        _align([["operation", "rival", "ratio", "at least", "", "worst at", "ours", "rival"], *_bars(results)]),
        _origin(results),
    ]
    return "\n\n".join(parts)


def render_markdown(results):
    """Write the README's short table, then what docs/speed.md has: all columns, what has no rival, and the machine."""
    rows = _bars(results)
    short = _table(HEAD[:README_COLUMNS], [row[:README_COLUMNS] for row in rows])
    alone = [f"- {label}: {found}" for label, found in _whole(results)]
    return "\n".join([*short, "", *_table(HEAD, rows), "", *alone, "", _origin(results)])


def _table(head, rows):
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]


def _bars(results):
    return [
        [
            row["operation"],
            row["rival"],
            _ratio(row["ratio"]),
            f"{row['at_least']}",
            _verdict(row["ratio"] >= row["at_least"]),
            row["case"],
            _time(row["ours_s"]),
            _time(row["rival_s"]),
        ]
        for row in results["ratios"]
    ]


def _whole(results):
    """Say what has a limit but no rival."""
    made, compiled = results["make_targets"], results["compile"]
    if "absent" in made:
        yield "make-targets over decoding alone", f"n/a ({made['absent']})"
    else:
        times = f"{made['seconds']:.1f} s over {made['decode_s']:.1f} s"
        found = f"{made['ratio']:.2f} ({times}; {made['samples']} samples, {made['processes']} processes)"
        yield "make-targets over decoding alone", f"{found}, wanted under {made['at_most']}: {_verdict(_is_met(made))}"
    if "absent" in compiled:
        yield "compiling all kernels", f"n/a ({compiled['absent']})"
        return
    for name, when in (("first", "on a machine's first calls"), ("cached", "from the cache")):
        seconds, limit = compiled[f"{name}_s"], compiled[f"{name}_at_most_s"]
        yield f"all kernels, {when}", f"{seconds:.2f} s, wanted under {limit} s: {_verdict(seconds < limit)}"


def _is_met(made):
    return made["ratio"] < made["at_most"]


def _matrix(measurements):
    """One line per operation and case: our time, then every rival's ratio, or why it has none."""
    lines = {}
    for row in measurements:
        label = f"{row['operation']:<20} {row['case']:<20}"
        if row["contestant"] == OURS:
            per_px = row["peak_bytes"] / row["pixels"]
            lines[label] = [f"{_time(row['seconds']):>9} {per_px:7.1f} B/px  "]
        else:
            lines[label].append(f"{row['contestant']} {_describe(row)}")
    yield f"{'operation':<20} {'case':<20} {'ours':>9} {'peak memory':>12}   rivals: their time over ours"
    yield from (label + parts[0] + " · ".join(parts[1:]) for label, parts in lines.items())


def _describe(row):
    if "absent" in row:
        return f"n/a ({row['absent']})"
    share = row.get("agreement", 1)
    return _ratio(row["ratio"]) + (f" (agrees on {share:.2%})" if share < 1 else "")


def _growth(exponents):
    for operation in dict.fromkeys(row["operation"] for row in exponents):
        ours = [row for row in exponents if row["operation"] == operation and row["contestant"] == OURS]
        for against in ("pixels", "instances"):
            if found := [_growth_at(row) for row in ours if row["against"] == against]:
                yield f"{operation:<20} against {against:<10} {'  '.join(found)}"


def _growth_at(row):
    ((fixed, value),) = row["at"].items()
    return f"{row['exponent']:.2f} at {value:,} {fixed}"


def _origin(results):
    machine, changes = results["machine"], " with changes" if results["is_changed"] else ""
    what = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    return f"{where}; {what}; commit {results['commit'][:10]}{changes}; {results['date'][:10]}"


def _verdict(is_met):
    return "met" if is_met else "not met"


def _ratio(ratio):
    return f"{ratio:.0f}x" if ratio >= 20 else f"{ratio:.1f}x"


def _time(seconds):
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _align(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)

"""Prints where the time of one compiled program goes, running and compiling.

    python benchmarks/step_profile.py training --only U-Net

The cases are those of `speed.py`; `--only` takes the first whose name contains its text. Rows
are sorted by time; equal kinds of operation from one source line are one row. A convolution's
rows name its question and its form too. GMAC: billions of multiplications and additions of the
products and convolutions, from the shapes of the compiled program, so those on padding count.
The peak is that of a large product in the same process. Operations that run at the same time
share it, so a product beside others may seem faster than it is, and a loop's time is that of
what runs inside it. Tracing a program slows it down; the time of a run is measured without.
"""

import argparse
import contextlib
import pathlib
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import hlo_text
import jax
import segjax_side
import speed

from segjax import restart
from segjax.parallel import cluster

RUNS = 3
SIZE = 2048
"""The side of the matrices whose product is the peak."""

AROUND_OTHERS = ("while", "conditional", "call")
"""Kinds of operations whose time is that of other operations, which they execute."""


class Span(NamedTuple):
    """When an operation ran, in ns."""

    name: str
    start: float
    over: float


class Row(NamedTuple):
    """What equal kinds of operation from one source line take of a run: ns, multiply-adds."""

    kind: str
    source: str
    operations: int
    nanoseconds: float
    multiply_adds: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("operations", "training", "inference"))
    parser.add_argument("--only", default="", help="the case whose name contains this")
    parser.add_argument("--rows", type=int, default=25)
    arguments = parser.parse_args()
    restart.restart_with(restart.missing_variables())  # As the commands do.
    cluster.tune_cpu()
    cases = speed.cases(arguments.what)
    name = next((name for name in cases if arguments.only in name), None)
    if name is None:
        raise SystemExit(f"error: --only {arguments.only}: the cases are {', '.join(cases)}.")
    print(f"{arguments.what}: {name}; jax {jax.__version__}\n")
    profile(cases[name], rows=arguments.rows)


def profile(case: dict, *, rows: int) -> None:
    """Prints the tables of a case."""
    with jax.default_matmul_precision("highest"), compile_seconds() as seconds:
        work, program, _ = segjax_side.CASES[case["kind"]](case)
    text = program.compiled.as_text()
    work()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(RUNS):
        jax.block_until_ready(work())
    run = (time.perf_counter() - began) / RUNS
    after = resource.getrusage(resource.RUSAGE_SELF)
    table = summed(hlo_text.operations(text), traced(work, text), runs=RUNS)
    peak = peak_rate()
    print(
        f"a run: {1000 * run:.0f} ms, {(after.ru_minflt - before.ru_minflt) / RUNS:.0f} page "
        f"faults, {(after.ru_stime - before.ru_stime) / RUNS:.2f} s of the system; the process "
        f"so far: {after.ru_maxrss / 2**10:.0f} MiB at its peak; a product's peak: "
        f"{peak / 1e9:.0f} GMAC/s\n"
    )
    print("\n".join(lines(table, peak=peak, run=1e9 * run, most=rows)))
    print("\ncompiling, with the programs before it:")
    print(", ".join(f"{name} {value:.1f} s" for name, value in seconds.items()))
    kinds = hlo_text.counts(text)
    shown = ("fusion", "dot", "convolution", "reduce", "while", "copy")
    print(f"{kinds.total()} instructions; ", end="")
    print(", ".join(f"{kinds[kind]} {kind}" for kind in shown))
    print(f"{hlo_text.distinct_fusions(text)} distinct fusions, each compiled once")


@contextlib.contextmanager
def compile_seconds() -> Iterator[Counter[str]]:
    """Yields the seconds that JAX takes in the block for each part of compiling."""
    parts = {
        "jaxpr_trace_duration": "tracing",
        "jaxpr_to_mlir_module_duration": "lowering",
        "backend_compile_duration": "XLA",
    }
    found: Counter[str] = Counter()

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if part := parts.get(event.rpartition("/")[2]):
            found[part] += duration_secs  # type: ignore[assignment]

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def traced(work: Callable, text: str) -> list[tuple[str, float]]:
    """Returns the operations of a program that runs of it execute, with their nanoseconds."""
    module = text.removeprefix("HloModule ").partition(",")[0]
    around = {
        one.name for one in hlo_text.operations(text).values() if one.kind in AROUND_OTHERS
    }
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(RUNS):
                jax.block_until_ready(work())
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
        events = [e for plane in data.planes for line in plane.lines for e in line.events]
        return shared(span for span in spans(events, module) if span.name not in around)


def spans(events: Iterable[Any], module: str) -> list[Span]:
    """Returns when each execution of an operation of a module began and was over.

    An operation that leaves its thread has a second event, "end: ", where it is over. Its
    statistic `_c` is the `_p` of the first.
    """
    begun: dict[int, Span] = {}
    ended: dict[int, float] = {}
    found = []
    for event in events:
        statistics = dict(event.stats)
        over = event.start_ns + event.duration_ns
        if event.name.startswith("end: "):
            ended[statistics.get("_c", -1)] = over
        elif statistics.get("hlo_module") == module:
            one = Span(statistics["hlo_op"], event.start_ns, over)
            if "_p" in statistics:
                begun[statistics["_p"]] = one
            else:
                found.append(one)
    for number, one in begun.items():
        found.append(one._replace(over=max(one.over, ended.get(number, one.over))))
    return found


def shared(spans: Iterable[Span]) -> list[tuple[str, float]]:
    """Returns name and nanoseconds of each span; those that overlap share their time equally.

    >>> shared([Span("a", 0, 10), Span("b", 4, 8)])
    [('a', 8.0), ('b', 2.0)]
    """
    spans = list(spans)
    changes = sorted(
        (moment, begins, number)
        for number, span in enumerate(spans)
        for begins, moment in ((True, span.start), (False, span.over))
        if span.over > span.start
    )
    share = [0.0] * len(spans)
    running: set[int] = set()
    before = 0.0
    for moment, begins, number in changes:
        for one in running:
            share[one] += (moment - before) / len(running)
        before = moment
        running = running | {number} if begins else running - {number}
    return [(span.name, each) for span, each in zip(spans, share, strict=True)]


def summed(
    operations: dict[str, hlo_text.Operation],
    executed: Iterable[tuple[str, float]],
    *,
    runs: int,
) -> list[Row]:
    """Returns rows of one run, of several that were executed, the longest first."""
    rows: dict[tuple[str, str], Row] = {}
    names: dict[tuple[str, str], set[str]] = {}
    for name, nanoseconds in executed:
        one = operations.get(name, hlo_text.Operation(name, name, 0, ""))
        key = (one.kind, one.source)
        names.setdefault(key, set()).add(name)
        row = rows.get(key, Row(*key, 0, 0.0, 0.0))
        rows[key] = row._replace(
            operations=len(names[key]),
            nanoseconds=row.nanoseconds + nanoseconds / runs,
            multiply_adds=row.multiply_adds + one.multiply_adds / runs,
        )
    return sorted(rows.values(), key=lambda row: -row.nanoseconds)


def lines(table: list[Row], *, peak: float, run: float, most: int) -> list[str]:
    """Returns a Markdown table of the longest rows, and the rest in one."""
    found = [
        "| ms | of the run | GMAC | GMAC/s | of the peak | number | operation | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rest = table[most:]
    if rest:
        total = lambda field: sum(getattr(row, field) for row in rest)
        fields = ("operations", "nanoseconds", "multiply_adds")
        table = [*table[:most], Row("others", "", *map(total, fields))]
    for row in table:
        work = ["", "", ""]
        if row.multiply_adds and row.nanoseconds:
            rate = row.multiply_adds / row.nanoseconds  # GMAC/s.
            work = [f"{row.multiply_adds / 1e9:.2f}", f"{rate:.1f}", f"{rate * 1e9 / peak:.0%}"]
        shares = [f"{row.nanoseconds / 1e6:.2f}", f"{row.nanoseconds / run:.1%}"]
        cells = [*shares, *work, f"{row.operations}", row.kind, row.source]
        found.append(f"| {' | '.join(cells)} |")
    return found


def peak_rate() -> float:
    """Returns the multiply-adds a second of a large product of float32."""
    a = segjax_side.drawn((SIZE, SIZE), {})
    with jax.default_matmul_precision("highest"):
        product = jax.jit(jax.numpy.matmul)
        jax.block_until_ready(product(a, a))
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready(product(a, a))
        seconds.append(time.perf_counter() - began)
    return SIZE**3 / statistics.median(seconds)


if __name__ == "__main__":
    main()

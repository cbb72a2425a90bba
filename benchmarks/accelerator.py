"""Measures segjax on an accelerator, in stages, within a few minutes and without a network.

    python benchmarks/accelerator.py --out FILE.jsonl [--stage NAME ...] [--minutes 9] [--smoke]

    smoke        every family's step and inference against the CPU, in float32 and bfloat16; two
                 equal steps; images in parts; an exported program
    speed        networks beside PyTorch, eager and compiled: images/s, memory, compile time
    operations   every form of an operation beside the plain primitive and PyTorch's
    train        CamVid, ISBI 2012 and DSB 2018 for a given number of minutes, then scores

Without `--stage` all of them run, in this order, until the time is over. Each result is a line
of FILE.jsonl, on the disk as soon as it is measured. Run again, the command measures only what
FILE.jsonl, and files named by `--done`, do not hold yet, and what had failed: being cut off
loses one row.
`--smoke` takes tiny settings, which a CPU can run.

The GPU machine needs jax, flax, optax and orbax-checkpoint; torch and torchvision for the
comparison. What else segjax imports, and the data, come from `build/accelerator/wheels` and
`build/accelerator/data`, which `benchmarks/pack_accelerator.sh` fills: copy both along with the
repository. `accelerator_tables.py` writes rows as tables.
"""

import argparse
import dataclasses
import hashlib
import importlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from types import ModuleType
from typing import Any

from accelerator_rows import Clock, Rows

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKED = ROOT / "build" / "accelerator"
STAGES = {"smoke": 0.2, "speed": 0.3, "operations": 0.2, "train": 0.3}
"""The stages in order, and each one's share of the time where all are asked for."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What the stages need to know."""

    smoke: bool
    torch: str | None
    data: pathlib.Path
    out: pathlib.Path
    work: pathlib.Path
    minutes_each: float
    only: str


def main() -> int:
    arguments = parsed()
    complete_path(arguments.work)
    clock, machine = Clock(60 * arguments.minutes), describe_machine(arguments.smoke)
    print(machine, flush=True)
    rows = Rows(arguments.out, done=arguments.done, machine=machine)
    options = Options(
        smoke=arguments.smoke,
        torch=torch_interpreter(arguments.torch),
        data=arguments.data,
        out=arguments.out,
        work=arguments.work,
        minutes_each=arguments.minutes_each,
        only=arguments.only,
    )
    stages = list(dict.fromkeys(arguments.stage or STAGES))
    for place, stage in enumerate(stages):
        # A stage takes its share of what is left; what it does not use is for those behind it.
        share = STAGES[stage] / sum(STAGES[other] for other in stages[place:])
        run_stage(stage, options, rows, Clock(share * clock.left))
    counts = {stage: len(missing(stage, options, rows)) for stage in stages}
    said = ", ".join(f"{stage} {count}" for stage, count in counts.items() if count)
    print(f"rows not measured yet: {said or 'none'}", flush=True)
    return 0


def run_stage(stage: str, options: Options, rows: Rows, clock: Clock) -> None:
    """Measures a stage's rows until its time is over; an error of its own ends only it."""
    left = missing(stage, options, rows)
    print(f"{stage}: {len(left)} rows to measure in {clock.left:.0f} s", flush=True)
    start = time.monotonic()
    try:
        for name, values in module_of(stage).run(left, options, rows, clock):
            seconds = round(time.monotonic() - start, 1)
            rows.write(stage, name, {**values, "wall_s": seconds})
            print(f"{stage}: {name}: {seconds} s, {clock.left:.0f} s left", flush=True)
            start = time.monotonic()
    except Exception:
        traceback.print_exc()
        print(f"{stage} has ended early: see above", flush=True)


def module_of(stage: str) -> ModuleType:
    """The stage's own script: `names(options)` and `run(names, options, rows, clock)`."""
    return importlib.import_module(f"accelerator_{stage}")


def missing(stage: str, options: Options, rows: Rows) -> list[str]:
    """The rows of a stage that are asked for and not there yet."""
    names = module_of(stage).names(options)
    return [name for name in names if options.only in name and (stage, name) not in rows]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="FILE.jsonl")
    parser.add_argument(
        "--stage", nargs="+", choices=list(STAGES), metavar="NAME", help=", ".join(STAGES)
    )
    parser.add_argument("--minutes", type=float, default=9, help="for everything (default 9)")
    parser.add_argument(
        "--minutes-each", type=float, default=1.5, help="train: of each network (default 1.5)"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny settings, for any machine")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument(
        "--done",
        type=pathlib.Path,
        nargs="+",
        default=[],
        help="files of rows that are there",
    )
    parser.add_argument(
        "--torch", metavar="PYTHON", help="an interpreter with torch (default: this one)"
    )
    parser.add_argument(
        "--work",
        type=pathlib.Path,
        default=pathlib.Path(tempfile.gettempdir(), "segjax-accelerator"),
        help="where runs and unpacked wheels go; only rows and reports lie beside FILE.jsonl",
    )
    parser.add_argument("--data", type=pathlib.Path, default=PACKED / "data", help="of `train`")
    return parser.parse_args()


def complete_path(work: pathlib.Path) -> None:
    """Lets this process and its children import segjax, and what the machine lacks for it."""
    added = [str(ROOT)]
    wheels = [path for path in sorted((PACKED / "wheels").glob("*.whl")) if not _is_there(path)]
    if wheels:
        names = "\n".join([sys.version, *(wheel.name for wheel in wheels)])
        site = work / f"site-{hashlib.sha256(names.encode()).hexdigest()[:12]}"
        if not site.is_dir():
            work.mkdir(parents=True, exist_ok=True)
            install = ("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile")
            partial = tempfile.mkdtemp(dir=work)
            subprocess.run(
                [sys.executable, *install, "--target", partial, *map(str, wheels)], check=True
            )
            os.rename(partial, site)
        added.append(str(site))
    # Nothing that is installed is hidden: only what was missing lies there.
    sys.path.extend(added)
    given = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [given]), *added])


def _is_there(wheel: pathlib.Path) -> bool:
    """Whether some version of a wheel's package is installed."""
    try:
        importlib.metadata.version(wheel.name.split("-")[0])
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def torch_interpreter(given: str | None) -> str | None:
    """The interpreter for PyTorch's side, or None where there is none."""
    python = given or sys.executable
    probe = subprocess.run([python, "-c", "import torch, torchvision"], capture_output=True)
    needs_stub = b"torchvision::nms" in probe.stderr  # The side declares it.
    return python if probe.returncode == 0 or needs_stub else None


def describe_machine(smoke: bool) -> dict[str, Any]:
    """Card and versions, from a process of its own: this one must not take the device."""
    text = (
        "import jax; d = jax.devices(); "
        "print(d[0].platform, len(d), jax.__version__, d[0].device_kind)"
    )
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    if found.returncode:
        lines = found.stderr.strip().splitlines() or ["no message"]
        sys.exit(f"error: jax cannot use a device: {lines[-1]}")
    kind, count, version, card = found.stdout.strip().split(" ", 3)
    if kind == "cpu" and not smoke:
        sys.exit(
            "error: jax finds no accelerator here, only a CPU; install its plugin, or try the "
            "stages on this machine with --smoke."
        )
    versions = {"jax": version, "python": platform.python_version()}
    return {"card": card, "devices": int(count), **versions, "tiny": smoke}


if __name__ == "__main__":
    sys.exit(main())

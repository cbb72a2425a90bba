"""Measures segjax on an accelerator, in stages, within a few minutes and without a network.

    python benchmarks/accelerator.py --out FILE.jsonl [--stage NAME ...] [--minutes 9] [--smoke]

    smoke        every family's step and inference against the CPU, in float32 and bfloat16; two
                 equal steps; images in parts; an exported program
    speed        networks beside PyTorch, eager and compiled: images/s, memory, compile time
    operations   every form of an operation beside the plain primitive and PyTorch's
    train        CamVid, ISBI 2012 and DSB 2018 for a given number of minutes, then scores

Without `--stage` all of them run, in this order, until the time is over. Each result is a line
of FILE.jsonl, on the disk as soon as it is there. Run again, the command measures only what
FILE.jsonl, and files named by `--done`, do not hold yet: being cut off loses one row.
`--smoke` takes tiny settings, which a CPU can run.

The GPU machine needs jax, flax, optax and orbax-checkpoint; torch and torchvision for the
comparison. What else segjax imports, and the data, come from `build/accelerator`, which
`benchmarks/pack_accelerator.sh` fills: copy it along with the repository.
`accelerator_tables.py` writes rows as tables.
"""

import argparse
import dataclasses
import importlib
import importlib.util
import os
import pathlib
import platform
import subprocess
import sys
import time
from types import ModuleType
from typing import Any

from accelerator_rows import Clock, Rows

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKED = ROOT / "build" / "accelerator"
STAGES = ("smoke", "speed", "operations", "train")


@dataclasses.dataclass(frozen=True)
class Options:
    """What the stages need to know."""

    smoke: bool
    torch: str | None
    data: pathlib.Path
    out: pathlib.Path
    minutes_each: float
    only: str


def main() -> int:
    arguments = parsed()
    complete_path()
    clock, rows = Clock(arguments.minutes), Rows(arguments.out, done=arguments.done)
    options = Options(
        smoke=arguments.smoke,
        torch=torch_interpreter(arguments.torch),
        data=arguments.data,
        out=arguments.out,
        minutes_each=arguments.minutes_each,
        only=arguments.only,
    )
    machine = describe_machine(options)
    print(machine, flush=True)
    stages = arguments.stage or STAGES
    for stage in stages:
        left = missing(stage, options, rows)
        print(f"{stage}: {len(left)} rows to measure", flush=True)
        start = time.monotonic()
        for name, values in module_of(stage).run(left, options, rows, clock):
            seconds = round(time.monotonic() - start, 1)
            rows.write(stage, name, {**values, "wall_s": seconds, **machine})
            print(f"{stage}: {name}: {seconds} s, {clock.left:.0f} s left", flush=True)
            start = time.monotonic()
    counts = {stage: len(missing(stage, options, rows)) for stage in stages}
    said = ", ".join(f"{stage} {count}" for stage, count in counts.items() if count)
    print(f"rows not measured yet: {said or 'none'}", flush=True)
    return 0


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
    parser.add_argument("--stage", nargs="+", choices=STAGES, metavar="NAME", help=f"{STAGES}")
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
    parser.add_argument("--data", type=pathlib.Path, default=PACKED / "data", help="of `train`")
    return parser.parse_args()


def complete_path() -> None:
    """Lets this process and its children import segjax, and what the machine lacks for it."""
    added = [str(ROOT), str(pathlib.Path(__file__).parent)]
    missing = [name for name in ("grain", "tensorflow_datasets") if not _is_there(name)]
    wheels = sorted(map(str, (PACKED / "wheels").glob("*.whl")))
    if missing and wheels:
        site = PACKED / f"site-{sys.version_info.major}.{sys.version_info.minor}"
        if not site.is_dir():
            install = ("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile")
            target = site.with_name(f"{site.name}.partial")
            subprocess.run(
                [sys.executable, *install, "--upgrade", "--target", str(target), *wheels],
                check=True,
            )
            target.rename(site)
        added.append(str(site))
    elif missing:
        print(f"{', '.join(missing)} not found: stage train cannot run", file=sys.stderr)
    # Behind what is installed: the packed ones only fill gaps.
    sys.path.extend(added)
    given = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [given]), *added])


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def torch_interpreter(given: str | None) -> str | None:
    """The interpreter for PyTorch's side, or None where there is none."""
    python = given or sys.executable
    probe = subprocess.run([python, "-c", "import torch, torchvision"], capture_output=True)
    needs_stub = b"torchvision::nms" in probe.stderr  # The side declares it.
    return python if probe.returncode == 0 or needs_stub else None


def describe_machine(options: Options) -> dict[str, Any]:
    """Card and versions, of a process of its own: this one leaves the device to the stages."""
    text = "import jax; d = jax.devices(); print(d[0].device_kind, len(d), jax.__version__)"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"error: jax cannot use a device: {found.stderr.strip().splitlines()[-1]}")
    kind, count, version = found.stdout.strip().rsplit(" ", 2)
    card = {
        "card": kind,
        "devices": int(count),
        "jax": version,
        "python": platform.python_version(),
    }
    return {**card, "tiny": options.smoke}


if __name__ == "__main__":
    sys.exit(main())

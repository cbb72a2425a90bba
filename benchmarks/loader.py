"""Times segjax's loader against PyTorch's DataLoader, in turns in one run.

    python benchmarks/loader.py speed --data CAMVID --torch PYTHON [--turns 5] [--colour]
    python benchmarks/loader.py leak --data CAMVID [--batches 10000]

CAMVID is the folder of SegNet's CamVid (480 × 360, JPEG images, PNG masks); PYTHON is the
interpreter of an environment that has torch and torchvision. Both sides decode with Pillow,
scale by a factor from 0.5 to 2 (masks nearest), crop 321 × 321 with padding, flip, and stack
batches of 8; `--colour` adds brightness, contrast and saturation. Each side is tried with
several numbers of workers and shown at its best. Memory is the peak of the process and its
workers together (proportional set size). Start-up is from the start of the interpreter to the
first batch, once the data are prepared. A side's batches that were read ahead while others
worked are not timed. Nothing else should run.
"""

import argparse
import pathlib
import statistics
import sys
import time

from sides import Side

TORCH_WORKERS = (0, 1, 2)
SEGJAX_THREADS = ((2, 0), (4, 0), (1, 2))
"""(threads, worker processes) of segjax's loader."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "leak"))
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--torch")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--count", type=int, default=20, help="batches in a turn")
    parser.add_argument("--batches", type=int, default=10_000, help="of the leak run")
    parser.add_argument("--colour", action="store_true")
    arguments = parser.parse_args()
    return (speed if arguments.what == "speed" else leak)(arguments)


def speed(arguments: argparse.Namespace) -> int:
    if arguments.torch is None:
        print("speed needs --torch PYTHON, an interpreter with torch and torchvision.")
        return 2
    sides = {}
    common = {"data": str(arguments.data.resolve()), "colour": arguments.colour}
    for workers in TORCH_WORKERS:
        sides["torch", f"{workers} workers"] = (
            arguments.torch,
            "loader_torch.py",
            {**common, "workers": workers},
        )
    for threads, workers in SEGJAX_THREADS:
        sides["segjax", f"{threads} threads, {workers} workers"] = (
            sys.executable,
            "loader_segjax.py",
            {**common, "threads": threads, "workers": workers},
        )
    rows = measured(sides, arguments)
    best = {}
    print("| side | setting | images a second | peak memory, MiB | start-up, s |")
    print("|---|---|---|---|---|")
    for (side, setting), row in rows.items():
        print(
            f"| {side} | {setting} | {row['speed']:.1f} | {row['memory_mib']:.0f} | "
            f"{row['start_s']:.1f} |"
        )
        best[side] = max(best.get(side, 0.0), row["speed"])
    print(f"\nsegjax ÷ torch, both at their best: {best['segjax'] / best['torch']:.2f}")
    return 0


def measured(sides: dict, arguments: argparse.Namespace) -> dict:
    """Returns the median speed, the peak memory and the start-up of each side."""
    # Once before, so that no start-up counts the preparation of the data.
    run_alone(sys.executable, "loader_segjax.py", next(reversed(sides.values()))[2])
    opened, starts = {}, {}
    for key, (python, script, case) in sides.items():
        began = time.perf_counter()
        opened[key] = Side(python, script)
        opened[key].ask(**case)
        starts[key] = time.perf_counter() - began
        opened[key].ask(run=arguments.count)  # Warm.
    answers = {key: [] for key in sides}
    for _ in range(arguments.turns):
        for key, side in opened.items():
            answers[key].append(side.ask(run=arguments.count))
    for side in opened.values():
        side.close()
    return {
        key: {
            "speed": statistics.median(each["images_per_second"] for each in found),
            "memory_mib": max(each["memory_mib"] for each in found),
            "start_s": starts[key],
        }
        for key, found in answers.items()
    }


def run_alone(python: str, script: str, case: dict) -> None:
    side = Side(python, script)
    side.ask(**case)
    side.close()


def leak(arguments: argparse.Namespace) -> int:
    side = Side(sys.executable, "loader_segjax.py")
    data = str(arguments.data.resolve())
    # Small windows, so that many batches pass.
    side.ask(data=data, colour=False, threads=4, workers=0, crop=33, scale=0.25, batch=1)
    tenth = max(arguments.batches // 10, 1)
    print("| batches | memory, MiB |\n|---|---|")
    for part in range(10):
        answer = side.ask(run=tenth)
        print(f"| {(part + 1) * tenth} | {answer['memory_mib']:.1f} |", flush=True)
    side.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Kills a run at random moments, some while it saves, and holds it against an unbroken one.

    python benchmarks/kill_and_resume.py experiments/quickstart.py --kills 10

Ends with status 0 if the final checkpoint is bit-identical and the logged losses are equal.
Every second kill waits until a checkpoint is being written (a temporary folder there).
"""

import argparse
import contextlib
import json
import logging
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from segjax.train.checkpoint import Checkpoints
from segjax.train.log import read_metrics
from segjax.train.telemetry import without_timing


def main() -> int:
    # Orbax announces that it opens a folder for reading.
    logging.getLogger("absl").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--longest", type=float, default=30.0, help="seconds before a kill")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = pathlib.Path(folder, "whole"), pathlib.Path(folder, "broken")
        command = [sys.executable, "-m", "segjax.launch", arguments.experiment]
        command += [part for setting in arguments.set for part in ("--set", setting)]
        begun = time.monotonic()
        subprocess.run([*command, "--workdir", whole], check=True, stderr=subprocess.DEVNULL)
        duration = time.monotonic() - begun
        rng = random.Random(arguments.seed)
        longest = min(arguments.longest, 0.9 * duration)
        killed = 0
        while killed < arguments.kills:
            in_save = killed % 2 == 1
            if not kill_once(
                [*command, "--workdir", broken], broken, rng, longest, in_save=in_save
            ):
                break
            killed += 1
        subprocess.run([*command, "--workdir", broken], check=True, stderr=subprocess.DEVNULL)
        print(f"{killed} kills in a run of {duration:.0f} s")
        return compare(whole, broken)


def kill_once(command, workdir, rng, longest: float, *, in_save: bool) -> bool:
    """Starts the run and kills it; False if it was done before."""
    moment, saves = rng.uniform(0.1 * longest, longest), rng.randint(1, 2)
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    begun, seen, old = time.monotonic(), set(), unfinished(workdir)
    while process.poll() is None:
        saving = unfinished(workdir) - old
        seen |= saving
        if (len(seen) >= saves and saving) if in_save else time.monotonic() - begun > moment:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            left = sorted(p.name for p in workdir.glob("checkpoints/*"))
            when = " while saving" if saving else ""
            print(f"killed after {time.monotonic() - begun:.1f} s{when}: {left}", flush=True)
            return True
        time.sleep(0.002)
    print(f"done after {time.monotonic() - begun:.1f} s, before the kill")
    return False


def unfinished(workdir: pathlib.Path) -> set[tuple[str, int]]:
    """Checkpoints that are being written, or were when an earlier kill came."""
    found = set()
    for path in workdir.glob("checkpoints/*tmp*"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path.name, path.stat().st_ino))
    return found


def compare(whole: pathlib.Path, broken: pathlib.Path) -> int:
    states = []
    for workdir in (whole, broken):
        with Checkpoints(workdir, read_only=True) as checkpoints:
            steps = checkpoints.steps
            states.append((steps, checkpoints.restore_tree(steps[-1])))
    (steps, one), (other_steps, other) = states
    same_bits = jax.tree.all(
        jax.tree.map(
            lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), one, other
        )
    )
    rows = [[*map(without_timing, read_metrics(workdir))] for workdir in (whole, broken)]
    result = {
        "steps": steps,
        "same_steps": steps == other_steps,
        "arrays": len(jax.tree.leaves(one)),
        "bit_identical": bool(same_bits),
        "rows": len(rows[0]),
        "same_rows": rows[0] == rows[1],
    }
    print(json.dumps(result))
    return 0 if result["same_steps"] and same_bits and result["same_rows"] else 1


if __name__ == "__main__":
    sys.exit(main())

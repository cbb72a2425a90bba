"""Damages checkpoints of a tiny run in many ways, and shows who notices.

    python benchmarks/corrupt.py --count 30 --out corrupt.md

It trains a run of 20 steps, then makes damaged copies of it. Half of them have a bit of array
data flipped, the others go through the damages of `corruptions.py` in turn. On each copy it
does in this process what training, the commands that read a checkpoint and `--verify` do; on
the first `--commands` copies it also runs the commands. What they restore is compared
with what was saved, so a difference that nobody reported is seen: "SILENT", and the exit status
is 1. A bit that the checkpoint does not use changes nothing; such a flip is counted apart and
made again.
"""

import argparse
import contextlib
import io
import logging
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from corruptions import OF_SCORE, OF_STATE, flipped_data

from segjax.announce import LOGGER
from segjax.errors import InputError, RunError
from segjax.train.checkpoint import Checkpoints
from segjax.train.checksums import named_arrays
from segjax.train.plan import make_plan
from segjax.train.step import TrainState
from segjax.train.stored import Stored
from segjax.train.verify import verified_files
from segjax.train.workdir import open_run

EXPERIMENT = "experiments/quickstart.py"
SETTINGS = (
    *("steps=20", "model.features=4", "model.depth=1", "eval_data.count=4"),
    *("checkpoint_every=5", "log_every=1", "optimizer.schedule.warmup_steps=2"),
)
LAST = 20
"""The step that is damaged, the last and the best of the run."""


class Outcome(NamedTuple):
    """What became of a damaged copy; each field a few words."""

    damage: str
    train: str
    best: str
    last: str
    verify: str

    @property
    def is_silent(self) -> bool:
        """Whether anything was restored that was not saved, with no word about it."""
        return "SILENT" in self

    @property
    def is_found(self) -> bool:
        """Whether anybody noticed."""
        return self.verify != "whole" or self.train != f"resumes from {LAST}"


def main() -> int:
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=30, help="damaged copies")
    parser.add_argument("--commands", type=int, default=0, help="copies for whole commands")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=pathlib.Path, help="a finished run of this experiment")
    parser.add_argument("--out", type=pathlib.Path, help="file for the table")
    arguments = parser.parse_args()
    rng, begun = random.Random(arguments.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = arguments.run or trained(pathlib.Path(folder, "run"))
        saved = {step: Stored(run / f"checkpoints/{step}").restore() for step in (15, LAST)}
        plan = make_plan(open_run(run), resume=True, note=lambda line: None)
        template = plan.state_shapes()
        outcomes, harmless = [], 0
        for place, (name, damage) in enumerate(damages(arguments.count)):
            while True:
                damaged = copied(run, pathlib.Path(folder, "damaged"))
                damage(damaged / f"checkpoints/{LAST}", rng)
                copy = copied(damaged, pathlib.Path(folder, "copy"))
                outcome = tried(name, copy, saved, template)
                if name != FLIP or outcome.is_found or outcome.is_silent:
                    break
                harmless += 1
            outcomes.append(outcome)
            print(" | ".join(outcome), flush=True)
            if place < arguments.commands:
                run_commands(damaged, pathlib.Path(folder, "copy"))
        report = table(outcomes, harmless, time.monotonic() - begun)
    print(report)
    if arguments.out:
        arguments.out.write_text(report + "\n", encoding="utf-8")
    return int(any(outcome.is_silent or not outcome.is_found for outcome in outcomes))


FLIP = "one bit of array data flipped"


def damages(count: int) -> Iterator[tuple[str, Callable]]:
    """Yields names and functions: every second one flips a bit."""
    others = list({**OF_STATE, **OF_SCORE}.items())
    for place in range(count):
        yield others[place // 2 % len(others)] if place % 2 else (FLIP, flipped_data)


def command(workdir: pathlib.Path, *options: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    launch = [sys.executable, "-m", "segjax.launch", EXPERIMENT, *settings]
    return [*launch, "--workdir", str(workdir), *options]


def trained(workdir: pathlib.Path) -> pathlib.Path:
    subprocess.run(command(workdir), check=True, capture_output=True)
    return workdir


def tried(name: str, copy: pathlib.Path, saved: dict, template: TrainState) -> Outcome:
    """Does what the commands do with a damaged copy; training comes last, since it renames."""
    broken = [found for found in verified_files(copy) if found.is_damaged]
    best, last = (read(copy, which, saved) for which in ("best", "last"))
    verify = f"found: {broken[0].words}" if broken else "whole"
    return Outcome(name, train(copy, saved, template), best, last, verify)


def read(copy: pathlib.Path, which: str, saved: dict) -> str:
    try:
        with Checkpoints(copy, read_only=True) as checkpoints:
            step, variables = checkpoints.restore_variables(which)
    except InputError as error:
        return f"refused, names {str(error).rpartition('--checkpoint ')[2].rstrip('.')}"
    wanted = {name: saved[step][name] for name in variables} if step in saved else None
    return f"step {step}" if equal(variables, wanted) else "SILENT"


def train(copy: pathlib.Path, saved: dict, template: TrainState) -> str:
    said = io.StringIO()
    try:
        # The lines of a command, which this one is not.
        LOGGER.setLevel("INFO")
        with contextlib.redirect_stderr(said), Checkpoints(copy) as checkpoints:
            state = checkpoints.restore(template)
    except RunError as error:
        return f"refused: {error}"
    finally:
        LOGGER.setLevel("WARNING")
    assert state is not None
    step = int(state.step)
    if not equal(state, saved.get(step)):
        return "SILENT"
    words = "fell back, resumes" if said.getvalue() and step < LAST else "resumes"
    again = ", evaluates again" if "evaluated again" in said.getvalue() else ""
    return f"{words} from {step}{again}"


def equal(tree, other) -> bool:
    """Returns whether two trees hold the same arrays, bit for bit."""
    one, two = named_arrays(tree), named_arrays(other)
    same = lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes()
    return bool(one) and {*one} == {*two} and all(same(one[path], two[path]) for path in one)


def copied(run: pathlib.Path, copy: pathlib.Path) -> pathlib.Path:
    shutil.rmtree(copy, ignore_errors=True)
    return shutil.copytree(run, copy)


def run_commands(damaged: pathlib.Path, copy: pathlib.Path) -> None:
    """Runs whole commands on a damaged copy and prints their status and what they say."""
    for options in (("--verify",), ("--evaluate",), ()):
        copied(damaged, copy)
        done = subprocess.run(command(copy, *options), capture_output=True, text=True)
        lines = done.stderr.splitlines() + done.stdout.splitlines()
        told = [line for line in lines if "damaged" in line.lower()][:1]
        print(f"    launch {' '.join(options)}: status {done.returncode}: {told}", flush=True)
        assert "Traceback" not in done.stderr


def table(outcomes: list[Outcome], harmless: int, seconds: float) -> str:
    kinds: dict[Outcome, int] = {}
    for outcome in outcomes:
        verify = outcome.verify.partition(":")[0]
        key = outcome._replace(verify=verify)
        kinds[key] = kinds.get(key, 0) + 1
    lines = [
        "| damage of step 20 | copies | training | best | last | --verify |",
        "|---|---|---|---|---|---|",
        *(
            f"| {kind.damage} | {count} | {kind.train} | {kind.best} | {kind.last} | "
            f"{kind.verify} |"
            for kind, count in sorted(kinds.items())
        ),
    ]
    found = sum(outcome.is_found for outcome in outcomes)
    silent = sum(outcome.is_silent for outcome in outcomes)
    return "\n".join(lines) + (
        f"\n\n{len(outcomes)} damaged checkpoints: {found} found, {silent} loaded silently. "
        f"{harmless} more flips hit bytes that hold nothing: the same bits were restored. "
        f"{seconds:.0f} s."
    )


if __name__ == "__main__":
    sys.exit(main())

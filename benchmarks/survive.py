"""Stops runs at random moments, starts them again, and compares them with unbroken ones.

    python benchmarks/survive.py --kills 50

SIGKILL, SIGTERM and SIGINT reach a run while it starts up, compiles, trains, saves, evaluates
and reports; every third run has two processes, of which one gets the signal. A phase is told by
what the run prints and by its files, and the moment in it is random. A run goes on until it is
complete. Then its last checkpoint, `model.safetensors`, `evaluation.json` and the rows of
`metrics.jsonl`, without columns of time, must equal those of the unbroken run bit for bit.

Prints a table by signal and phase. Ends with status 0 if every run is identical, every exit
status is the documented one, and no process took more than a minute to end.
"""

import argparse
import contextlib
import json
import logging
import os
import pathlib
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from segjax.train.checkpoint import Checkpoints, last_step
from segjax.train.log import read_metrics
from segjax.train.telemetry import without_timing

EXPERIMENT = pathlib.Path(__file__).resolve().parents[1] / "experiments" / "quickstart.py"
STEPS, SAVES, EVALUATES = 240, 40, 80
SETTINGS = (
    *(f"steps={STEPS}", f"checkpoint_every={SAVES}", f"evaluation.every={EVALUATES}"),
    *("log_every=1", "model.features=4", "model.depth=1", "eval_data.count=24"),
    *("batch_size=2", "optimizer.schedule.warmup_steps=2", "evaluation.examples=2"),
)
PHASES = ("start-up", "compiling", "training", "saving", "evaluating", "reporting")
SIGNALS = {"SIGKILL": -9, "SIGTERM": 75, "SIGINT": 130}
"""The signals, and the exit status after each."""

LIMIT = 60.0
"""Seconds after which a process that should have ended is taken to hang."""


class Kill(NamedTuple):
    """What one signal did: to which phase, for how long, and whether it ended as documented."""

    name: str
    phase: str
    hosts: int
    seconds: float
    statuses: tuple[int, ...]
    fine: bool
    saved: bool


class Started:
    """A run that has been started, as one process or as two."""

    def __init__(self, workdir: pathlib.Path, hosts: int, programs: pathlib.Path):
        self.workdir, self.began = workdir, time.time()
        self._seen = unfinished(workdir)
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(programs)}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
        if hosts > 1:
            environment |= {"JAX_NUM_PROCESSES": str(hosts)}
            # Of processes that have not met, nobody knows that one was killed.
            environment |= {"SEGJAX_START_TIMEOUT": "50"}
            environment |= {"JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}"}
        command = [sys.executable, "-u", "-m", "segjax.launch", str(EXPERIMENT)]
        command += ["--workdir", str(workdir)]
        command += [part for setting in SETTINGS for part in ("--set", setting)]
        self.logs = [workdir.with_suffix(f".{i}.log") for i in range(hosts)]
        self.processes = []
        for index, log in enumerate(self.logs):
            with log.open("w") as out:
                process = subprocess.Popen(
                    command,
                    env={**environment, "JAX_PROCESS_ID": str(index)},
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
            self.processes.append(process)

    def is_over(self) -> bool:
        return any(process.poll() is not None for process in self.processes)

    def text(self) -> str:
        return self.logs[0].read_text(encoding="utf-8", errors="replace")

    def is_new(self, name: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return (self.workdir / name).stat().st_mtime > self.began
        return False

    def phase(self) -> str:
        """Returns the phase by the run's files and lines."""
        text = self.text()
        if self.is_new("evaluation.json"):
            return "reporting"
        if unfinished(self.workdir) - self._seen:
            return "saving"
        if " parameters, " not in text:
            return "start-up"
        if last_step(self.workdir) == STEPS:
            return "evaluating"
        if "Compiling the training step:" not in text:
            return "compiling" if "Compiling the training step" in text else "start-up"
        rows = read_metrics(self.workdir)
        if rows and rows[-1]["step"] % EVALUATES == 0 and "loss" in rows[-1]:
            return "evaluating"
        return "training"

    def wait(self, seconds: float) -> bool:
        """Returns whether all processes end in time; kills those that do not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if all(process.poll() is not None for process in self.processes):
                return True
            time.sleep(0.01)
        for process in self.processes:
            process.kill()
            process.wait()
        return False


def main() -> int:
    # Orbax announces that it opens a folder for reading.
    logging.getLogger("absl").setLevel(logging.ERROR)
    # A shell starts what runs in its background with Ctrl-C ignored, and so would the runs be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the runs; default: none")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        out = arguments.out or stack.enter_context(tempfile.TemporaryDirectory())
        return survive(pathlib.Path(out), arguments.kills, random.Random(arguments.seed))


def survive(out: pathlib.Path, kills: int, rng: random.Random) -> int:
    out.mkdir(parents=True, exist_ok=True)
    programs = out / "programs"
    whole, results, kinds = {}, [], []
    while len(results) < kills:
        runs = len(kinds)
        hosts = 2 if runs % 3 == 1 else 1
        if hosts not in whole:
            whole[hosts] = out / f"whole{hosts}"
            complete(whole[hosts], hosts, programs)
        workdir = out / f"run{runs}"
        # Compiling and saving are short, so a run meets them at the start and once more later.
        plan = [*PHASES[:5], "training", "saving", "compiling", "evaluating", "reporting"]
        for phase in plan[: kills - len(results)]:
            name = rng.choice(list(SIGNALS))
            cold = out / f"programs{len(results)}" if phase == "compiling" else programs
            if kill := kill_once(workdir, hosts, cold, name, phase, rng):
                results.append(kill)
                print(f"{len(results):3d} {kill}", flush=True)
        complete(workdir, hosts, programs)
        differences = differ(whole[hosts], workdir)
        kinds.append(not differences)
        print(f"{workdir.name}, {hosts} processes: {differences or 'identical'}", flush=True)
    return report(results, kinds)


def complete(workdir: pathlib.Path, hosts: int, programs: pathlib.Path) -> None:
    """Runs the command until it is done."""
    started = Started(workdir, hosts, programs)
    if not started.wait(1800) or any(process.returncode for process in started.processes):
        raise SystemExit(f"{workdir} does not complete:\n{started.text()}")


def kill_once(
    workdir: pathlib.Path,
    hosts: int,
    programs: pathlib.Path,
    name: str,
    phase: str,
    rng: random.Random,
) -> Kill | None:
    """Starts the run and sends a signal in the phase; None if it was done before."""
    is_due = moment(phase, rng)
    started = Started(workdir, hosts, programs)
    while not started.is_over() and not is_due(started):
        time.sleep(0.01)
    if started.is_over():
        if any(process.returncode for process in started.processes):
            raise SystemExit(f"{workdir} failed by itself:\n{started.text()}")
        started.wait(LIMIT)
        return None
    victim = rng.randrange(hosts)
    rows, found = read_metrics(workdir), started.phase()
    sent = time.monotonic()
    started.processes[victim].send_signal(getattr(signal, name))
    ended = started.wait(LIMIT)
    seconds = time.monotonic() - sent
    statuses = tuple(process.returncode for process in started.processes)
    trained = max((row["step"] for row in rows), default=0)
    saved = name == "SIGKILL" or (last_step(workdir) or 0) >= trained
    fine = ended and saved
    for index, status in enumerate(statuses):
        wanted = 75 if name == "SIGKILL" and index != victim else SIGNALS[name]
        # A run that has written its report may be done before it hears of the signal.
        fine &= status == wanted or (found == "reporting" and status == 0)
    if not fine:
        print(*(f"{log.name}:\n{log.read_text()[-2000:]}" for log in started.logs), sep="\n")
    return Kill(name, found, hosts, round(seconds, 2), statuses, fine, saved)


def moment(phase: str, rng: random.Random) -> Callable[[Started], bool]:
    """Returns whether a run is in the phase, for a random time or until a random step."""
    if phase == "start-up":
        after = rng.uniform(0.5, 4)
        return lambda started: time.time() - started.began > after
    if phase == "training":
        steps = rng.randrange(1, SAVES)
        first: list[int] = []

        def trained(started: Started) -> bool:
            found = re.findall(rf"step (\d+)/{STEPS} loss", started.text())
            rows = read_metrics(started.workdir) if found else []
            first.extend([rows[-1]["step"]] if rows and not first else [])
            return bool(rows) and rows[-1]["step"] >= first[0] + steps

        return trained
    delay, since = rng.uniform(0, {"compiling": 1.0, "evaluating": 0.3}.get(phase, 0.05)), []

    def is_due(started: Started) -> bool:
        if not since and started.phase() == phase:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] >= delay

    return is_due


def unfinished(workdir: pathlib.Path) -> set[tuple[str, int]]:
    """Checkpoints that are being written, or were when an earlier kill came."""
    found = set()
    for path in workdir.glob("checkpoints/*tmp*"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path.name, path.stat().st_ino))
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def differ(whole: pathlib.Path, broken: pathlib.Path) -> list[str]:
    """Returns what a run that was stopped does not have in common with the unbroken one."""
    states = []
    for workdir in (whole, broken):
        with Checkpoints(workdir, read_only=True) as checkpoints:
            states.append(checkpoints.restore_tree(checkpoints.steps[-1]))
    same = jax.tree.map(
        lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), *states
    )
    rows = [[*map(without_timing, read_metrics(workdir))] for workdir in (whole, broken)]
    equal = {"last checkpoint": jax.tree.all(same), "metrics.jsonl": rows[0] == rows[1]}
    for name in ("model.safetensors", "evaluation.json"):
        equal[name] = _contents(whole / name) == _contents(broken / name)
    return [name for name, is_equal in equal.items() if not is_equal]


def _contents(path: pathlib.Path) -> tuple[dict, bytes]:
    """Returns a file's JSON and the bytes after it.

    The library safetensors writes the entries of a file's metadata in a random order.
    """
    contents = path.read_bytes()
    if path.suffix == ".safetensors":
        end = 8 + int.from_bytes(contents[:8], "little")
        return json.loads(contents[8:end]), contents[end:]
    return json.loads(contents), b""


def report(kills: list[Kill], identical: list[bool]) -> int:
    """Prints the table; returns the exit status."""
    print(f"\n| signal | {' | '.join(PHASES)} | slowest |\n|---|{'---|' * (len(PHASES) + 1)}")
    for name in SIGNALS:
        own = [kill for kill in kills if kill.name == name]
        cells = [str(sum(kill.phase == phase for kill in own)) for phase in PHASES]
        slowest = max((kill.seconds for kill in own), default=0.0)
        print(f"| {name} | {' | '.join(cells)} | {slowest:.1f} s |")
    asked = [kill.seconds for kill in kills if kill.name == "SIGTERM"]
    result = {
        "kills": len(kills),
        "of one of two processes": sum(kill.hosts == 2 for kill in kills),
        "as documented": sum(kill.fine for kill in kills),
        "runs": len(identical),
        "identical runs": sum(identical),
        "seconds from SIGTERM to the end, median": round(statistics.median(asked or [0]), 2),
        "worst": max(asked, default=0.0),
    }
    print(json.dumps(result, indent=2))
    return 0 if all(identical) and all(kill.fine for kill in kills) else 1


if __name__ == "__main__":
    sys.exit(main())

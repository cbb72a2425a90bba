"""The same run on several topologies: parameters, scores, and restarts on another topology.

    python benchmarks/topologies.py [--workdir DIR] [NETWORK ...]

Each network is trained for 20 steps on one device, on four, and on two processes of two
devices. The table shows the largest difference of a parameter to the run on one device,
relative to the largest parameter; after 20 steps, and after ten steps on one topology and ten
on another. Then one checkpoint is evaluated on each topology: all scores must be identical,
also where there are fewer images than processes. It ends with status 0 if every difference is
at most 1e-5 and all scores are identical.

Training amplifies rounding, and Adam divides a gradient that is zero up to rounding by its
own size. So the runs use SGD with momentum and a small learning rate.
"""

import argparse
import itertools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
from typing import NamedTuple

import jax
import numpy as np

from segjax.train.checkpoint import Checkpoints

QUICKSTART = pathlib.Path(__file__).parents[1] / "experiments" / "quickstart.py"
TOLERANCE = 1e-5
SETTINGS = (
    "steps=20",
    "checkpoint_every=10",
    "log_every=1",
    "train_data.size=32",
    "eval_data.size=32",
    "eval_data.count=7",
    "evaluation.batch_size=2",
    "model.depth=2",
    "model.features=8",
    "optimizer=segjax.train.optimizer.SGD(segjax.train.optimizer.Poly(0.003))",
)
NETWORKS = {
    "plain": ("model.batch_norm=False",),
    "batch_norm": (),
    "dropout": ("model.batch_norm=False", "model.dropout=0.5"),
}


class Topology(NamedTuple):
    """Processes, devices of each, and settings that do not change what is trained."""

    processes: int
    devices: int
    settings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([f"{self.processes} x {self.devices}", *self.settings])


ONE = Topology(1, 1)
PLAIN = (ONE, Topology(1, 4), Topology(2, 2))
OTHERS = (
    Topology(2, 2, ("split=2,1",)),
    Topology(1, 4, ("shard_state=True",)),
    Topology(2, 2, ("shard_state=True",)),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {[*NETWORKS]}")
    parser.add_argument("--workdir", type=pathlib.Path, help="default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.workdir or pathlib.Path(temporary)
        # Programs are compiled once for each topology.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(root / "programs"))
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        failures = sum(report(name, root / name) for name in arguments.networks or NETWORKS)
    return 1 if failures else 0


def report(name: str, root: pathlib.Path) -> int:
    """Prints the rows of a network; returns how many comparisons failed."""
    print(f"\n{name}\n\n| topology | difference |\n|---|---|", flush=True)
    differences = []

    def row(what: object, workdir: pathlib.Path) -> None:
        differences.append(difference(workdir, root / "0"))
        print(f"| {what} | {differences[-1]:.1e} |", flush=True)

    for number, topology in enumerate((*PLAIN, *OTHERS)):
        launch(root / str(number), topology, NETWORKS[name])
        if number:
            row(topology, root / str(number))
    for (i, first), (_, then) in itertools.permutations(enumerate(PLAIN), 2):
        resumed = root / f"{first}, then {then}"
        begin_from_half(root / str(i), resumed)
        launch(resumed, then, NETWORKS[name])
        row(f"{first}, then {then}", resumed)
    number = len(PLAIN) + 1
    begin_from_half(root / str(number), root / "joined")
    launch(root / "joined", ONE, NETWORKS[name])
    row(f"{OTHERS[1]}, then {ONE}", root / "joined")
    failures = sum(not each <= TOLERANCE for each in differences)
    for count in (7, 1):
        same = scores_agree(root / "0", NETWORKS[name], count=count)
        print(f"scores of {count} images: {'identical' if same else 'DIFFERENT'}", flush=True)
        failures += not same
    return failures


def launch(
    workdir: pathlib.Path, topology: Topology, settings: tuple[str, ...], *options: str
) -> None:
    """Runs the quickstart on a topology; raises where a process fails."""
    command = [sys.executable, "-m", "segjax.launch", str(QUICKSTART), *options]
    command += ["--workdir", str(workdir)]
    for setting in (*SETTINGS, *settings, *topology.settings):
        command += ["--set", setting]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    joined = {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(topology.processes),
    }
    environment = {
        **{k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(topology.devices),
        **(joined if topology.processes > 1 else {}),
    }
    started = [
        subprocess.Popen(
            command,
            env={**environment, "JAX_PROCESS_ID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(topology.processes)
    ]
    printed = [process.communicate()[0] for process in started]
    for process, text in zip(started, printed, strict=True):
        if process.returncode:
            raise SystemExit(f"{topology}, status {process.returncode}:\n{text}")


def begin_from_half(run: pathlib.Path, workdir: pathlib.Path) -> None:
    """Copies a run as it was after ten steps."""
    shutil.copytree(run, workdir)
    shutil.rmtree(workdir / "checkpoints" / "20")
    for name in ("evaluation.json", "report.html", "model.safetensors"):
        (workdir / name).unlink()


def difference(run: pathlib.Path, other: pathlib.Path) -> float:
    """Returns the largest difference of a parameter, relative to the largest parameter."""
    found, expected = last_state(run), last_state(other)
    parts = [name for name in ("params", "batch_stats") if expected.get(name)]
    pairs = [
        (np.asarray(a, np.float64), np.asarray(b, np.float64))
        for part in parts
        for a, b in zip(
            jax.tree.leaves(found[part]), jax.tree.leaves(expected[part]), strict=True
        )
    ]
    return max(np.abs(a - b).max() for a, b in pairs) / max(np.abs(b).max() for _, b in pairs)


def last_state(run: pathlib.Path) -> dict:
    """Returns the state after 20 steps, as arrays of NumPy."""
    with Checkpoints(run, read_only=True) as checkpoints:
        return checkpoints.restore_tree(20)


def scores_agree(run: pathlib.Path, settings: tuple[str, ...], *, count: int) -> bool:
    """Returns whether all topologies give a checkpoint identical scores on so many images."""
    texts = []
    for topology in (*PLAIN, OTHERS[0]):
        launch(
            run,
            topology,
            (*settings, f"eval_data.count={count}"),
            *("--evaluate", "--checkpoint", "20"),
        )
        texts.append(json.loads((run / "evaluation.json").read_text(encoding="utf-8")))
    return all(text == texts[0] for text in texts)


if __name__ == "__main__":
    sys.exit(main())

"""Trains a tiny network for thousands of steps and looks for what grows.

    python benchmarks/endurance.py --steps 3000

Every 500 steps it prints the process's memory, its open files, its threads, and how many
programs have been compiled and traced. Evaluations, checkpoints, rows and TensorBoard events
come in between, as in any run. It ends with status 1 if one still grows after the first third.

If the memory grows: `--evaluate-every`, `--checkpoint-every`, `--log-every` tell by what.
"""

import argparse
import gc
import logging
import os
import pathlib
import statistics
import sys
import tempfile
import threading
from typing import NamedTuple

import jax

from segjax import losses
from segjax.data.synthetic import Synthetic
from segjax.experiment import EarlyStop, Evaluation, Experiment
from segjax.models.unet import UNet
from segjax.parallel import cluster
from segjax.train import loop
from segjax.train.optimizer import AdamW, Cosine
from segjax.train.plan import make_plan
from segjax.transforms.geometric import RandomFlip

EVERY = 500
MOST_GROWTH = 8.0
"""MiB that the memory may differ between the second and the last third of a run."""

COMPILED = "/jax/core/compile/backend_compile_duration"
TRACED = "/jax/core/compile/jaxpr_trace_duration"


def experiment(steps: int, *, evaluate: int, checkpoint: int, log: int) -> Experiment:
    return Experiment(
        name="endurance",
        model=UNet(num_classes=6, depth=1, features=4, batch_norm=True),
        train_data=Synthetic(split="train", size=32),
        eval_data=Synthetic(split="val", size=32, count=4),
        transforms=(RandomFlip(),),
        loss=losses.softmax_cross_entropy,
        optimizer=AdamW(Cosine(6e-3, warmup_steps=20)),
        batch_size=4,
        steps=steps,
        evaluation=Evaluation(every=evaluate, batch_size=4),
        stop=EarlyStop(patience=steps),
        checkpoint_every=checkpoint,
        log_every=log,
    )


class Sample(NamedTuple):
    """What the process holds at a step."""

    step: int
    memory: float
    files: int
    threads: int
    compiled: int
    traced: int

    def row(self) -> str:
        return (
            f"| {self.step:,} | {self.memory:.1f} | {self.files} | {self.threads} | "
            f"{self.compiled} | {self.traced} |"
        )


class Watch:
    """Counts compilations, and looks at the process at every `every`-th step."""

    def __init__(self, every: int) -> None:
        self._every = every
        self.counts = {COMPILED: 0, TRACED: 0}
        self.samples: list[Sample] = []
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, seconds: float, **_) -> None:
        if event in self.counts:
            self.counts[event] += 1

    def watched(self, add):
        def call(rows, step, measured):
            add(rows, step, measured)
            if step % self._every == 0:
                self.look(step)

        return call

    def look(self, step: int) -> None:
        gc.collect()  # What only waits for the collector has not leaked.
        held = memory_mib()
        files = len(os.listdir("/proc/self/fd"))
        counts = self.counts[COMPILED], self.counts[TRACED]
        self.samples.append(Sample(step, held, files, threading.active_count(), *counts))
        if step % EVERY == 0:
            print(self.samples[-1].row(), flush=True)


def memory_mib() -> float:
    """What the process has allocated, by Linux: pages of files come and go."""
    lines = pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    names = ("RssAnon:", "VmSwap:")
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith(names)]
    return sum(kilobytes) / 1024


def grown(samples: list[Sample]) -> list[str]:
    """Returns what grows from the second to the last third of the samples."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[-third:]
    rise = statistics.median(s.memory for s in last) - statistics.median(
        s.memory for s in middle
    )
    found = [f"memory by {rise:.1f} MiB"] if rise > MOST_GROWTH else []
    for name in ("files", "threads", "compiled", "traced"):
        before, after = (max(getattr(s, name) for s in part) for part in (middle, last))
        if after > before:
            found.append(f"{name} from {before} to {after}")
    return found


def main() -> int:
    # Orbax warns that a state is saved before it is scored.
    logging.getLogger("absl").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--every", type=int, default=50, help="steps between two samples")
    parser.add_argument("--evaluate-every", type=int, default=100)
    parser.add_argument("--checkpoint-every", type=int, default=50)
    parser.add_argument("--log-every", type=int, default=5)
    arguments = parser.parse_args()
    cluster.tune_cpu()  # As the commands do.
    every = (arguments.evaluate_every, arguments.checkpoint_every, arguments.log_every)
    named = dict(zip(("evaluate", "checkpoint", "log"), every, strict=True))
    watch = Watch(arguments.every)
    loop.Rows.add = watch.watched(loop.Rows.add)
    print("| step | memory (MiB) | open files | threads | compiled | traced |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(experiment(arguments.steps, **named), note=lambda _: None)
        loop.train(plan, pathlib.Path(folder), quiet=True)
    found = grown(watch.samples)
    print("flat" if not found else f"NOT FLAT: {'; '.join(found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""What `--together` gains: one step of several seeds against as many steps of one seed.

    python benchmarks/together.py [EXPERIMENT.py] [--set FIELD=VALUE] [--seeds 4] [--steps 30]

Both programs take the same batches, turn by turn, so that both meet the same load of the
machine. Data are not counted. It prints the seconds of compilation, the medians of the times,
and their ratio.
"""

import argparse
import dataclasses
import pathlib
import statistics
import time

import jax
import numpy as np

from segjax import experiment as experiments
from segjax.parallel.cluster import tune_cpu
from segjax.parallel.data import replicate
from segjax.parallel.sharing import over_devices
from segjax.train.loop import train_step
from segjax.train.plan import make_plan

QUICKSTART = pathlib.Path(__file__).parents[1] / "experiments" / "quickstart.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", nargs="?", type=pathlib.Path, default=QUICKSTART)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    tune_cpu()
    experiment = experiments.load(arguments.experiment)
    for setting in arguments.set:
        experiment = experiments.override(experiment, setting)
    plan = make_plan(experiment, note=lambda _: None)
    own = [
        dataclasses.replace(plan, experiment=dataclasses.replace(experiment, seed=seed))
        for seed in range(arguments.seeds)
    ]
    states = [each.initial_state() for each in own]
    batches = [next(each.batches(0)) for each in own]
    measure(plan, states, batches, steps=arguments.steps)


def measure(plan, states: list, batches: list, *, steps: int) -> None:
    """Times both ways and prints the medians."""
    step = train_step(plan)
    alone, together = over_devices(step), over_devices(jax.vmap(step, in_axes=(0, 1)))
    stacked = {key: np.stack([b[key] for b in batches], axis=1) for key in batches[0]}
    state = replicate(jax.tree.map(lambda *each: np.stack(each), *states))
    states = [replicate(each) for each in states]

    def one_by_one() -> float:
        began = time.perf_counter()
        for i, batch in enumerate(batches):
            states[i], _ = alone(states[i], _at(batch, states[i].step))
        jax.block_until_ready(states)
        return time.perf_counter() - began

    def at_once() -> float:
        nonlocal state
        began = time.perf_counter()
        state, _ = together(state, _at(stacked, state.step[0]))
        jax.block_until_ready(state)
        return time.perf_counter() - began

    print(
        f"{plan.experiment.name}: {plan.parameters:,} parameters, {len(states)} seeds, ", end=""
    )
    print(f"batch {plan.experiment.batch_size}, {jax.devices()[0].device_kind}")
    print(f"first step (compiles): alone {one_by_one():.1f} s, together {at_once():.1f} s")
    pairs = [(one_by_one(), at_once()) for _ in range(steps)]
    slow, fast = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(
        f"a step of every seed: alone {slow:.1f} ms, together {fast:.1f} ms, ratio {ratio:.2f}"
    )


def _at(batch: dict, step) -> dict:
    return {**batch, "step": np.full_like(batch["step"], int(step))}


if __name__ == "__main__":
    main()

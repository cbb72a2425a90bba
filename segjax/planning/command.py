"""`launch --plan`: says what runs need, and writes it beside what they will write."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence

from segjax.atomic import write_text
from segjax.errors import RunError
from segjax.experiment import Experiment
from segjax.parallel import cluster
from segjax.parallel.kept_memory import forget_programs
from segjax.planning.requirements import Requirements, requirements
from segjax.planning.text import list_text, plan_record, plan_text

RECORD = "plan.json"
"""In the workdir; no run reads or writes it."""


def plan_runs(
    runs: Sequence[tuple[Experiment, pathlib.Path]],
    *,
    memory: float | None = None,
    price: float | None = None,
    note: Callable[[str], None] = print,
) -> None:
    """Prints the plans of (experiment, workdir) pairs and writes each into its workdir.

    Experiments that differ by their seed alone share a plan. Of several there is a table at the
    end. Checkpoints and all other files of a workdir stay as they are.

    Args:
      runs: the experiments and the folders of their runs.
      memory: GiB of a device to plan for; None for what the devices have.
      price: of one device for an hour, in any currency.
      note: takes each text.

    Raises:
      InputError: an experiment or its data are wrong.
      RunError: the devices ran out of memory while something was timed, or a file cannot be
        written; the plans were printed.
    """
    plans: dict[str, Requirements] = {}
    seeds: dict[str, int] = {}
    problems: list[str] = []
    for experiment, workdir in runs:
        key = repr(dataclasses.replace(experiment, seed=0))
        seeds[key] = seeds.get(key, 0) + 1
        if key not in plans:
            plans[key] = requirements(experiment, memory=memory)
            note(plan_text(plans[key], price=price) + "\n")
            problems += plans[key].problems
            forget_programs()
        problems += _written(plans[key], workdir, price)
    if len(plans) > 1 or len(runs) > 1:
        note(list_text([(plans[key], count) for key, count in seeds.items()], price=price))
    if problems:
        raise RunError(problems[0])


def _written(found: Requirements, workdir: pathlib.Path, price: float | None) -> list[str]:
    """Writes `plan.json`; returns a line if that is not possible."""
    if not cluster.is_main():
        return []
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        record = json.dumps(plan_record(found, price=price), indent=2)
        write_text(workdir / RECORD, record + "\n")
    except OSError as error:
        return [f"{workdir / RECORD} cannot be written ({error.strerror}); the plan is above."]
    return []

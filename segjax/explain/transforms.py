"""`explain transforms`: an example before and after each augmentation of an experiment."""

import argparse
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from segjax import experiment as experiments
from segjax.contracts import IGNORE, DeviceTransform, Example, Transform
from segjax.data.checks import read_example
from segjax.data.partners import apply
from segjax.description import written
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.explain import transforms_figure as drawing
from segjax.explain.explained import Explained
from segjax.explain.transforms_objects import object_count, same_objects
from segjax.explain.whole_numbers import whole_number
from segjax.settings import directory_settings
from segjax.transforms.on_device import augment

Step = tuple[Example, float | None]
"""An example and the CPU time of the transform that made it, in ms; None: on the devices."""

MOST_DRAWS = 8
"""Columns of the figure."""


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `transforms`."""
    parser = subparsers.add_parser(
        "transforms",
        help="an example before and after each augmentation, with its label",
        description="Apply the transforms of an experiment to one example of its training "
        "data, one after the other: transforms, then device_transforms. For each, show size, "
        "classes, ignored pixels, objects and time. "
        "With --out, draw the example and its label after each transform, one column for each "
        "draw of random numbers. Objects have contours and boxes, and keep their colours.",
        epilog="Example: python -m segjax.explain transforms experiments/quickstart.py --out "
        "transforms.png",
    )
    parser.add_argument("experiment", type=pathlib.Path, metavar="EXPERIMENT.py")
    parser.add_argument(
        "--index", type=int, default=0, metavar="N", help="the example (default 0, the first)"
    )
    parser.add_argument(
        "--draws", type=int, default=3, metavar="N", help="draws of random numbers (default 3)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of the random numbers (default: experiment's)"
    )
    parser.add_argument("--data", metavar="DIR", help="the folder of your data")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a field"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Explained:
    """Returns what the arguments ask for.

    Raises:
      InputError: an argument, the experiment, its data or a transform is wrong.
    """
    experiment = experiments.load(arguments.experiment)
    settings = list(arguments.set)
    if arguments.data:
        settings += directory_settings(experiment, arguments.data)
    for setting in settings:
        experiment = experiments.override(experiment, setting)
    experiment = experiments.checked(experiment, "--set")
    return explain_transforms(
        experiment, index=arguments.index, draws=arguments.draws, seed=arguments.seed
    )


def explain_transforms(
    experiment: Experiment, *, index: int = 0, draws: int = 3, seed: int | None = None
) -> Explained:
    """Returns what each transform of an experiment makes of one example.

    The random numbers are made for this purpose: the run itself draws others.

    Args:
      experiment: whose `transforms`, then `device_transforms`, are applied to an example of its
        `train_data`.
      index: of the example.
      draws: how often the transforms are applied, each time with other random numbers.
      seed: of the random numbers; None: the experiment's.

    Raises:
      InputError: an argument is out of range, the data cannot be prepared, or a transform
        refuses the example.
    """
    index, draws = whole_number("index", index), whole_number("draws", draws)
    seed = experiment.seed if seed is None else whole_number("seed", seed)
    if not 1 <= draws <= MOST_DRAWS:
        raise InputError(f"draws must be from 1 to {MOST_DRAWS}, got {draws}.")
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}.")
    data = experiment.train_data
    data.prepare()
    if not 0 <= index < len(data):
        raise InputError(f"index must be from 0 to {len(data) - 1}, got {index}.")
    source = _Read(data)
    first = source[index]
    runs = []
    on_device = _on_device(experiment.device_transforms)
    for draw in range(draws):
        rng = np.random.default_rng((seed, index, draw))
        on_host = _steps(first, experiment.transforms, rng, source)
        key = jax.random.key(int(rng.integers(2**31)))
        runs.append([*on_host, *on_device(on_host[-1][0], key)])
    facts = {
        "name": experiment.name,
        "index": index,
        "examples": len(data),
        "example": first["name"],
        "seed": seed,
        "draws": draws,
        "class_names": list(getattr(data, "class_names", ())),
        "steps": _facts((*experiment.transforms, *experiment.device_transforms), runs),
    }
    examples = [[run[step][0] for run in runs] for step in range(len(runs[0]))]
    return Explained(
        facts, text=text, figure=lambda facts: drawing.steps_figure(facts, examples, data)
    )


class _Read:
    """A dataset whose examples are checked when they are read."""

    def __init__(self, data: Any):
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int, /) -> Example:
        return read_example(self._data, index)


def _steps(
    example: Example, transforms: Sequence[Transform], rng: np.random.Generator, source: _Read
) -> list[Step]:
    """Returns the example at the start and after each transform."""
    steps: list[Step] = [(example, 0.0)]
    for place in range(len(transforms)):
        start = time.thread_time()
        example = apply(transforms, place, example, rng, dataset=source)
        steps.append((example, 1000 * (time.thread_time() - start)))
    return steps


def _on_device(
    transforms: Sequence[DeviceTransform],
) -> Callable[[Example, jax.Array], list[Step]]:
    """Returns what gives the example after each transform of the training step, for a key."""

    @jax.jit
    def after_each(batch: dict[str, Any], key: jax.Array) -> list[Mapping[str, Any]]:
        """Returns the batch after the first transform, after the first two, and so on."""
        return [augment(batch, transforms[: n + 1], key) for n in range(len(transforms))]

    def steps(example: Example, key: jax.Array) -> list[Step]:
        """Returns the steps of one example."""
        if not transforms:
            return []
        arrays = {k: value[None] for k, value in example.items() if type(value) is np.ndarray}
        found = jax.device_get(after_each(arrays, key))
        return [({k: value[0] for k, value in one.items()}, None) for one in found]

    return steps


def _facts(
    transforms: Sequence[Transform | DeviceTransform], runs: Sequence[Sequence[Step]]
) -> list[dict[str, Any]]:
    names = [None, *map(written, transforms)]
    found = []
    for step, name in enumerate(names):
        examples = [run[step][0] for run in runs]
        before = [run[max(step - 1, 0)][0] for run in runs]
        changed = [not _same(a, b) for a, b in zip(before, examples, strict=True)]
        found.append(
            {
                "transform": name,
                "milliseconds": _median([run[step][1] for run in runs]),
                "changed": sum(changed),
                "draws": [_example_facts(example) for example in examples],
            }
        )
    return found


def _median(times: Sequence[float | None]) -> float | None:
    known = [milliseconds for milliseconds in times if milliseconds is not None]
    return round(float(np.median(known)), 2) if known else None


def _same(first: Example, second: Example) -> bool:
    """Returns whether two examples hold the same images, labels and objects."""
    return same_objects(first, second) and all(
        np.array_equal(first[key], second[key], equal_nan=first[key].dtype.kind == "f")
        for key in ("image", "label")
    )


def _example_facts(example: Example) -> dict[str, Any]:
    image, label = example["image"], example["label"]
    h, w, channels = image.shape
    objects = object_count(example)
    return {
        "size": [h, w],
        "channels": channels,
        "dtype": image.dtype.name,
        "range": [float(image.min()), float(image.max())],
        "classes": _classes(label).tolist(),
        "ignored": round(float((label == IGNORE).mean()), 4),
        **({} if objects is None else {"objects": objects}),
    }


def _classes(label: np.ndarray) -> np.ndarray:
    """Returns the classes in a label of class ids or of planes; none in one of measurements."""
    if label.dtype.kind not in "iub":
        return np.zeros(0, int)
    if label.ndim == 3:
        return np.flatnonzero((label == 1).any((0, 1)))
    return np.unique(label[label != IGNORE])


def text(result: Mapping[str, Any]) -> str:
    """Returns a paragraph for each transform."""
    draws = result["draws"]
    lines = [
        f"{result['name']}: example {result['index']} of {result['examples']}, "
        f"{result['example']}, {draws} draw{'s' * (draws != 1)} with seed {result['seed']}",
    ]
    for number, step in enumerate(result["steps"]):
        lines += ["", f"{number}  {step['transform'] or 'as the dataset returns it'}"]
        lines += [f"   {line}" for line in _words(step, draws, result["class_names"])]
    return "\n".join(lines)


def _words(step: Mapping[str, Any], draws: int, names: Sequence[str]) -> list[str]:
    found = step["draws"] if step["transform"] else step["draws"][:1]
    sizes = ", ".join(dict.fromkeys("x".join(map(str, one["size"])) for one in found))
    classes = sorted({index for one in found for index in one["classes"]})
    called = [str(names[i] if i < len(names) else i) for i in classes]
    ignored = ", ".join(dict.fromkeys(f"{one['ignored']:.1%}" for one in found))
    kind = f"{found[0]['channels']} x {found[0]['dtype']}"
    lines = [f"size {sizes}, {kind}, ignored {ignored}", f"classes: {', '.join(called)}"]
    if counts := [one["objects"] for one in found if "objects" in one]:
        lines.append(f"objects: {', '.join(map(str, dict.fromkeys(counts)))}")
    if step["transform"]:
        lines.append(drawing.effect(step))
    return lines

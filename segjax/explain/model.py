"""`explain model`: what a network is made of and what it costs, before anything runs."""

import argparse
import pathlib
import re
import sys
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import jax.numpy as jnp

from segjax import experiment as experiments
from segjax.data.synthetic import Synthetic
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.explain.cost import inference, training_step
from segjax.explain.effective_receptive_field import effective_fields, picture
from segjax.explain.effective_receptive_field_figure import draw_fields
from segjax.explain.model_text import words
from segjax.explain.trace import LayerRow, Seen, Trace, trace
from segjax.ops.conv import pair
from segjax.parallel import cluster
from segjax.parallel.sharing import check_batch_size
from segjax.transforms.geometric import RandomCrop, Resize

NETWORKS = 3
"""Random networks over which the effective field is averaged."""


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `model`."""
    parser = subparsers.add_parser(
        "model",
        help="a network's layers, parameters, multiply-adds, memory and receptive field",
        description="Show the layers of an experiment's network, and what XLA says a training "
        "step costs; nothing is run, no weights are made. Only --out runs the network, on one "
        "image, to draw the effective receptive field.",
        epilog="Example: python -m segjax.explain model experiments/quickstart.py --size 64",
    )
    parser.add_argument("experiment", type=pathlib.Path, metavar="EXPERIMENT.py")
    parser.add_argument("--size", metavar="N|HxW", help="of the image (default: the crop's)")
    parser.add_argument("--batch", type=int, metavar="N", help="default: the experiment's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a field"
    )
    parser.add_argument("--image", type=pathlib.Path, metavar="FILE", help="to draw over")
    parser.add_argument(
        "--no-compile", action="store_true", help="skip XLA's FLOPs and memory: faster"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the layers, the totals, XLA's costs and, for a figure, the effective fields.

    Raises:
      InputError: an argument or the experiment does not fit.
      ValueError: the network does not take an image of this size.
    """
    cluster.tune_cpu()
    experiment = experiments.load(arguments.experiment)
    for setting in arguments.set:
        experiment = experiments.override(experiment, setting)
    experiment = experiments.checked(experiment, "--set")
    size = _size(arguments.size, experiment)
    batch = experiment.batch_size if arguments.batch is None else arguments.batch
    if batch < 1:
        raise InputError(f"--batch {batch} must be at least 1.")
    if arguments.image is not None and arguments.out is None:
        raise InputError(f"--image {arguments.image} is only for a figure: add --out FILE.png.")
    channels = experiment.train_data.channels
    photo = arguments.out and picture(arguments.image, size, channels=channels)
    _note(f"tracing {type(experiment.model).__name__} at {size[0]}x{size[1]}")
    traced = trace(experiment.model, size, channels=channels)
    result = facts(experiment, traced, size, channels)
    if not arguments.no_compile:
        result["compiled"] = _compiled(experiment, size, channels, batch)
    if photo is not None:
        _note(f"running {NETWORKS} random networks on one image, forward and gradient")
        image = experiment.normalize(jnp.asarray(photo)[None])
        fields = effective_fields(experiment.model, image, traced, networks=NETWORKS)
        source = arguments.image and str(arguments.image)
        result["effective"] = {"image": source, "networks": NETWORKS, "fields": fields}
    return result


def text(result: Mapping[str, Any]) -> str:
    """Returns the table, the totals and the costs, below 110 columns."""
    return words(result)


def draw(result: Mapping[str, Any], path: pathlib.Path) -> None:
    """Writes the fields over the image."""
    draw_fields(result, path)


def _note(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


def _size(text: str | None, experiment: Experiment) -> tuple[int, int]:
    """Returns (height, width): the one asked for, or what the transforms or the images have."""
    if text is None:
        crops = [t.size for t in experiment.transforms if isinstance(t, (RandomCrop, Resize))]
        drawn = [d.size for d in (experiment.train_data,) if isinstance(d, Synthetic)]
        return pair((crops[-1:] or drawn or [513])[0])
    found = re.fullmatch(r"([1-9]\d*)(?:[xX×]([1-9]\d*))?", text)
    if not found:
        raise InputError(f"--size {text} is no size; write 513, or 360x480 (height x width).")
    return int(found[1]), int(found[2] or found[1])


def _compiled(
    experiment: Experiment, size: tuple[int, int], channels: int, batch: int
) -> dict[str, Any]:
    devices = cluster.describe_devices()
    check_batch_size(batch)
    _note(f"compiling a training step of {batch} images for {devices} (not run)")
    step = training_step(experiment, size=size, channels=channels, batch_size=batch)
    _note("compiling inference of one image (not run)")
    one = inference(experiment, size=size, channels=channels)
    stride = experiment.evaluation.output_stride
    return {
        "devices": devices,
        "training_step": {"batch_size": batch, **step},
        "inference": {"output_stride": stride, **one},
    }


def facts(
    experiment: Experiment, traced: Trace, size: tuple[int, int], channels: int
) -> dict[str, Any]:
    """Returns the layers and the totals of an experiment's network, traced at (height, width).

    Raises:
      InputError: the network has no convolution.
    """
    scores = _scores(traced)
    return {
        "name": experiment.name,
        "model": type(experiment.model).__name__,
        "size": list(size),
        "channels": channels,
        "layers": [_layer(row) for row in traced.rows],
        "parameters": sum(r.parameters for r in traced.rows) + sum(traced.unused.values()),
        "unused_parameters": traced.unused,
        "multiply_adds": sum(row.multiply_adds for row in traced.rows),
        "logits": _layer(scores),
        "answer": {"shape": list(traced.shape), **_field(traced.answer)},
    }


def _scores(traced: Trace) -> LayerRow:
    """Returns the last convolution or product: the logits before they are brought to
    the image.
    """
    upsampling = ("resize", "transposed")
    found = [row for row in traced.rows if not row.operation.startswith(upsampling)]
    if not found:
        raise InputError("The network has no convolution to explain.")
    return found[-1]


def _layer(row: LayerRow) -> dict[str, Any]:
    return {
        "path": row.path,
        "operation": row.operation,
        "shape": list(row.shape),
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
        **_field(row.seen),
    }


def _field(seen: Seen) -> dict[str, Any]:
    """Returns `field` and `stride` of rows and columns (None if unknown, or only the whole
    image).
    """
    known = lambda reach: reach.field if not reach.unknown else None
    fields = [known(reach) for reach in seen]
    return {
        "field": [f and f.size for f in fields],
        "stride": [f and _number(f.stride) for f in fields],
        "image": any(reach.image for reach in seen),
        "unknown": any(reach.unknown for reach in seen),
    }


def _number(stride: int | Fraction) -> int | float:
    return int(stride) if Fraction(stride).denominator == 1 else round(float(stride), 4)

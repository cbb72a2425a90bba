"""`explain model`: a network's layers, costs and receptive field, without running it."""

import argparse
import os
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
from matplotlib.figure import Figure

from segjax import experiment as experiments
from segjax.data.by_aspect import ungrouped
from segjax.data.cache import cache_root
from segjax.data.synthetic import Synthetic
from segjax.data.synthetic_objects import SyntheticObjects
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.explain.cost import inference, training_step
from segjax.explain.effective_receptive_field import effective_fields, picture
from segjax.explain.effective_receptive_field_figure import fields_figure
from segjax.explain.explained import Explained
from segjax.explain.model_text import words
from segjax.explain.trace import LayerRow, Seen, Trace, trace
from segjax.explain.whole_numbers import whole_number, whole_numbers
from segjax.ops.conv import pair
from segjax.parallel import cluster
from segjax.parallel.programs import keep_programs
from segjax.parallel.sharing import check_batch_size
from segjax.transforms.crops import BalancedCrop, ForegroundCrop
from segjax.transforms.geometric import MirrorPad, RandomCrop, Resize
from segjax.transforms.objects import Canvas
from segjax.transforms.on_device import DeviceScaleCrop
from segjax.transforms.scale_crop import RandomScaleCrop

CROPS = (RandomCrop, BalancedCrop, ForegroundCrop, RandomScaleCrop, Resize, DeviceScaleCrop)
"""Transforms after which every example has their `size`."""

NETWORKS = 3
"""Number of random networks over which the effective field is averaged."""


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command `model`."""
    parser = subparsers.add_parser(
        "model",
        help="a network's layers, parameters, multiply-adds, memory and receptive field",
        description="Show the layers of an experiment's network: parameters, multiply-adds and "
        "receptive field. XLA's FLOPs and memory need a compilation, which may take minutes; "
        "--no-compile skips it. The network is not run, except for --out, which runs it on one "
        "image to draw the effective receptive field.",
        epilog="Example: python -m segjax.explain model experiments/quickstart.py --size 64",
    )
    parser.add_argument("experiment", type=pathlib.Path, metavar="EXPERIMENT.py")
    parser.add_argument("--size", metavar="N|HxW", help="image size (default: the crop)")
    parser.add_argument(
        "--batch", type=int, metavar="N", help="batch size (default: the experiment's)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a field"
    )
    parser.add_argument("--image", type=pathlib.Path, metavar="FILE", help="image for --out")
    parser.add_argument(
        "--no-compile",
        action="store_true",
        help="leave out XLA's FLOPs and memory: seconds instead of minutes",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Explained:
    """Returns what the arguments ask for.

    Raises:
      InputError: an argument or the experiment is wrong.
      ValueError: the network does not take an image of this size.
    """
    cluster.tune_cpu()
    keep_programs(cache_root)
    experiment = experiments.load(arguments.experiment)
    for setting in arguments.set:
        experiment = experiments.override(experiment, setting)
    experiment = experiments.checked(experiment, "--set")
    if arguments.image is not None and arguments.out is None:
        raise InputError(f"--image {arguments.image} is for a figure only: add --out FILE.png.")
    return explain_model(
        experiment,
        size=_size(arguments.size, experiment),
        batch=arguments.batch,
        compiled=not arguments.no_compile,
        fields=arguments.out is not None,
        image=arguments.image,
    )


def explain_model(
    experiment: Experiment,
    *,
    size: int | tuple[int, int] | None = None,
    batch: int | None = None,
    compiled: bool = False,
    fields: bool = False,
    image: str | os.PathLike | None = None,
) -> Explained:
    """Returns the layers of an experiment's network with parameters, costs and fields.

    Args:
      experiment: whose `model` is explained.
      size: of the image, a side or (height, width); by default that of the crop.
      batch: images of a training step; by default the experiment's.
      compiled: whether to compile a training step and inference for XLA's FLOPs and memory.
      fields: whether to run the network for the effective receptive field, which the figure
        needs.
      image: file to run it on; by default shapes are drawn.

    Raises:
      InputError: the size, the batch or the image is wrong.
      ValueError: the network does not take an image of this size.
    """
    batch = experiment.batch_size if batch is None else whole_number("batch", batch)
    if batch < 1:
        raise InputError(f"batch must be at least 1 image, got {batch}.")
    height, width = _size(None, experiment) if size is None else _sides(size)
    channels = experiment.train_data.channels
    path = None if image is None else pathlib.Path(image)
    photo = picture(path, (height, width), channels=channels) if fields else None
    _note(f"tracing {type(experiment.model).__name__} at {height}x{width}")
    traced = trace(experiment.model, (height, width), channels=channels)
    result = facts(experiment, traced, (height, width), channels)
    if compiled:
        result["compiled"] = _compiled(experiment, (height, width), channels, batch)
    if photo is not None:
        _note(f"running {NETWORKS} random networks on one image, forward and gradient")
        normalised = experiment.normalize(jnp.asarray(photo)[None])
        found = effective_fields(experiment.model, normalised, traced, networks=NETWORKS)
        source = None if path is None else str(path)
        result["effective"] = {"image": source, "networks": NETWORKS, "fields": found}
    return Explained(result, text=text, figure=receptive_field_figure)


def text(result: Mapping[str, Any]) -> str:
    """Returns the table, the totals and the costs, in lines of fewer than 110 characters."""
    return words(result)


def receptive_field_figure(result: Mapping[str, Any]) -> Figure:
    """Returns the theoretical and the effective receptive field over the image, as a figure.

    Raises:
      InputError: the result has no effective fields, or its image can no longer be read.
    """
    if "effective" not in result:
        raise InputError("The figure needs the effective field: pass fields=True.")
    return fields_figure(result)


def _note(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


def _size(text: str | None, experiment: Experiment) -> tuple[int, int]:
    """Returns (height, width): the one asked for, or that of the transforms or the images."""
    if text is None:
        return training_size(experiment)
    found = re.fullmatch(r"([1-9]\d*)(?:[xX×]([1-9]\d*))?", text)
    if not found:
        raise InputError(f"--size {text} must be a side, 513, or height x width, 360x480.")
    return int(found[1]), int(found[2] or found[1])


def training_size(experiment: Experiment) -> tuple[int, int]:
    """Returns (height, width) of the examples that the network is trained on, as far as known.

    That is the last crop's or canvas's, with what a `MirrorPad` behind it adds; a canvas is
    taken as it is for wide images. device_transforms come last. Without a crop it is the size
    of drawn images, else 513.
    """
    data = ungrouped(experiment.train_data)
    is_drawn = isinstance(data, Synthetic | SyntheticObjects)
    size = pair(data.size) if is_drawn else None
    for transform in (*experiment.transforms, *experiment.device_transforms):
        if isinstance(transform, CROPS):
            size = pair(transform.size)
        elif isinstance(transform, Canvas) and transform.size is not None:
            size = min(pair(transform.size)), max(pair(transform.size))
        elif isinstance(transform, MirrorPad) and size:
            size = size[0] + 2 * transform.pixels, size[1] + 2 * transform.pixels
    return size or (513, 513)


def _sides(size: int | Sequence[int]) -> tuple[int, int]:
    """Returns (height, width) of a size that a notebook gives.

    Raises:
      InputError: it is neither one whole number nor two, or one is below 1.
    """
    given = size if isinstance(size, Sequence) else (size, size)
    sides = whole_numbers("size", given, example="513 or (360, 480)")
    if len(sides) != 2 or min(sides) < 1:
        raise InputError(f"size must be a side, 513, or (height, width), got {size!r}.")
    return sides[0], sides[1]


def _compiled(
    experiment: Experiment, size: tuple[int, int], channels: int, batch: int
) -> dict[str, Any]:
    devices = cluster.describe_devices()
    check_batch_size(batch, accumulate=experiment.accumulate)
    _note(
        f"compiling a training step of {batch} images for {devices}, which may take minutes "
        "(--no-compile skips it)"
    )
    step = training_step(experiment, size=size, channels=channels, batch_size=batch)
    _note("compiling inference of one image")
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
    """Returns layers and totals of an experiment's network, traced at (height, width).

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
    """Returns the last convolution or product: the logits before upsampling."""
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
    """Returns `field` and `stride` of rows and columns, None where there is no window."""
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

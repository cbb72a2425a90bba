"""Options that name a trained network and say how to predict, the same for several commands.

Without the latter a run predicts as its own evaluation says.
"""

import argparse
import dataclasses
import pathlib

from segjax.errors import InputError
from segjax.evaluate.crf import CRF
from segjax.evaluate.longest_side import LongestSide
from segjax.evaluate.windows import PadToMultiple, SlidingWindow
from segjax.evaluate.wrappers import Flip, MultiScale
from segjax.experiment import Experiment
from segjax.train.trained import Source

SMALLEST_SIDE, LARGEST_SIDE = 16, 100_000


def add_source(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Adds the arguments that `asked_sources` reads; `several`: any number of networks."""
    parser.add_argument(
        "places",
        type=pathlib.Path,
        nargs="+" if several else 1,
        metavar="RUN|EXPERIMENT.py",
        help="the folder of a run, or an experiment file and its --weights",
    )
    group = parser.add_argument_group("which weights")
    group.add_argument(
        "--checkpoint", help="of a run: best (default), last or the number of a step"
    )
    group.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="FILE_OR_NAME",
        help="for EXPERIMENT.py: weights of the whole network, such as torchvision's .pth or a "
        "run's model.safetensors; no training is needed"
        + (". One for each EXPERIMENT.py, in order" if several else ""),
    )
    group.add_argument(
        "--key", help="which state dict in the weights file, such as model_ema (default: found)"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change a field of EXPERIMENT.py, as segjax.launch does: model.num_classes=5",
    )


def asked_sources(options: argparse.Namespace) -> list[Source]:
    """Returns the networks that the arguments of `add_source` name.

    Raises:
      InputError: a place is not there, or has too few or too many weights.
    """
    files = [place for place in options.places if place.is_file()]
    folders = [place for place in options.places if not place.is_file()]
    # An option that no place can take goes to one that refuses it.
    weighed, trained = files or folders[:1], folders or files[:1]
    if len(options.weights) > len(weighed):
        raise InputError(
            f"--weights is given {len(options.weights)} times for {len(files)} experiment "
            "file(s): give one for each EXPERIMENT.py."
        )
    weights = iter(options.weights)
    return [
        Source(
            place,
            checkpoint=options.checkpoint if place in trained else None,
            weights=next(weights, None) if place in weighed else None,
            key=options.key if place in weighed else None,
            settings=tuple(options.set) if place in weighed else (),
        )
        for place in options.places
    ]


def add_ways(parser: argparse.ArgumentParser, *, side: int | None) -> None:
    """Adds the options to a command; `side` is the longest side that it predicts by default."""
    group = parser.add_argument_group("how to predict, in place of the run's own way")
    group.add_argument("--flip", action="store_true", help="the mean with the mirror image")
    group.add_argument(
        "--scales", type=_numbers, metavar="A,B,…", help="the mean over scales, as 0.75,1,1.25"
    )
    group.add_argument(
        "--window",
        type=int,
        metavar="N",
        help="windows of N × N pixels that overlap: any size of image, bounded memory",
    )
    group.add_argument("--crf", action="store_true", help="then a fully connected CRF")
    group = parser.add_argument_group("what size of image the network sees; its own by default")
    group.add_argument(
        "--pad-to-multiple",
        type=int,
        metavar="N",
        help="mirror both sides out to multiples of N: images of many sizes share few compiled "
        "programs, and have slightly other masks",
    )
    default = "never" if side is None else f"{side}; 0: never"
    group.add_argument(
        "--side",
        type=int,
        default=side,
        metavar="PIXELS",
        help="make images smaller whose longer side exceeds this, and enlarge the answer "
        f"(default {default})",
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of numbers such as 0.75,1,1.25"
        ) from None


def asked_way(experiment: Experiment, options: argparse.Namespace) -> Experiment:
    """Returns the experiment with the wrappers that the options name in place of its own, if
    any.

    `--pad-to-multiple` goes around either; `--side` is not among them.

    Raises:
      InputError: an option's value cannot be used.
    """
    wrappers = []
    if options.flip:
        wrappers.append(Flip())
    if options.window is not None:
        wrappers.append(SlidingWindow(options.window))
    if options.scales is not None:
        wrappers.append(MultiScale(options.scales))
    if options.crf:
        wrappers.append(CRF())
    way = tuple(wrappers) or experiment.evaluation.wrappers
    if options.pad_to_multiple is not None:
        way = (*way, PadToMultiple(options.pad_to_multiple))
    return _predicting(experiment, way)


def asked_side(options: argparse.Namespace) -> int | None:
    """Returns the longest side that is predicted; None for images of any size.

    Raises:
      InputError: it is too small for a network.
    """
    side = options.side or None
    if side is not None and not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise InputError(
            f"--side {side} must be {SMALLEST_SIDE} to {LARGEST_SIDE} pixels; 0 leaves every "
            "image at its own size."
        )
    return side


def with_side(experiment: Experiment, side: int | None) -> Experiment:
    """Returns the experiment as it predicts images of at most such a side, or of any."""
    if side is None:
        return experiment
    return _predicting(experiment, (*experiment.evaluation.wrappers, LongestSide(side)))


def _predicting(experiment: Experiment, way: tuple) -> Experiment:
    evaluation = dataclasses.replace(experiment.evaluation, predictor=way)
    return dataclasses.replace(experiment, evaluation=evaluation)

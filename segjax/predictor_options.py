"""Options that say how to predict, the same for files and for the local page.

Without them a run predicts as its own evaluation says.
"""

import argparse
import dataclasses

from segjax.errors import InputError
from segjax.evaluate.crf import CRF
from segjax.evaluate.longest_side import LongestSide
from segjax.evaluate.windows import PadToMultiple, SlidingWindow
from segjax.evaluate.wrappers import Flip, MultiScale
from segjax.experiment import Experiment

SMALLEST_SIDE, LARGEST_SIDE = 16, 100_000


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

"""The trained networks and the way to predict that a command's arguments ask for.

Where they do not say how to predict, a run predicts as its own evaluation does.
"""

import argparse
import dataclasses

from segjax.errors import InputError
from segjax.evaluate.crf import CRF
from segjax.evaluate.longest_side import LongestSide
from segjax.evaluate.windows import PadToMultiple, SlidingWindow
from segjax.evaluate.wrappers import Flip, MultiScale
from segjax.experiment import Experiment
from segjax.train.trained import Source

SMALLEST_SIDE, LARGEST_SIDE = 16, 100_000


def asked_sources(options: argparse.Namespace) -> list[Source]:
    """Returns the networks that the arguments of `network_arguments.add_source` name.

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


def asked_way(experiment: Experiment, options: argparse.Namespace) -> Experiment:
    """Returns the experiment with the wrappers that the options name, or else its own.

    `--pad-to-multiple` is put around them; `--side` is left to `with_side`.

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

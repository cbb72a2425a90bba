"""Arguments that name a trained network and say how to predict, for several commands.

Nothing heavy is imported here, so that `--help` appears at once; `predictor_options` reads what
was given.
"""

import argparse
import pathlib


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

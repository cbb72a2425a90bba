"""`python -m segjax.export RUN --out FILE`: a trained network for programs without segjax.

RUN is the folder of a run; or an experiment file, with `--weights FILE_OR_NAME` for weights
that need no training here. `--out model.stablehlo` holds a function of images b h w c, uint8 as
they were read, with normalisation and weights inside, for JAX on CPUs, GPUs and TPUs; `--out
model.onnx` the same for one image of one size. `model.stablehlo.json` beside it describes input
and output, with class names and palette. The command prints the lines that run the file.

Detectors return a dict of objects, and panoptic networks one of objects and maps. The printed
lines make masks and segments of them.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from segjax.console import program
from segjax.errors import run_command
from segjax.network_arguments import add_source
from segjax.restart import restart_as_needed


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    if arguments is None:
        restart_as_needed()
    return run_command(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("export"),
        description="Write a trained network as one file that needs no segjax.",
        epilog="Example: python -m segjax.export runs/quickstart --out model.stablehlo",
    )
    add_source(parser)
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        required=True,
        metavar="FILE",
        help="NAME.stablehlo or NAME.onnx",
    )
    parser.add_argument(
        "--output",
        choices=("probabilities", "classes"),
        default="probabilities",
        help="probabilities: float32 b h w k (default). classes: class ids, uint8 b h w; for "
        "classes that may overlap, planes of 0 and 1, uint8 b h w k. Detectors have objects, "
        "not classes of pixels; for Panoptic FPN it is the form of the semantic map",
    )
    parser.add_argument(
        "--size",
        help="HEIGHTxWIDTH such as 513x513, or any (default), which needs .stablehlo and a "
        "network that takes every size; detectors need one size",
    )
    parser.add_argument(
        "--platforms",
        help="for .stablehlo: where it will run, a list of cpu,cuda,rocm,tpu (default "
        "cpu,cuda,tpu)",
    )
    parser.add_argument(
        "--fold",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="merge batch normalisation into the convolutions (default)",
    )
    return parser


def _run(arguments: argparse.Namespace) -> None:
    # Imported only now: --help should appear at once, without loading JAX.
    from segjax.export.files import export_network

    export_network(arguments)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m segjax.predict RUN INPUT... --out DIR`: masks of images, videos and folders.

RUN is the folder of a run; or an experiment file, with `--weights FILE_OR_NAME` for weights
that need no training here, such as torchvision's. In Python, `Segmenter` does the same.

An input is an image, a video, a folder of images or a quoted pattern such as 'in/**/*.jpg'. A
file gives `DIR/<stem>.png`, a file of a folder `DIR/<path in the folder>/<stem>.png`: palette
PNGs of the image's size whose pixel values are class indices. A video, or a picture of several
frames, gives one mask for each frame: `DIR/<stem>/000001.png` and so on.

Options add files beside each mask: an overlay, probabilities, polygons for Labelme, or the
picture with its background blurred, replaced or cut away. Others add lists of all images: areas
by class, COCO annotations. `DIR/predictions.json` records what made the files, and
`DIR/predictions.jsonl` which source each came from. Run the same command again: it skips what
is finished. It never overwrites files that it did not write, nor polygons that you edited.

Images are predicted as the run's own evaluation does; `--flip`, `--scales`, `--window` and
`--crf` replace that. They are predicted whole and at their own size, unless `--side` shrinks
large ones or `--pad-to-multiple` extends them. `segjax.serve` takes the same options and gives
the same masks.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segjax.console import program
from segjax.data.decode import DEFAULT_LIMIT
from segjax.errors import run_command
from segjax.network_arguments import add_source, add_ways
from segjax.restart import restart_as_needed

if TYPE_CHECKING:
    from segjax.segmenter import Segmenter

__all__ = ["Segmenter", "main"]


def __getattr__(name: str) -> Any:
    # Not imported at the top, for the same reason as in `_run`.
    if name == "Segmenter":
        from segjax.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    if arguments is None:
        restart_as_needed()
    kept = "the same command skips what is finished."
    return run_command(lambda: _run(_parser().parse_args(arguments)), interrupted=kept)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("predict"),
        description="Write a mask for each image: a palette PNG of class indices. More files "
        "(overlays, polygons, areas, ...) on request.",
        epilog="Example: python -m segjax.predict runs/quickstart photos/ --out masks/",
    )
    add_source(parser)
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="images, videos, folders, quoted patterns"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, metavar="DIR", help="where the files go"
    )
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    parser.add_argument(
        "--max-megapixels",
        type=_above_zero,
        default=DEFAULT_LIMIT.megapixels,
        metavar="N",
        help=f"refuse larger images (default {DEFAULT_LIMIT.megapixels:g})",
    )
    _add_outputs(parser.add_argument_group("files beside each mask, and lists of all images"))
    add_ways(parser, side=None)
    parser.add_argument(
        "--split",
        type=_rows_and_columns,
        default=(1, 1),
        metavar="ROWSxCOLUMNS",
        help="cut each image into this many parts, one a device, if one device has too little "
        "memory",
    )
    return parser


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--overlay", action="store_true", help="<stem>_overlay.png: the mask over the image"
    )
    group.add_argument(
        "--file-ids",
        action="store_true",
        help="<stem>_file_ids.png: the ids of the dataset's own files, as the benchmarks of "
        "Cityscapes and ADE20K want them",
    )
    group.add_argument(
        "--probabilities", action="store_true", help="<stem>.npz: float16, h w classes"
    )
    group.add_argument(
        "--keep",
        action="append",
        metavar="NAME,…",
        help="which classes are the foreground of the three options below (default: all but "
        "background). May be given several times. Give a name that contains a comma by itself, "
        'or in quotation marks as in CSV: "a, b"',
    )
    group.add_argument(
        "--blur", metavar="SIGMA", help="<stem>_blur.png: blur everything outside --keep"
    )
    group.add_argument(
        "--background",
        metavar="COLOUR|FILE",
        help="<stem>_background.png: replace everything outside --keep",
    )
    group.add_argument(
        "--cut-out",
        action="store_true",
        help="<stem>_cutout.png: remove everything outside --keep; of objects, each by itself: "
        "<stem>_cutouts/001.png, ...",
    )
    group.add_argument(
        "--labelme", action="store_true", help="<stem>.json: polygons to edit in Labelme"
    )
    group.add_argument(
        "--coco",
        action="store_true",
        help="annotations.json: COCO polygons of all images; of objects, masks and scores",
    )
    group.add_argument(
        "--areas",
        action="store_true",
        help="areas.csv: pixels of each class in each image; of objects, a line for each, and "
        "counts.csv",
    )
    group.add_argument(
        "--tolerance",
        metavar="PIXELS",
        help="how far polygons may leave the mask's outline (default 1; 0: exact)",
    )
    group.add_argument(
        "--score-above",
        type=float,
        metavar="SCORE",
        help="of objects: leave out those with a lower score (default 0.5; --coco lists all "
        "unless you give this)",
    )
    group.add_argument(
        "--max-objects",
        type=int,
        metavar="N",
        help="of objects: at most so many in an image, the best ones",
    )


def _rows_and_columns(text: str) -> tuple[int, int]:
    try:
        rows, columns = (int(number) for number in text.split("x"))
        return rows, columns
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not ROWSxCOLUMNS, such as 2x2") from None


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _run(arguments: argparse.Namespace) -> None:
    # Imported only now: --help should appear at once, without loading JAX.
    from segjax.predicted_files import write_predictions

    write_predictions(arguments)


if __name__ == "__main__":
    sys.exit(main())

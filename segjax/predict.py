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
import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np

from segjax.conformity import declares
from segjax.console import program, restart_in_utf8
from segjax.contracts import LabelledDataset
from segjax.data.decode import DEFAULT_LIMIT, Limit
from segjax.description import describe_lines
from segjax.errors import run_command
from segjax.experiment import Experiment
from segjax.outputs.frames import av_library, expected_frames
from segjax.outputs.inputs import Input, check_targets, find_inputs
from segjax.outputs.kinds import Labelme, Output
from segjax.outputs.lists import AREAS, COCO, Coco, ImageList, write_lists
from segjax.outputs.record import LINES, RECORD, Record
from segjax.outputs.summary import report
from segjax.outputs.writer import Entry, Writer, write_videos
from segjax.parallel import cluster
from segjax.predictor_options import (
    add_source,
    add_ways,
    asked_side,
    asked_sources,
    asked_way,
    with_side,
)
from segjax.segmenter import Segmenter
from segjax.train.log import Progress

__all__ = ["Segmenter", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the command; returns its exit status."""
    if arguments is None:
        restart_in_utf8()
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
        help="<stem>_cutout.png: remove everything outside --keep",
    )
    group.add_argument(
        "--labelme", action="store_true", help="<stem>.json: polygons to edit in Labelme"
    )
    group.add_argument(
        "--coco", action="store_true", help=f"{COCO}: COCO polygons of all images"
    )
    group.add_argument(
        "--areas", action="store_true", help=f"{AREAS}: pixels of each class in each image"
    )
    group.add_argument(
        "--tolerance",
        metavar="PIXELS",
        help="how far polygons may leave the mask's outline (default 1; 0: exact)",
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
    cluster.tune_cpu()
    began = time.monotonic()
    (source,) = asked_sources(arguments)
    experiment = _as_asked(source.experiment(), arguments)
    class_names, palette = _classes(experiment)
    outputs = experiment.task.outputs(arguments, experiment.eval_data)
    lists = experiment.task.lists(arguments, experiment.eval_data)
    sources, record = _checked_sources(arguments, outputs, lists)
    cluster.describe_devices()
    trained = source.load(experiment)
    made_by = {**trained.made_by, "predictor": _predictor(experiment)}
    if (differs := record.begin(made_by, outputs)) is not None:
        print(f"predict: {arguments.out / RECORD} says that {differs}.", file=sys.stderr)
    work = Writer(
        answer=trained.answer,
        channels=trained.channels,
        out=arguments.out,
        outputs=outputs,
        frame_files=any(isinstance(each, Labelme | Coco) for each in (*outputs, *lists)),
        record=record,
        class_names=class_names,
        palette=palette,
        limit=Limit(arguments.max_megapixels, "--max-megapixels {}"),
    )
    entries = _entries(work, sources)
    about = {
        **made_by,
        "films": [str(path) for path in write_videos(entries, arguments.out, record=record)],
        "lists": write_lists(lists, arguments.out, entries, record=record),
        "seconds": round(time.monotonic() - began, 3),
    }
    report(entries, about, weights=trained.weights, out=arguments.out, as_json=arguments.json)


def _as_asked(experiment: Experiment, arguments: argparse.Namespace) -> Experiment:
    """Returns the experiment as it predicts here."""
    experiment = asked_way(experiment, arguments)
    experiment = with_side(experiment, asked_side(arguments))
    return dataclasses.replace(experiment, split=arguments.split)


def _classes(experiment: Experiment) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns names and colours by label id; none where the task's data have no classes."""
    data = experiment.eval_data
    if declares(data, LabelledDataset):
        return tuple(data.class_names), data.palette
    return (), np.zeros((256, 3), np.uint8)


def _checked_sources(
    arguments: argparse.Namespace, outputs: Sequence[Output], lists: Sequence[ImageList]
) -> tuple[list[Input], Record]:
    sources = find_inputs(arguments.inputs, arguments.out)
    if any(source.is_video for source in sources):
        av_library()
    record = Record(arguments.out)
    check_targets(
        sources,
        arguments.out,
        [kind.suffix for kind in outputs],
        lists=[each.file for each in lists],
        reserved=(RECORD, LINES, AREAS, COCO),
        ours=record.accounts,
    )
    return sources, record


def _predictor(experiment: Experiment) -> str:
    """Returns the part of a record that says how the experiment predicts."""
    evaluation = experiment.evaluation
    return "; ".join(
        (
            *describe_lines(evaluation.wrappers, path="predictor"),
            *describe_lines(evaluation.output_stride, path="output_stride"),
        )
    )


def _entries(work: Writer, sources: Sequence[Input]) -> list[Entry]:
    """Returns what became of each image of all sources, in order."""
    total = sum(map(expected_frames, sources))
    progress = Progress("predict", first=0, total=total, unit="image")
    entries: list[Entry] = []
    for source in sources:
        for entry in work.entries(source):
            entries.append(entry)
            progress.update(len(entries))
    progress.close()
    return entries


if __name__ == "__main__":
    sys.exit(main())

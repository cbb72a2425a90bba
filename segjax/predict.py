"""`python -m segjax.predict WORKDIR INPUT... --out DIR`: masks, and what is made of them.

An input is an image, a video, a folder of images or a quoted pattern such as 'in/**/*.jpg'. A
file gives `DIR/<stem>.png`, a file of a folder `DIR/<path in the folder>/<stem>.png`: palette
PNGs of the image's size whose pixel values are class indices. Of a video, or a picture of
several frames, each frame has its mask, `DIR/<stem>/000001.png` and so on.

Options add files beside each mask: an overlay, probabilities, polygons for Labelme, or the
picture with its background blurred, replaced or cut away. Others add lists of all images:
areas by class, COCO's annotations. `DIR/predictions.json` says what made them, a line of
`DIR/predictions.jsonl` from which source: run again, the command skips what is finished. It
overwrites no file that it did not write, and no polygons that were edited.

Images are predicted as the run's own evaluation says, or as `--flip`, `--scales`, `--window`
and `--crf` do, which take its place; whole and at their own size, unless `--side` makes large
ones smaller or `--pad-to-multiple` extends them. `segjax.serve` takes the same options and
gives the same masks.
"""

import argparse
import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence
from datetime import datetime

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
from segjax.predictor_options import add_ways, asked_side, asked_way, with_side
from segjax.train.checkpoint import FOLDER
from segjax.train.log import Progress
from segjax.train.trained import load_trained
from segjax.train.workdir import open_run


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the command; returns its exit status."""
    if arguments is None:
        restart_in_utf8()
    kept = "the same command skips what is finished."
    return run_command(lambda: _run(_parser().parse_args(arguments)), interrupted=kept)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("predict"),
        description="Write palette PNGs of class indices, and what is made of them.",
    )
    parser.add_argument("workdir", type=pathlib.Path, metavar="WORKDIR", help="a run's folder")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="images, videos, folders, quoted patterns"
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", default="best", help="best (default), last or a step")
    parser.add_argument("--json", action="store_true", help="a summary on standard output")
    parser.add_argument(
        "--max-megapixels",
        type=_above_zero,
        default=DEFAULT_LIMIT.megapixels,
        metavar="N",
        help=f"the largest image to read (default {DEFAULT_LIMIT.megapixels:g})",
    )
    _add_outputs(parser.add_argument_group("files beside each mask, and lists of all images"))
    add_ways(parser, side=None)
    parser.add_argument(
        "--split",
        type=_rows_and_columns,
        default=(1, 1),
        metavar="ROWSxCOLUMNS",
        help="so many devices share each image, where one has too little memory",
    )
    return parser


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--overlay", action="store_true", help="also <stem>_overlay.png")
    group.add_argument("--probabilities", action="store_true", help="<stem>.npz, float16 h w k")
    group.add_argument(
        "--keep",
        action="append",
        metavar="NAME,…",
        help="classes to keep (default: all but background); may be given several times, and a "
        'name that holds a comma alone or in quotation marks, as in CSV: "a, b"',
    )
    group.add_argument("--blur", metavar="SIGMA", help="<stem>_blur.png: the rest is blurred")
    group.add_argument(
        "--background", metavar="COLOUR|FILE", help="<stem>_background.png: it takes its place"
    )
    group.add_argument("--cut-out", action="store_true", help="<stem>_cutout.png: none of it")
    group.add_argument("--labelme", action="store_true", help="<stem>.json, polygons to edit")
    group.add_argument("--coco", action="store_true", help=f"{COCO}: polygons of all images")
    group.add_argument("--areas", action="store_true", help=f"{AREAS}: pixels by class")
    group.add_argument(
        "--tolerance", metavar="PIXELS", help="of polygons: 1 (default); 0 makes them exact"
    )


def _rows_and_columns(text: str) -> tuple[int, int]:
    try:
        rows, columns = (int(number) for number in text.split("x"))
        return rows, columns
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no such pair as 2x2") from None


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
    experiment = _as_asked(open_run(arguments.workdir), arguments)
    class_names, palette = _classes(experiment)
    outputs = experiment.task.outputs(arguments, experiment.eval_data)
    lists = experiment.task.lists(arguments, experiment.eval_data)
    sources, record = _checked_sources(arguments, outputs, lists)
    cluster.describe_devices()
    trained = load_trained(arguments.workdir, experiment, checkpoint=arguments.checkpoint)
    made_by = _made_by(arguments.workdir, experiment, trained.step)
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
    report(entries, about, out=arguments.out, as_json=arguments.json)


def _as_asked(experiment: Experiment, arguments: argparse.Namespace) -> Experiment:
    """Returns the experiment as it predicts here.

    How training shared its images says nothing of this machine's devices.
    """
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


def _made_by(workdir: pathlib.Path, experiment: Experiment, step: int) -> dict:
    """Returns what decides the masks: the run, its step and when that was saved, and the
    predictor.
    """
    folder = workdir.resolve()
    saved = (folder / FOLDER / str(step)).stat().st_mtime
    evaluation = experiment.evaluation
    return {
        "run": str(folder),
        "step": step,
        "checkpoint": f"saved at {datetime.fromtimestamp(saved).isoformat()}",
        "predictor": "; ".join(
            (
                *describe_lines(evaluation.wrappers, path="predictor"),
                *describe_lines(evaluation.output_stride, path="output_stride"),
            )
        ),
    }


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

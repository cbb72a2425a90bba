"""What `segjax.predict` does, once its arguments are parsed."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence

import numpy as np

from segjax.conformity import declares
from segjax.contracts import LabelledDataset
from segjax.data.cache import cache_root
from segjax.data.decode import Limit
from segjax.description import describe_lines
from segjax.experiment import Experiment
from segjax.outputs.frames import av_library, expected_frames
from segjax.outputs.inputs import Input, check_targets, find_inputs
from segjax.outputs.kinds import Labelme, Output
from segjax.outputs.legend import LEGEND
from segjax.outputs.lists import AREAS, COCO, ImageList, write_lists
from segjax.outputs.record import LINES, RECORD, Record
from segjax.outputs.summary import report
from segjax.outputs.writer import Entry, Writer, write_videos
from segjax.parallel import cluster
from segjax.parallel.programs import keep_programs
from segjax.predictor_options import (
    asked_side,
    asked_sources,
    asked_way,
    with_side,
)
from segjax.train.log import Progress


def write_predictions(arguments: argparse.Namespace) -> None:
    """Writes the masks, files and lists that the command's arguments ask for.

    Raises:
      InputError: an argument is wrong; found before anything is written.
      RunError: images have no mask.
    """
    cluster.tune_cpu()
    keep_programs(cache_root)
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
        image_dtype=trained.image_dtype,
        out=arguments.out,
        outputs=outputs,
        frame_files=any(kind.suffix == Labelme.suffix for kind in outputs)
        or any(each.file == COCO for each in lists),
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
        reserved=(RECORD, LINES, *{AREAS, COCO, LEGEND, *(each.file for each in lists)}),
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

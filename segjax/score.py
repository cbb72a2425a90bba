"""`python -m segjax.score TRUTH_DIR PREDICTION_DIR`: scores a folder of masks, without a run.

Masks belong together by their path below the folder, without its suffix: `truth/a/1.png` and
`prediction/a/1.tif`. They are read as `data.folder.Folder` reads masks: the stored samples of a
PNG, TIFF, BMP or grey GIF, of any depth or with a palette, are class ids. All scores are of one
confusion matrix over all images.

    python -m segjax.score truth predictions --names classes.txt
    python -m segjax.score truth predictions --label-map 255=1        masks of 0 and 255
    python -m segjax.score annotations predictions --ignore 0         ADE20K: 0 is no class
    python -m segjax.score "gtFine/val/{stem}_gtFine_labelTrainIds.png" \\
        "predictions/{stem}_leftImg8bit.png" --classes 19             Cityscapes

Where names differ, a pattern says how, as in the last example. So does one class of a run whose
classes may overlap: `"masks/{stem}_cup.png" "predictions/{stem}_cup.png"`.

Conventions. A pixel whose truth is an ignored id (255, or those of `--ignore`) is not counted.
A pixel that is only predicted so counts as an error of its true class: it lowers that class's
IoU and accuracy, and no other class's. Classes that occur in neither folder are left out of the
mean IoU, classes without truth out of the mean accuracy.

Every true mask needs a prediction of the same size. Predictions without a true mask, such as
the overlays that `segjax.predict` writes, are reported and not scored.

`--metrics boundary_iou,boundary_f1` adds scores of `segjax.scores`; they need `--names` or
`--classes`.

From Python, call `segjax.evaluate.mask_folders.score_folders`.
"""

import argparse
import difflib
import importlib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segjax.console import one_line, program
from segjax.errors import InputError, first_of, run_command
from segjax.restart import restart_as_needed

if TYPE_CHECKING:
    from segjax.data.label_map import LabelMap
    from segjax.evaluate.mask_folders import MaskScores
    from segjax.report.score import Score
    from segjax.scores.of_masks import MaskExtras

SUMMARY = {
    "mean_iou": "mean IoU",
    "mean_iou_over_true_classes": "mean IoU of classes with truth",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
}
"""The scores below the table, and what they are called there."""

OVER = {
    "mean_iou": "classes_in_mean_iou",
    "mean_iou_over_true_classes": "classes_with_truth",
    "mean_accuracy": "classes_with_truth",
}
"""Means over classes, and the entry that says over how many."""

COLUMNS = {"iou": "IoU", "accuracy": "Accuracy", "precision": "Precision", "dice": "Dice"}
"""The scores of a class, and the heads of their columns."""


METRICS = {
    "dice": "overlap.Dice",
    "precision": "overlap.Precision",
    "recall": "overlap.Recall",
    "mean_iou_over_images": "overlap.MeanIoUOverImages",
    "boundary_iou": "boundary.BoundaryIoU",
    "trimap_iou": "boundary.TrimapIoU",
    "boundary_f1": "boundary.BoundaryF1",
    "rand_error": "rand.RandError",
    "warping_error": "warping.WarpingError",
    "bootstrap": "bootstrap.BootstrapIntervals",
}
"""The names of `--metrics`, and the class in `segjax.scores` that each is."""

SEGMENTED = ("rand_error", "warping_error")
"""Metrics of the connected regions of one class."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    if arguments is None:
        restart_as_needed()
    return run_command(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("score"),
        description="Score a folder of predicted masks against a folder of true masks. Files "
        "belong together by name, suffix aside; pixel values are class ids.",
        epilog="Example: python -m segjax.score truth predictions --names classes.txt",
    )
    parser.add_argument(
        "truth",
        metavar="TRUTH_DIR",
        help='folder of true masks, or a pattern such as "truth/{stem}_label.png"',
    )
    parser.add_argument(
        "prediction", metavar="PREDICTION_DIR", help="folder of predicted masks, or a pattern"
    )
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        "--classes",
        type=int,
        metavar="N",
        help="number of classes, ids 0 to N-1 (default: up to the largest id that occurs)",
    )
    classes.add_argument(
        "--names", type=pathlib.Path, metavar="FILE", help="names of the classes, one a line"
    )
    parser.add_argument(
        "--ignore",
        action="append",
        type=int,
        metavar="ID",
        help="an id that is not a class, in place of 255; repeat it for several",
    )
    parser.add_argument(
        "--label-map",
        metavar="ID=CLASS,...",
        help="change ids in both folders before they are compared: 255=1, nonzero=1, "
        '">127=1,else=0", 10-20=3',
    )
    parser.add_argument(
        "--metrics",
        metavar="NAME,...",
        help=f"more scores: {', '.join(METRICS)}; rand_error=CLASS and warping_error=CLASS say "
        "which class the segments are",
    )
    parser.add_argument(
        "--json", action="store_true", help="print all scores and the confusion matrix as JSON"
    )
    return parser


def _run(arguments: argparse.Namespace) -> None:
    # Imported only now: --help should appear at once, without loading JAX.
    from segjax.data.lists import listed
    from segjax.evaluate.mask_folders import pair_masks, score_pairs
    from segjax.tasks.scorer import plain
    from segjax.train.log import Progress

    names = None if arguments.names is None else listed(arguments.names, str, what="class")
    label_map = parse_label_map(arguments.label_map or "")
    classes = names or [str(i) for i in range(arguments.classes or 0)]
    extra = mask_extras(arguments.metrics or "", classes)
    pairs, unpaired = pair_masks(arguments.truth, arguments.prediction)
    progress = Progress("score", first=0, total=len(pairs), unit="image")
    scored = score_pairs(
        pairs,
        class_names=names,
        num_classes=arguments.classes,
        ignore=arguments.ignore,
        label_map=label_map,
        progress=progress.update,
        each=extra.add,
    )
    progress.close()
    if unpaired:
        below = arguments.prediction  # Or a pattern, which no path lies below.
        files = first_of(
            [str(p.relative_to(below) if p.is_relative_to(below) else p) for p in unpaired],
            most=3,
        )
        count = f"{len(unpaired)} file{'s' * (len(unpaired) > 1)}"
        where = f"{count} of {arguments.prediction}"
        line = f"score: {where} without a true mask: not scored ({files})."
        print(one_line(line), file=sys.stderr)
    if arguments.json:
        print(json.dumps(scored.scores() | plain(extra.scores())))
    else:
        known = arguments.classes is not None or names is not None
        print("\n".join(score_lines(scored, inferred=not known, named=names is not None)))
        print("\n".join(extra_lines(extra.columns, plain(extra.scores()))), end="")


def mask_extras(text: str, class_names: Sequence[str]) -> "MaskExtras":
    """Returns counts of the metrics of `--metrics`, which are none for "".

    Raises:
      InputError: there is no such metric, it does not fit the classes, or they are not known.
    """
    from segjax.scores.of_masks import MaskExtras

    metrics = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, segments = (each.strip() for each in part.partition("="))
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=3, cutoff=0.5) or METRICS
            raise InputError(f"--metrics: there is no {name!r}; near: {', '.join(near)}.")
        if segments and name not in SEGMENTED:
            raise InputError(
                f"--metrics {part}: only {' and '.join(SEGMENTED)} take =CLASS; write {name}."
            )
        module, _, made = METRICS[name].partition(".")
        metric = getattr(importlib.import_module(f"segjax.scores.{module}"), made)
        metrics.append(metric(segments) if segments else metric())
    if metrics and not class_names:
        raise InputError("--metrics needs the classes: give --names FILE or --classes N.")
    try:
        return MaskExtras(metrics, class_names)
    except InputError as error:
        reason = str(error).removeprefix("evaluation.metrics: ")
        raise InputError(f"--metrics: {reason}") from None


def extra_lines(columns: Mapping[str, "Score"], scores: Mapping[str, Any]) -> list[str]:
    """Returns the printed lines of the extra scores; none where there are none."""
    rows = [
        (score.title, "–" if scores[name] is None else score.text(scores[name]))
        for name, score in columns.items()
    ]
    for width, value in scores.get("trimap_iou", {}).items():
        rows.append((f"Mean IoU within {width} px of a border", _per_cent(value)))
    intervals = scores.get("bootstrap_intervals", {})
    titles = {"mean_iou": "mean IoU", "mean_dice": "mean Dice"} if intervals else {}
    for name, title in titles.items():
        ends = " to ".join(map(_per_cent, intervals[name]))
        rows.append((f"95 % interval of {title}", ends))
    width = max((len(title) for title, _ in rows), default=0)
    return ["", *(f"{title:{width}}  {text:>8}" for title, text in rows), ""] if rows else []


def parse_label_map(text: str) -> "LabelMap":
    """Returns the pairs of `--label-map`.

    Raises:
      InputError: a part is not ID=CLASS.

    >>> parse_label_map("255=1")
    ((255, 1),)
    >>> parse_label_map(">=128=1, else=0")
    (('>=128', 1), ('else', 0))
    """
    pairs = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        key, equals, target = (each.strip() for each in part.rpartition("="))
        try:
            if not equals:
                raise ValueError
            pairs.append((int(key) if key.lstrip("-").isdecimal() else key, int(target)))
        except ValueError:
            raise InputError(
                f"--label-map {text}: {part!r} is not ID=CLASS, such as 255=1 or else=0."
            ) from None
    return tuple(pairs)


def score_lines(scored: "MaskScores", *, inferred: bool, named: bool) -> list[str]:
    """Returns the printed lines: what was compared, scores by class, and the summary.

    `inferred`: whether the number of classes was read from the masks; `named`: whether the
    classes have names beside their ids.
    """
    scores = scored.scores()
    total = scores["ignored_pixels"] + sum(scores["pixels"].values())
    origin = " (up to the largest id in the masks)" if inferred else ""
    lines = [
        f"{scored.images} image{'s' * (scored.images > 1)}, {scores['classes']} classes"
        f"{origin}, {total} pixels, {_per_cent(scores['ignored_pixels'] / max(total, 1))} "
        "ignored",
        "",
        *_table(scored, scores, named=named),
        "",
    ]
    if lost := scores["unclassified_pixels"]:
        lines += [f"{lost} pixels are predicted as an ignored id and count as errors.", ""]
    shown = dict(SUMMARY)
    if scores["classes_with_truth"] == scores["classes_in_mean_iou"]:
        del shown["mean_iou_over_true_classes"]
    width = max(map(len, shown.values()))
    return lines + [
        f"{title:{width}}  {_per_cent(scores[key]):>8}{_over(key, scores)}"
        for key, title in shown.items()
    ]


def _over(key: str, scores: Mapping[str, Any]) -> str:
    """Returns over how many classes a mean is, where it leaves some out."""
    count = scores.get(OVER.get(key, ""), scores["classes"])
    return (
        "" if count == scores["classes"] else f"  over {count} of {scores['classes']} classes"
    )


def _table(scored: "MaskScores", scores: Mapping[str, Any], *, named: bool) -> list[str]:
    """Returns a line for each class that occurs."""
    head = ("Class", *COLUMNS.values(), "Pixels")
    rows = [
        (
            f"{i:3} {name}" if named else name,
            *(_per_cent(scores[key][name]) for key in COLUMNS),
            str(scores["pixels"][name]),
        )
        for i, name in enumerate(scored.class_names)
        if scores["iou"][name] is not None
    ]
    first, *others = (max(map(len, column)) for column in zip(head, *rows, strict=True))
    return [
        "  ".join([f"{row[0]:{first}}", *map(str.rjust, row[1:], others)])
        for row in (head, *rows)
    ]


def _per_cent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"


if __name__ == "__main__":
    sys.exit(main())

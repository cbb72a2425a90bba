"""Several runs of one ablation as one page: scores with their spread, curves, predictions.

Experiments of one name differ in their seed alone and are one variant: a row of the table.
"""

import dataclasses
import json
import pathlib
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from segjax.atomic import atomic_path, write_text
from segjax.conformity import labelled
from segjax.contracts import Variables
from segjax.errors import InputError
from segjax.experiment import Experiment, describe
from segjax.report.curves import FEWEST_TO_SMOOTH, chart, percent, running_median, series
from segjax.report.examples import panel
from segjax.report.run_page import page, section
from segjax.report.svg import Line
from segjax.tasks.scorer import Scorer
from segjax.train.log import read_metrics
from segjax.train.workdir import EVALUATION

COMPARISON, TABLE, PREDICTIONS = "comparison.html", "comparison.json", "predictions.npz"
DESCRIBED = "description"
LONGEST_SIDE, MOST_COLUMNS = 320, 6
MOST_LINES = 5
"""More curves in one chart cannot be told apart."""

SPREAD = (
    "Mean ± standard deviation over the seeds (of the sample, n − 1); with one seed there is "
    "none to give. The columns before the scores are the fields in which the variants differ."
)


class Run(NamedTuple):
    """An experiment, its overrides, the folder of what it leaves, and its place in the list.

    `place` is None where the file has one experiment and no list.
    """

    experiment: Experiment
    workdir: pathlib.Path
    settings: tuple[str, ...] = ()
    place: int | None = None

    @property
    def is_scored(self) -> bool:
        """Whether it has scores and predictions that belong together."""
        return (self.workdir / PREDICTIONS).is_file()


def check_variants(experiments: Sequence[Experiment], where: str) -> None:
    """Returns nothing when the list can be compared.

    Raises:
      InputError: two have one name and one seed, or one name and differ in more than the seed;
        a name is no folder's; or they are not evaluated on the same images.
    """
    seen: dict[str, dict[int, list[str]]] = {}
    for experiment in experiments:
        _check_comparable(experiment, experiments[0], where)
        lines = [line for line in _lines(experiment) if not line.startswith("seed = ")]
        others = seen.setdefault(experiment.name, {})
        if experiment.seed in others:
            raise InputError(
                f"{where}: two experiments are named {experiment.name!r} with seed "
                f"{experiment.seed}; give each variant a name, and its repetitions other seeds."
            )
        if others and lines != (first := next(iter(others.values()))):
            differ = next(
                ours for ours, theirs in zip(lines, first, strict=False) if ours != theirs
            )
            raise InputError(
                f"{where}: the experiments named {experiment.name!r} differ in more than the "
                f"seed ({differ}); give each variant a name of its own."
            )
        others[experiment.seed] = lines


def _check_comparable(experiment: Experiment, first: Experiment, where: str) -> None:
    name = experiment.name
    if not re.fullmatch(r"\w[\w .+-]*", name) or name in (COMPARISON, TABLE):
        raise InputError(
            f"{where}: the name {experiment.name!r} cannot be a folder's; take letters, digits "
            "and _ . + - only."
        )
    ours, theirs = (labelled(e.eval_data).class_names for e in (experiment, first))
    if tuple(ours) != tuple(theirs):
        raise InputError(
            f"{where}: {name!r} has the classes {', '.join(ours)}, {first.name!r} has "
            f"{', '.join(theirs)}; one comparison needs the same classes in the same order."
        )
    same = _evaluated(first)
    differ = [line for line in _evaluated(experiment) if line not in same]
    if differ:
        raise InputError(
            f"{where}: {experiment.name!r} is evaluated on other images than {first.name!r} "
            f"({differ[0]}); one comparison needs one evaluation set and as many examples."
        )


def _evaluated(experiment: Experiment) -> list[str]:
    heads = ("eval_data", "evaluation.examples")
    return [line for line in _lines(experiment) if line.startswith(heads)]


def _lines(experiment: Experiment) -> list[str]:
    return describe(experiment).splitlines()


def save_predictions(
    workdir: pathlib.Path, experiment: Experiment, scorer: Scorer, variables: Variables
) -> None:
    """Writes what the network makes of a few images, the same for every run, and of what it is.

    Written last and whole, so that who finds it finds the scores that belong to it.
    """
    arrays: dict[str, Any] = {DESCRIBED: np.array(describe(experiment))}
    for index in _shown(experiment):
        example = experiment.eval_data[index]
        arrays[str(index)] = scorer.predictions(variables, example["image"][None])[0]
    with atomic_path(workdir / PREDICTIONS) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _shown(experiment: Experiment) -> list[int]:
    """Indices of the images that the page shows, spread over the evaluation data."""
    total, count = len(experiment.eval_data), experiment.evaluation.examples
    return sorted({int(i) for i in np.linspace(0, total - 1, min(count, total))})


def is_finished(run: Run) -> bool:
    """Whether the folder holds the best scores of this very experiment after its last step."""
    if not run.is_scored:
        return False
    with np.load(run.workdir / PREDICTIONS) as saved:
        described = str(saved[DESCRIBED])
    rows = read_metrics(run.workdir)
    last = max((row["step"] for row in rows if "mean_iou" in row), default=0)
    return described == describe(run.experiment) and last == run.experiment.steps


def forget_scores(run: Run) -> None:
    """Scores that are about to be replaced count no longer, should the process be killed."""
    (run.workdir / PREDICTIONS).unlink(missing_ok=True)


def write_comparison(root: pathlib.Path, title: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Writes `comparison.html` and `comparison.json`; returns the second's content.

    Runs without scores, which failed, are counted and left out of the means.
    """
    variants = [_variant(name, group) for name, group in _groups(runs)]
    fields = _fields([group[0].experiment for _, group in _groups(runs)])
    for variant, values in zip(variants, fields, strict=True):
        variant["fields"] = values
    write_text(root / TABLE, json.dumps({"variants": variants}, indent=2) + "\n")
    body = [
        section("Scores", SPREAD, _table(variants)),
        section("Training", "", _curves(runs, variants)),
        section("The same images", "Predictions of each variant's first run.", _grid(runs)),
    ]
    head = (
        f'<p class="kicker">Comparison of {len(variants)} variants, {len(runs)} runs</p>'
        f"<h1>{escape(title)}</h1>"
    )
    write_text(root / COMPARISON, page(title, head, "".join(body)))
    return {"variants": variants}


def _groups(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.experiment.name, []).append(run)
    return list(groups.items())


def _fields(experiments: Sequence[Experiment]) -> list[dict[str, str]]:
    """What tells the experiments apart: {path: value} of the fields that are not all equal."""
    described = [
        dict(line.split(" = ", 1) for line in _lines(e) if " = " in line) for e in experiments
    ]
    paths = dict.fromkeys(path for fields in described for path in fields)
    told = [
        path
        for path in paths
        if path not in ("name", "seed") and len({fields.get(path) for fields in described}) > 1
    ]
    return [{path: fields.get(path, "–") for path in told} for fields in described]


def _variant(name: str, group: Sequence[Run]) -> dict[str, Any]:
    done = [run for run in group if run.is_scored]
    scores = [
        json.loads((run.workdir / EVALUATION).read_text(encoding="utf-8")) for run in done
    ]
    variant: dict[str, Any] = {
        "name": name,
        "seeds": [run.experiment.seed for run in done],
        "steps": [score["step"] for score in scores],
        "failed": [run.experiment.seed for run in group if run not in done],
    }
    variant["classes"] = len(labelled(group[0].experiment.eval_data).class_names)
    variant["classes_in_mean_iou"] = [
        score.get("classes_in_mean_iou", variant["classes"]) for score in scores
    ]
    for key in ("mean_iou", "pixel_accuracy"):
        values = [score[key] for score in scores if score[key] is not None]
        variant[key] = {
            "values": [score[key] for score in scores],
            "mean": statistics.fmean(values) if values else None,
            "std": statistics.stdev(values) if len(values) > 1 else None,
        }
    return variant


def _table(variants: Sequence[Mapping[str, Any]]) -> str:
    fields = list(variants[0]["fields"])
    heads = ["Variant", *(path.removeprefix("model.") for path in fields), "Seeds"]
    names = [f'<th scope="col">{escape(head)}</th>' for head in heads]
    names += ['<th scope="col">Mean IoU %</th>', '<th scope="col">Pixel accuracy %</th>']
    means = [variant["mean_iou"]["mean"] for variant in variants]
    best = max((mean for mean in means if mean is not None), default=None)
    rows = "".join(_row(variant, best) for variant in variants)
    return (
        '<div class="scroll"><table aria-label="Scores by variant"><thead><tr>'
        f"{''.join(names)}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(variant: Mapping[str, Any], best: float | None) -> str:
    cells = [escape(value) for value in variant["fields"].values()]
    seeds = f"{len(variant['seeds'])}"
    if variant["failed"]:
        seeds += f" ({len(variant['failed'])} failed)"
    iou, accuracy = (_score(variant[key]) for key in ("mean_iou", "pixel_accuracy"))
    mark = ' class="value"' if best is not None and variant["mean_iou"]["mean"] == best else ""
    iou += _over(variant)
    return (
        f'<tr><th scope="row">{escape(variant["name"])}</th>'
        + "".join(f"<td>{cell}</td>" for cell in [*cells, seeds])
        + f"<td{mark}>{iou}</td><td>{accuracy}</td></tr>"
    )


def _over(variant: Mapping[str, Any]) -> str:
    """Over how many classes the means of a variant's runs are, where some leave classes out."""
    counts, classes = sorted(set(variant["classes_in_mean_iou"])), variant["classes"]
    if counts in ([], [classes]):
        return ""
    fewest, most = counts[0], counts[-1]
    counted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return f" over {counted} of {classes} classes"


def _score(score: Mapping[str, Any]) -> str:
    if score["mean"] is None:
        return "–"
    spread = f" ± {100 * score['std']:.2f}" if score["std"] is not None else ""
    return f"{100 * score['mean']:.2f}{spread}"


def _curves(runs: Sequence[Run], variants: Sequence[Mapping[str, Any]]) -> str:
    """The evaluations and the loss over the steps, each variant's mean over its seeds."""
    rank = lambda variant: -(variant["mean_iou"]["mean"] or 0.0)
    drawn = {variant["name"] for variant in sorted(variants, key=rank)[:MOST_LINES]}
    groups = [(name, group) for name, group in _groups(runs) if name in drawn]
    only = (
        f" The {MOST_LINES} best variants of {len(variants)}."
        if len(drawn) < len(variants)
        else ""
    )
    scores = list(_mean_lines(groups, "mean_iou", dots=True))
    losses = [
        dataclasses.replace(line, y=running_median(line.y))
        if len(line.y) >= FEWEST_TO_SMOOTH
        else line
        for line in _mean_lines(groups, "loss")
    ]
    charts = chart(
        "Mean IoU on the evaluation set", scores, f"Higher is better.{only}", y_format=percent
    ) + chart("Loss", losses, f"Running median; lower is better.{only}")
    return f'<div class="charts">{charts}</div>'


def _mean_lines(
    groups: Sequence[tuple[str, Sequence[Run]]], key: str, *, dots: bool = False
) -> Iterator[Line]:
    """One line a variant: at each step that all its seeds have, the mean of their values."""
    for i, (name, group) in enumerate(groups):
        curves = [
            dict(zip(*series(read_metrics(run.workdir), key)[:2], strict=True))
            for run in group
            if run.is_scored
        ]
        steps = sorted(set.intersection(*map(set, curves))) if curves else []
        if steps:
            values = [statistics.fmean(curve[step] for curve in curves) for step in steps]
            yield Line(
                name, np.array(steps), np.array(values), f"line-{1 + i % MOST_LINES}", dots
            )


def _grid(runs: Sequence[Run]) -> str:
    """For each shown image: itself, its truth, and what every variant makes of it."""
    scored = [run for run in runs if run.is_scored]
    firsts = [group[0] for _, group in _groups(scored)]
    if not firsts:
        return '<p class="note">No run has finished.</p>'
    return "".join(_example(index, firsts) for index in _shown(firsts[0].experiment))


def _example(index: int, runs: Sequence[Run]) -> str:
    data = runs[0].experiment.eval_data
    example = data[index]
    pictures: list[tuple[str, np.ndarray]] = []
    for run in runs:
        with np.load(run.workdir / PREDICTIONS) as saved:
            prediction = saved[str(index)]
        shown = run.experiment.task.panels(example, prediction, data, longest=LONGEST_SIDE)
        pictures = pictures or [*shown.given]
        pictures += [(run.experiment.name, picture.rgb) for picture in shown.predicted]
    name = escape(example["name"])
    figures = "".join(panel(picture, escape(title), name) for title, picture in pictures)
    columns = (
        f"grid-template-columns: repeat({min(len(pictures), MOST_COLUMNS)}, minmax(0, 1fr))"
    )
    return (
        f'<article class="example"><h3>{name}</h3>'
        f'<div class="panels" style="{columns}">{figures}</div></article>'
    )

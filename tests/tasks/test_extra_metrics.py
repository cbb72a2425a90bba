"""`Evaluation.metrics` adds scores to an evaluation and changes nothing else."""

import dataclasses
import json
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import launch, losses
from segjax.data.synthetic import Synthetic
from segjax.errors import InputError
from segjax.evaluate.compiled import on_host
from segjax.experiment import (
    UNIT,
    Evaluation,
    Experiment,
    describe,
    load,
    override,
)
from segjax.layers.conv import Conv
from segjax.scores.bootstrap import BootstrapIntervals
from segjax.scores.boundary import BoundaryF1, BoundaryIoU, TrimapIoU
from segjax.scores.calibration import CalibrationError
from segjax.scores.extra_metric import ExtraMetric
from segjax.scores.overlap import Dice, MeanIoUOverImages, Precision, Recall
from segjax.scores.rand import RandError
from segjax.scores.section import extra_sections
from segjax.scores.warping import WarpingError
from segjax.tasks.multilabel import Multilabel
from segjax.tasks.scorer import Scorer, check_metrics, evaluate
from segjax.tasks.semantic import Semantic
from segjax.tasks.task import Task
from segjax.train.optimizer import SGD, Constant
from segjax.trajectory import said, trajectory

DATA = Synthetic(split="val", size=24, count=7)
WEIGHTS = {"w": np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)}
MASKS = (
    *(Dice(), Precision(), Recall(), MeanIoUOverImages(), BoundaryIoU(), TrimapIoU((1, 4))),
    *(BoundaryF1(), BootstrapIntervals(resamples=100), RandError("disk"), WarpingError("disk")),
)
ALL = (*MASKS, CalibrationError())


class Counted:
    """A predictor of single pixels that remembers which of its two functions were called."""

    def __init__(self, activation):
        logits = lambda v, x: jnp.einsum(
            "bhwc,ck->bhwk", x.astype(jnp.float32) / 64 - 2, v["w"]
        )
        self._inner, self.soft = on_host(lambda v, x: activation(logits(v, x))), 0

    def __call__(self, variables, images):
        self.soft += 1
        return self._inner(variables, images)

    def classes(self, variables, images):
        return self._inner.classes(variables, images)

    def check(self, variables, images):
        return self._inner.check(variables, images)


def scored(*metrics, batch_size: int = 3, share=(0, 1)):
    predictor = Counted(jax.nn.softmax)
    score = Scorer(Semantic(), predictor, DATA, batch_size=batch_size, metrics=metrics)
    return score(WEIGHTS, share=share), predictor.soft


PLAIN, _ = scored()


def test_the_tasks_own_scores_and_standing_are_the_same_with_all_metrics():
    found, _ = scored(*ALL)
    assert {name: found.scores[name] for name in PLAIN.scores} == PLAIN.scores
    assert found.standing == PLAIN.standing
    np.testing.assert_array_equal(found.metric.confusion, PLAIN.metric.confusion)
    assert found.metric.ranking() == PLAIN.metric.ranking()


def test_probabilities_are_fetched_only_if_a_metric_reads_them():
    assert scored(*MASKS)[1] == 0
    assert scored(CalibrationError())[1] > 0
    assert scored(RandError("disk", thresholds=(0.5,)))[1] > 0


def test_no_score_depends_on_the_batch_size_or_on_how_devices_share_it():
    one, *others = [scored(*ALL, batch_size=n)[0].scores for n in (1, 4, 7)]
    assert one["warping_error"] > 0 and len(one["calibration"]["pixels"]) == 15
    # Programs of other shapes may compute probabilities that differ in their last bit.
    soft = ("expected_calibration_error", "calibration")
    for other in others:
        for name in one.keys() - {*soft}:
            assert json.dumps(other[name]) == json.dumps(one[name]), name
        assert other[soft[0]] == pytest.approx(one[soft[0]], abs=1e-6)
        pixels = np.subtract(other["calibration"]["pixels"], one["calibration"]["pixels"])
        assert np.abs(pixels).sum() <= 4


def test_scores_agree_with_those_of_the_confusion_matrix():
    found = scored(*ALL)[0].scores
    iou = np.array(list(found["iou"].values()), float)
    assert np.array(list(found["dice"].values()), float) == pytest.approx(2 * iou / (1 + iou))
    assert found["mean_recall"] == pytest.approx(found["mean_accuracy"])
    low, high = found["bootstrap_intervals"]["mean_iou"]
    assert low < found["mean_iou"] < high
    ranks = PLAIN.metric.ranking().values()
    assert found["mean_iou_over_images"] == pytest.approx(np.mean(list(ranks)))


def test_planes_have_every_score_that_the_task_lacks():
    task, two = Multilabel(), Two()
    predictor = Counted(jax.nn.sigmoid)
    extra = tuple(
        dataclasses.replace(m, segments=None) if hasattr(m, "segments") else m
        for m in ALL
        if not isinstance(m, (Dice, Precision, Recall))
    )
    check_metrics(task, two, extra)
    scores = [
        Scorer(task, predictor, two, batch_size=n, metrics=extra)({"w": WEIGHTS["w"][:, :1]})
        for n in (1, 3)
    ]
    for name in (*scores[0].extra.columns, "trimap_iou", "boundary_iou"):
        assert scores[0].scores[name] == pytest.approx(scores[1].scores[name], abs=1e-6), name
    assert scores[0].scores["bootstrap_intervals"]["mean_dice"][1] > 0
    assert set(scores[0].scores["boundary_iou"]) == {"disk"}


@dataclasses.dataclass(frozen=True)
class Two:
    """Disks against everything else."""

    channels = 3
    class_names = ("other", "disk")
    palette = DATA.palette

    def prepare(self):
        DATA.prepare()

    def __len__(self):
        return 4

    def __getitem__(self, index):
        example = DATA[index]
        return {**example, "label": (example["label"] == 1).astype(np.uint8)}


def test_the_report_shows_each_score_a_curve_and_a_reliability_diagram():
    found = scored(*ALL)[0]
    (section,) = extra_sections(ALL, found.scores, DATA.class_names)
    for score in found.extra.columns.values():
        row = f'<th scope="row">{score.title}</th><td class="value">'
        assert section.content.count(row) == 1
    for title in ("Mean IoU in a trimap", "Reliability diagram", "95 % confidence intervals"):
        assert section.content.count(f"<h3>{title}</h3>") == 1
    value = found.scores["mean_boundary_iou"]
    assert f'<td class="value">{100 * value:.2f} %</td>' in section.content
    assert extra_sections((), found.scores, DATA.class_names) == []


def test_a_line_for_the_console_has_the_extra_scores_last():
    found, _ = scored(BoundaryIoU())
    value = found.scores["mean_boundary_iou"]
    assert found.line().startswith(PLAIN.line())
    assert found.line().endswith(f"  mean_boundary_iou {value:.4f}")


class Without(Task):
    """A task without classes."""

    def metric(self, data):
        return Semantic().metric(DATA)


@pytest.mark.parametrize(
    ("task", "data", "metrics", "said"),
    [
        (Without(), DATA, (Dice(),), "Dice scores classes, which task=Without does not have"),
        (
            Multilabel(),
            Two(),
            (Dice(),),
            "Dice gives 'mean_dice', which task=Multilabel gives too",
        ),
        (Semantic(), DATA, (Dice(), Dice()), "Dice and Dice both give 'mean_dice'"),
        (
            Semantic(),
            DATA,
            (TrimapIoU((1, 2)), TrimapIoU((4, 8))),
            "TrimapIoU and TrimapIoU both give 'trimap_iou'",
        ),
        (
            Semantic(),
            DATA,
            (BootstrapIntervals(), BootstrapIntervals(confidence=0.9)),
            "both give 'bootstrap_intervals'",
        ),
        (Semantic(), DATA, (RandError(),), r"such as RandError\(segments='cross'\)"),
        (Semantic(), DATA, (WarpingError("ringg"),), "'ringg'.* is not one of the classes"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_before_training_in_one_line(
    task, data, metrics, said
):
    with pytest.raises(InputError, match=said) as error:
        check_metrics(task, data, metrics)
    assert str(error.value).startswith("evaluation.metrics: ") and "\n" not in str(error.value)


def test_a_class_in_place_of_a_metric_is_refused():
    with pytest.raises(
        InputError, match=r"evaluation.metrics: Dice is a class; write Dice\(\)"
    ):
        Evaluation(metrics=(Dice,))  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Taken(ExtraMetric):
    """Calls a score by the name of another, and does not say so before."""

    def count(self, image):
        return np.zeros(1, int)

    def scores(self, counts, class_names):
        return {"iou": 1.0}


def test_a_metric_cannot_replace_a_score_of_the_task():
    with pytest.raises(InputError, match="gives 'iou', which task=Semantic gives too"):
        scored(Taken())


@pytest.mark.parametrize(
    ("name", "said"), [("iou", "task=Semantic gives too"), ("step", "give it another name")]
)
def test_an_entry_that_is_taken_is_found_before_training(name, said):
    class Said(Taken):
        further = (name,)

    with pytest.raises(InputError, match=f"Said gives '{name}', which .*{said}"):
        check_metrics(Semantic(), DATA, (Said(),))


@pytest.mark.parametrize("task", [Semantic(), Multilabel(), Multilabel(saliency=True)])
def test_the_entries_of_a_tasks_metric_are_known_before_an_image_is_counted(task):
    metric = task.metric(DATA)
    assert {*metric.shown} < {*metric.entries} and "iou" in metric.entries


class Pixels(nn.Module):
    """A network of single pixels."""

    num_classes: int = 6

    @nn.compact
    def __call__(self, image, *, train: bool):
        return Conv(self.num_classes, 1, name="head")(image)


def test_evaluate_takes_metrics():
    model = Pixels()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)
    found = evaluate(model, variables, DATA, metrics=(BoundaryIoU(), CalibrationError()))
    assert 0 <= found.scores["expected_calibration_error"] <= 1
    assert found.scores["mean_boundary_iou"] >= 0 and "mean_boundary_iou" in repr(found)


SOURCE = '''"""A run with a metric of one's own."""

import dataclasses

import numpy as np
from parts import experiment as plain

from segjax.experiment import Evaluation
from segjax.report.score import Score
from segjax.scores.boundary import TrimapIoU
from segjax.scores.extra_metric import ExtraMetric
from segjax.scores.overlap import Dice


@dataclasses.dataclass(frozen=True)
class Share(ExtraMetric):
    """The predicted share of a class."""

    name: str = "disk"

    shown = {"predicted_share": Score("Predicted share")}
    definition = "Predicted pixels of a class, of all pixels."

    def count(self, image):
        inside = image.prediction == image.class_names.index(self.name)
        return np.array([inside.sum(), inside.size])

    def scores(self, counts, class_names):
        return {"predicted_share": counts[0] / counts[1]}


scored = Evaluation(metrics=(Share("ring"), Dice(), TrimapIoU()))
experiment = dataclasses.replace(plain, evaluation=scored)
'''
PARTS = '''"""A run of two steps."""

import flax.linen as nn

from segjax.data.synthetic import Synthetic
from segjax.experiment import UNIT, Evaluation, Experiment
from segjax.layers.conv import Conv
from segjax.losses import softmax_cross_entropy
from segjax.train.optimizer import SGD, Constant


class Pixels(nn.Module):
    """A network of single pixels."""

    num_classes: int = 6

    @nn.compact
    def __call__(self, image, *, train: bool):
        return Conv(self.num_classes, 1, name="head")(image)


experiment = Experiment(
    name="own",
    model=Pixels(),
    normalize=UNIT,
    train_data=Synthetic(size=24, count=8),
    eval_data=Synthetic(split="val", size=24, count=3),
    loss=softmax_cross_entropy,
    optimizer=SGD(Constant(0.01)),
    batch_size=4,
    steps=2,
    checkpoint_every=2,
    evaluation=Evaluation(examples=1),
)
'''


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    """A folder with experiment files with and without metrics, and a run of the second."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "parts.py").write_text(PARTS)
    (folder / "own.py").write_text(SOURCE)
    assert launch.main([str(folder / "parts.py"), "--workdir", str(folder / "run")]) == 0
    return folder


def test_a_run_from_before_is_evaluated_with_metrics_and_one_of_the_users_own(finished, capsys):
    before = json.loads((finished / "run" / "evaluation.json").read_text())
    capsys.readouterr()
    arguments = [str(finished / "own.py"), "--workdir", str(finished / "run"), "--evaluate"]
    assert launch.main(arguments) == 0
    printed = capsys.readouterr().out
    after = json.loads((finished / "run" / "evaluation.json").read_text())
    del before["images_trained_on"]  # Not known where nothing is trained.
    assert {name: after[name] for name in before} == before
    assert 0 <= after["predicted_share"] <= 1 and set(after["trimap_iou"]) >= {"1", "32"}
    assert f"predicted_share {after['predicted_share']:.4f}  mean_dice" in printed
    page = (finished / "run" / "report.html").read_text()
    assert "Predicted pixels of a class, of all pixels." in page and "Other scores" in page


def test_metrics_are_no_part_of_what_decides_a_runs_parameters(finished):
    plain, own = load(finished / "parts.py"), load(finished / "own.py")
    assert trajectory(describe(plain)) == trajectory(describe(own))
    assert "evaluation.metrics.0.name = 'ring'" in describe(own)
    assert "evaluation.metrics = ()" in describe(plain)


def test_set_changes_and_empties_the_metrics():
    experiment = Experiment(
        name="x",
        model=Pixels(),
        train_data=DATA,
        eval_data=DATA,
        loss=losses.softmax_cross_entropy,
        optimizer=SGD(Constant(0.1)),
        normalize=UNIT,
        batch_size=1,
        steps=1,
    )
    one = override(experiment, "evaluation.metrics=segjax.scores.boundary.BoundaryIoU(0.01)")
    assert one.evaluation.extra_metrics == (BoundaryIoU(0.01),)
    two = override(
        one, "evaluation.metrics=(segjax.scores.overlap.Dice(),segjax.scores.overlap.Recall())"
    )
    assert two.evaluation.extra_metrics == (Dice(), Recall())
    assert override(two, "evaluation.metrics=()").evaluation.extra_metrics == ()


def test_a_finished_run_from_before_the_field_still_counts_as_finished(finished):
    text = describe(load(finished / "parts.py"))
    line = "evaluation.metrics = ()\n"
    assert line in text and said(text.replace(line, "")) == said(text)


def test_a_finished_run_from_before_a_field_that_is_none_still_counts_as_finished():
    before = "name = 'a'\ntransforms.1 = segjax.transforms.rotate.RandomRotate\n"
    assert said(before) == said(before + "transforms.1.border = None\n")
    assert said(before) != said(before + "transforms.1.border = 'reflect'\n")

"""Scores of a dataset do not depend on how it is batched, and equal an independent count."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax.data.synthetic import Synthetic
from segjax.data.voc import VOC
from segjax.errors import InputError
from segjax.evaluate.compiled import on_host
from segjax.experiment import Evaluation
from segjax.metrics import mean_iou
from segjax.tasks.confusion import ConfusionMetric
from segjax.tasks.scorer import Scorer
from segjax.tasks.semantic import Semantic
from segjax.train.table import table_lines

LINE = ConfusionMetric(())
WEIGHTS = {"w": np.random.default_rng(0).normal(size=(3, 21)).astype(np.float32)}


def linear(variables, image):
    """A predictor of single pixels: quick to compile at every size."""
    logits = jnp.einsum("bhwc,ck->bhwk", image.astype(jnp.float32) / 64 - 2, variables["w"])
    return jax.nn.softmax(logits)


def scorer(data, batch_size: int) -> Scorer:
    return Scorer(Semantic(), on_host(linear), data, batch_size=batch_size)


def independent(folder) -> dict[str, float]:
    """The four scores of `linear` on VOC val, with Pillow and NumPy alone."""
    root = folder / "VOCdevkit" / "VOC2012"
    stems = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    hits, truths, answers = np.zeros(21), np.zeros(21), np.zeros(21)
    for stem in stems:
        image = np.asarray(Image.open(root / "JPEGImages" / f"{stem}.jpg").convert("RGB"))
        mask = np.asarray(Image.open(root / "SegmentationClass" / f"{stem}.png"))
        answer = np.argmax((image.astype(np.float32) / 64 - 2) @ WEIGHTS["w"], axis=-1)
        for k in range(21):
            counted = mask != 255
            hits[k] += np.sum((mask == k) & (answer == k))
            truths[k] += np.sum(mask == k)
            answers[k] += np.sum((answer == k) & counted)
    union = truths + answers - hits
    seen, occurs = union > 0, truths > 0
    iou = hits[seen] / union[seen]
    weighted = np.sum(truths[occurs] * hits[occurs] / union[occurs]) / truths.sum()
    return {
        "images": len(stems),
        "mean_iou": iou.mean(),
        "pixel_accuracy": hits.sum() / truths.sum(),
        "mean_accuracy": np.mean(hits[occurs] / truths[occurs]),
        "frequency_weighted_iou": weighted,
    }


@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_scores_on_voc_equal_an_independent_count_for_any_batch_size(batch_size, real_data):
    data = VOC("val", directory=str(real_data / "VOCdevkit"))
    found = {"images": len(data), **scorer(data, batch_size)(WEIGHTS).scores}
    for name, value in independent(real_data).items():
        assert found[name] == pytest.approx(value, rel=1e-12), name


def test_every_batch_size_gives_the_same_matrix_and_ranking():
    data = Synthetic(split="val", size=24, count=7)
    variables = {"w": WEIGHTS["w"][:, :6]}
    one, *others = [scorer(data, n)(variables).metric for n in (1, 3, 7)]
    assert one.confusion.sum() == 7 * 24 * 24 and one.confusion.dtype == np.int64
    for other in others:
        np.testing.assert_array_equal(one.confusion, other.confusion)
        assert one.ranking() == other.ranking()


def test_the_shares_of_processes_add_up_to_the_whole():
    data = Synthetic(split="val", size=24, count=7)
    variables = {"w": WEIGHTS["w"][:, :6]}
    score = scorer(data, 2)
    whole = score(variables).metric
    parts = [score(variables, share=(i, 3)).metric for i in range(3)]
    np.testing.assert_array_equal(whole.confusion, sum(part.confusion for part in parts))
    assert sorted(i for part in parts for i in part.ranking()) == list(range(7))
    assert whole.ranking() == {i: v for part in parts for i, v in part.ranking().items()}


def test_an_images_own_score_is_of_that_image_alone():
    data = Synthetic(split="val", size=24, count=3)
    variables = {"w": WEIGHTS["w"][:, :6]}
    scores = scorer(data, 3)(variables).metric
    for i in range(3):
        prediction = np.argmax(linear(variables, jnp.asarray(data[i]["image"][None]))[0], -1)
        confusion = np.zeros((6, 6), int)
        np.add.at(confusion, (data[i]["label"].ravel(), prediction.ravel()), 1)
        assert scores.ranking()[i] == mean_iou(confusion)


def metric_of(confusion) -> ConfusionMetric:
    metric = ConfusionMetric("abcdefgh"[: len(confusion)])
    metric.confusion = np.array(confusion)
    return metric


def scored(confusion) -> dict:
    return metric_of(confusion).scores()


def test_a_summary_holds_both_means_and_says_over_how_many_classes_each_is():
    found = scored([[90, 1, 9, 0], [0, 0, 0, 0], [10, 0, 90, 0], [0, 0, 0, 0]])
    assert found["mean_iou"] == pytest.approx((90 / 110 + 0 + 90 / 109) / 3)
    assert found["mean_iou_over_true_classes"] == pytest.approx((90 / 110 + 90 / 109) / 2)
    counts = [found[n] for n in ("classes", "classes_in_mean_iou", "classes_with_truth")]
    assert counts == [4, 3, 2]
    assert LINE.line(found) == (
        "mean_iou 0.5480 over 3 of 4 classes  mean_iou_over_true_classes 0.8219 over 2 of 4 "
        "classes  pixel_accuracy 0.9000  mean_accuracy 0.9000 over 2 of 4 classes"
    )


def test_a_line_of_means_over_all_classes_is_as_short_as_it_was():
    found = scored([[3, 1], [0, 4]])
    assert LINE.line(found) == "mean_iou 0.7750  pixel_accuracy 0.8750  mean_accuracy 0.8750"
    assert LINE.remark("pixel_accuracy", found) == LINE.remark("mean_iou", {}) == ""


def test_a_set_without_counted_pixels_has_no_means_and_counts_no_class():
    found = scored([[0, 0], [0, 0]])
    assert found["mean_iou"] is None and found["mean_iou_over_true_classes"] is None
    assert found["classes_in_mean_iou"] == found["classes_with_truth"] == 0
    assert LINE.line(found) == ""


def test_a_table_says_of_a_row_over_how_many_classes_it_is():
    whole, part = scored([[3, 1], [0, 4]]), scored([[3, 0], [0, 0]])
    data = SimpleNamespace(class_names=("a", "b"))
    run = SimpleNamespace(task=Semantic(), eval_data=data, evaluation=Evaluation())
    rows: Any = [("plain", run, whole), ("+ Flip", run, part)]
    _, first, second = table_lines(rows)
    assert first.split() == ["plain", "0.7750", "0.8750"]
    assert second.endswith("1.0000          1.0000  mean_iou over 1 of 2 classes")


def test_more_classes_than_a_label_holds_are_refused():
    data = SimpleNamespace(class_names=("a",) * 256)
    with pytest.raises(InputError, match="Net predicts 256 classes, but 8-bit label images"):
        Semantic().check_outputs(256, data, who="Net")
    Semantic().check_outputs(255, SimpleNamespace(class_names=("a",) * 255), who="Net")

"""Metrics of instance and panoptic tasks: neither order nor processes change a number."""

import pathlib
import runpy
import types

import numpy as np
import pytest

from segjax.data.coco import COCO
from segjax.objects import Objects, PanopticMap, layered
from segjax.scores.average_precision import SIZES, average_precision
from segjax.tasks.instance_metric import InstanceMetric, _unpacked
from segjax.tasks.instance_report import instance_panels, instance_sections
from segjax.tasks.packing import (
    from_bytes,
    pack_map,
    pack_objects,
    to_bytes,
    unpack_map,
    unpack_objects,
)
from segjax.tasks.panoptic_metric import PanopticMetric, class_pixels

MADE = pathlib.Path(__file__).parents[1] / "scores" / "made_detections.py"
made = types.SimpleNamespace(**runpy.run_path(str(MADE)))
PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)


class Data:
    class_names = ("background", "cat", "dog", "bus", "car", "unseen")
    things = (1, 2, 3, 4, 5)
    palette = PALETTE


class PanopticData:
    class_names = ("grass", "sky", "cow", "sheep")
    things = (2, 3)
    palette = PALETTE


def example(true: Objects) -> dict:
    ids = list(range(1, len(true) + 1))
    masks = [true.mask(i) for i in range(len(true))]
    return {
        "image": np.zeros((*true.size, 3), np.uint8),
        "label": np.zeros(true.size, np.uint8),
        "name": "made",
        "boxes": true.boxes,
        "classes": true.classes,
        "instance_ids": np.array(ids, np.int32),
        "crowd": true.crowd,
        "instances": layered(masks, ids, true.size),
    }


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    truths = [made.truth(seed, count=seed % 6) for seed in range(10)]
    return [(each, made.prediction(each, rng)) for each in truths]


def counted(pairs, order, **options) -> InstanceMetric:
    metric = InstanceMetric(Data(), **options)
    for index in order:
        metric.add(index, example(pairs[index][0]), pairs[index][1])
    return metric


def test_scores_are_those_of_the_objects_and_all_entries_are_named(pairs):
    metric = counted(pairs, range(10), boundary=True)
    metric.merge(10)
    scores = metric.scores()
    assert {*scores} == {*metric.entries} and {*metric.shown} < {*scores}
    for kind in ("mask", "box", "boundary"):
        truths, predictions = zip(*pairs, strict=True)
        alone = average_precision(truths, predictions, classes=Data.things, kind=kind)
        assert scores[f"{kind}_ap"] == alone.ap()
    assert metric.primary == "mask_ap" and metric.standing(scores)["mask_ap"] > 0.1
    assert scores["mask_ap_by_class"]["unseen"] is None
    assert "mask_ap " in metric.line(scores) and metric.convention
    true = sum(int((~each.crowd).sum()) for each, _ in pairs)
    assert sum(scores["objects_by_class"].values()) == true
    assert np.isnan(metric.ranking()[0]) and len(metric.ranking()) == 10


def test_the_order_of_images_changes_no_number(pairs):
    orders = range(10), [7, 2, 9, 0, 4, 6, 8, 1, 3, 5]
    one, other = (counted(pairs, order).scores() for order in orders)
    assert one == other


def test_processes_that_share_the_images_give_the_numbers_of_one(pairs, monkeypatch):
    whole = counted(pairs, range(10))
    whole.merge(10)
    shares = [counted(pairs, range(i, 10, 3)) for i in range(3)]
    packed = [to_bytes(each._packed()) for each in shares]
    module = "segjax.tasks.instance_metric"
    monkeypatch.setattr(f"{module}.gather_bytes", lambda mine: packed)
    rankings = {k: v for each in shares for k, v in each.ranking().items()}
    monkeypatch.setattr(f"{module}.gather_by_index", lambda mine, total: rankings)
    for each in shares:
        each.merge(10)
        assert each.scores() == whole.scores()
        assert sorted(each.ranking()) == sorted(whole.ranking())


def test_a_process_without_images_has_a_share_too(pairs):
    assert _unpacked(from_bytes(to_bytes(InstanceMetric(Data())._packed()))) == {}


def test_the_areas_of_annotations_reach_the_other_processes(pairs):
    metric = InstanceMetric(Data())
    true, found = pairs[5]
    metric.add(5, {**example(true), "areas": [10.0] * len(true)}, found)
    metric.add(4, example(pairs[4][0]), pairs[4][1])
    rows = _unpacked(from_bytes(to_bytes(metric._packed())))
    assert rows[5][2] == [10.0] * len(true) and rows[4][2] is None
    assert metric.scores()["mask_ap_small"] is not None


@pytest.mark.slow
def test_scores_of_coco_by_size_are_those_of_pycocotools_on_coco_s_own_file(
    real_data, tmp_path
):
    folder = real_data / "coco_mini"
    dataset = COCO("train", str(folder), "instances")
    metric, by_masks = InstanceMetric(dataset), InstanceMetric(dataset)
    rng, predictions, ids = np.random.default_rng(0), [], []
    for index, shown in enumerate(dataset):
        predictions.append(made.prediction(Objects.of_example(shown), rng, classes=80))
        ids.append(int(shown["name"]))
        metric.add(index, shown, predictions[-1])
        unstated = {key: value for key, value in shown.items() if key != "areas"}
        by_masks.add(index, unstated, predictions[-1])
    file = folder / "annotations" / "instances_train2017.json"
    for kind, iou_type in (("box", "bbox"), ("mask", "segm")):
        rows = made.as_results(
            predictions, image_ids=ids, category_ids=dataset.file_ids, boxes=kind == "box"
        )
        theirs = made.pycocotools_run(file, rows, tmp_path, iou_type, ids).stats
        summary = metric.scores(), by_masks.scores()
        sizes = [f"{kind}_{what}_{size}" for what in ("ap", "ar") for size in SIZES[1:]]
        ours, other = ([each[name] for name in sizes] for each in summary)
        np.testing.assert_allclose(ours, theirs[[3, 4, 5, 9, 10, 11]], atol=1e-12)
        # The pixels of masks put some objects into another size.
        assert ours != other


def test_boxes_alone_are_scored_by_boxes(pairs):
    metric = InstanceMetric(Data(), masks=False, most=500)
    true, found = pairs[5]
    boxes = Objects(found.size, found.boxes, found.classes, found.scores, found.crowd)
    metric.add(0, example(true), boxes)
    scores = metric.scores()
    assert metric.primary == "box_ap" and scores["box_ap"] is not None
    assert "mask_ap" not in scores and "box_ar500" in scores
    assert {*scores} == {*metric.entries}


def test_the_report_draws_hits_false_positives_and_misses(pairs):
    metric = counted(pairs, range(10))
    scores = metric.scores()
    html = "".join(part.content for part in instance_sections(metric, scores, Data()))
    assert "Without a true object: unseen." in html and ">cat</th>" in html
    assert f"{100 * scores['mask_ap_small']:.1f}" in html and "recall" in html
    true, found = pairs[5]
    panels = instance_panels(example(true), found, Data(), longest=60)
    assert [each.title for each in panels.pictures] == [
        "Image",
        "Truth",
        "Prediction",
        "Errors",
    ]
    assert all(max(each.rgb.shape) == 60 for each in panels.pictures)
    confident = found.chosen(found.scores >= 0.5)
    marks = counts(panels)
    counted_ones = int((~true.crowd).sum())
    assert marks["misses (dashed)"] + marks["hits"] == counted_ones
    assert sum(marks.values()) - marks["misses (dashed)"] == len(confident)
    same = instance_panels(example(true), true, Data(), longest=60)
    assert counts(same)["hits"] == counted_ones and {*counts(same)} <= {"hits", "not counted"}
    nothing = instance_panels(example(true), confident.chosen([]), Data(), longest=60)
    assert counts(nothing) == {"misses (dashed)": counted_ones}


def counts(panels) -> dict[str, int]:
    """What a legend says of the errors: {"hits": 3, …}."""
    return {name: int(count) for name, count in (one.name.split(": ") for one in panels.marks)}


def panoptic_example(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    label = np.zeros((20, 30), np.uint8)
    label[:8] = 1
    label[18:] = 255
    layers = np.zeros((20, 30, 1), np.uint16)
    classes = rng.integers(2, 4, 3)
    for number, class_id in enumerate(classes.tolist(), 1):
        layers[5:15, 9 * number - 8 : 9 * number, 0] = number
        label[5:15, 9 * number - 8 : 9 * number] = class_id
    return {
        "image": np.zeros((20, 30, 3), np.uint8),
        "label": label,
        "name": f"made {seed}",
        "boxes": np.array([[9 * n - 8, 5, 9 * n, 15] for n in (1, 2, 3)], np.float32),
        "classes": classes.astype(np.int32),
        "instance_ids": np.arange(1, 4, dtype=np.int32),
        "crowd": np.zeros(3, bool),
        "instances": layers,
    }


def shifted(given: dict, by: int) -> PanopticMap:
    truth = PanopticMap.of_example(given, PanopticData.things)
    return PanopticMap(np.roll(truth.ids, by, axis=1), truth.segments)


def test_panoptic_scores_do_not_depend_on_order_or_processes(monkeypatch):
    examples = [panoptic_example(seed) for seed in range(6)]

    def count(order):
        metric = PanopticMetric(PanopticData())
        for i in order:
            metric.add(i, examples[i], shifted(examples[i], i % 4))
        return metric

    whole = count(range(6))
    whole.merge(6)
    assert count([3, 0, 5, 1, 4, 2]).scores() == whole.scores()
    one, other = count([0, 2, 4]), count([1, 3, 5])
    sums = {one.counts.tobytes(): other.counts, one.pixels.tobytes(): other.pixels}
    monkeypatch.setattr(
        "segjax.tasks.panoptic_metric.sum_over_processes", lambda a: a + sums[a.tobytes()]
    )
    one.merge(6)
    assert one.scores() == whole.scores()
    scores = whole.scores()
    assert {*scores} == {*whole.entries} and 0.5 < scores["pq"] < 1
    assert whole.ranking()[0] == 1.0 > whole.ranking()[3]
    assert whole.remark("pq", scores) == "" and "pq_things" in whole.line(scores)


def test_the_mean_iou_of_a_panoptic_map_is_of_its_classes():
    given = panoptic_example(0)
    truth = PanopticMap.of_example(given, PanopticData.things)
    metric = PanopticMetric(PanopticData())
    metric.add(0, given, truth)
    assert metric.scores()["mean_iou"] == metric.scores()["pq"] == 1.0
    empty = PanopticMap(np.zeros((20, 30), np.int32), ())
    right, true, predicted = class_pixels(given["label"], empty, 4).T
    assert right.sum() == predicted.sum() == 0
    assert true.sum() == (given["label"] != 255).sum()


def test_objects_come_back_from_their_arrays(pairs):
    images = [each for pair in pairs for each in pair]
    last = images[5]
    boxes = Objects((3, 4), last.boxes, last.classes, last.scores, last.crowd)
    given = [*images, boxes]
    back = unpack_objects(from_bytes(to_bytes(pack_objects(given))))
    for one, other in zip(given, back, strict=True):
        assert one.size == other.size
        for name in ("boxes", "classes", "scores", "crowd"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        if one.masks is None:
            assert other.masks is None
            continue
        for i in range(len(one)):
            np.testing.assert_array_equal(one.mask(i), other.mask(i))
    assert unpack_objects(pack_objects([])) == []


def test_a_panoptic_map_comes_back_from_its_arrays():
    given = shifted(panoptic_example(2), 2)
    back = unpack_map(from_bytes(to_bytes(pack_map(given))))
    np.testing.assert_array_equal(back.ids, given.ids)
    assert back.segments == given.segments

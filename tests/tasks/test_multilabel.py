"""Planes by sigmoid: what fits them, how they are scored, shown, written and exported."""

import argparse
import dataclasses
import json
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax import losses
from segjax import threshold_metrics as planes_of
from segjax.data.folder import Folder
from segjax.data.isbi import ISBI2012
from segjax.data.survey import survey
from segjax.data.synthetic import Synthetic
from segjax.errors import InputError, RunError
from segjax.evaluate.crf import CRF
from segjax.evaluate.wrappers import Flip, MultiScale
from segjax.experiment import load
from segjax.export.stablehlo import frozen
from segjax.models.unet import UNet
from segjax.outputs.kinds import Prediction
from segjax.outputs.planes import asked_plane_outputs
from segjax.tasks.multilabel import Multilabel, plane_colours, plane_names
from segjax.tasks.plane_metric import MAX_F, MEAN_ERROR
from segjax.tasks.semantic import Semantic
from segjax.tasks.shown import combinations

TASK = Multilabel()
BINARY = Folder(class_names=("ground", "object"))
PLANED = Folder(class_names=("disc", "cup"), masks=("disc", "cup"))
RNG = np.random.default_rng(0)


def unet(num_classes):
    return UNet(num_classes=num_classes, depth=1, features=2)


def both(data):
    return {"train_data": data, "eval_data": data}


def example(k=2, size=(6, 5), name="a"):
    label = RNG.choice([0, 1, 255], (*size, k), p=[0.5, 0.4, 0.1]).astype(np.uint8)
    image = RNG.integers(0, 255, (*size, 3)).astype(np.uint8)
    return {"image": image, "label": label, "name": name}


def test_two_classes_of_an_index_mask_are_one_plane_and_planes_are_their_own():
    assert plane_names(BINARY) == ("object",) and plane_names(PLANED) == ("disc", "cup")
    assert plane_colours(BINARY) == [(128, 0, 0)]
    assert plane_colours(PLANED) == [(128, 0, 0), (0, 128, 0)]
    assert plane_names(ISBI2012()) == ("cell",)
    for data, k in ((BINARY, 1), (PLANED, 2)):
        TASK.check_settings(unet(k), losses.sigmoid_cross_entropy, both(data))
        stand_in = TASK.stand_in((4, 4, 3), data)
        TASK.check_example(stand_in, data)


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (unet(2), BINARY, "2, but the labels of train_data have 1 plane, 'object' without its"),
        (unet(1), PLANED, "1, but the labels of train_data have 2 planes; set model.num_class"),
        (
            unet(6),
            Synthetic(),
            r"6 classes in one mask of ids.*Semantic\(\), or one mask for each c",
        ),
    ],
)
def test_a_network_or_labels_that_do_not_fit_are_named(model, data, words):
    with pytest.raises(InputError, match=words):
        TASK.check_settings(model, losses.sigmoid_cross_entropy, both(data))


@pytest.mark.parametrize(
    "loss",
    [
        losses.softmax_cross_entropy,
        losses.ClassWeightedCrossEntropy((1.0, 1.0)),
        losses.Sum(((losses.Dice(), 1.0),)),
    ],
    ids=["cross_entropy", "class_weights", "sum"],
)
def test_a_softmax_loss_is_refused_with_the_losses_that_do(loss):
    with pytest.raises(InputError, match="mutually exclusive.*sigmoid_cross_entropy or Posit"):
        TASK.check_settings(unet(1), loss, both(BINARY))


@pytest.mark.parametrize(
    "loss",
    [losses.sigmoid_cross_entropy, losses.Sum(((losses.LovaszHinge(), 1.0),))],
    ids=["cross_entropy", "sum"],
)
def test_semantic_segmentation_refuses_a_loss_of_planes_with_the_task_for_it(loss):
    words = r"\(sigmoid\) is for classes that may overlap: .*segjax.tasks.multilabel.Multilabel"
    with pytest.raises(InputError, match=words):
        Semantic().check_settings(unet(2), loss, both(BINARY))


def test_evaluation_data_of_another_kind_of_label_are_refused():
    data = {"train_data": BINARY, "eval_data": dataclasses.replace(BINARY, planes=True)}
    with pytest.raises(InputError, match="as planes; ground, object as one mask of ids"):
        TASK.check_data(unet(1), data, field="eval_data")


def test_semantic_segmentation_refuses_planes_with_the_task_for_them():
    with pytest.raises(InputError, match=r"task=segjax.tasks.multilabel.Multilabel\(\)"):
        Semantic().check_data(unet(2), both(PLANED), field="train_data")


@pytest.mark.parametrize("wrapper", [CRF(), MultiScale((1.0,), combine="max")])
def test_wrappers_for_exclusive_classes_are_refused_by_name(wrapper):
    identity = lambda image: image
    with pytest.raises(InputError, match=f"{type(wrapper).__name__}.*mutually exclusive"):
        TASK.predictor(unet(2), normalize=identity, wrappers=(wrapper,))
    TASK.predictor(unet(2), normalize=identity, wrappers=(MultiScale((1.0,)), Flip()))


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, float("nan")])
def test_a_threshold_that_is_none_is_refused(threshold):
    with pytest.raises(InputError, match="must lie between 0 and 1"):
        Multilabel(threshold=threshold)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": np.zeros((6, 5), np.uint8)}, r"label of shape \(6, 5\).*here \(6, 5, 2\)"),
        ({"label": np.zeros((6, 5, 3), np.uint8)}, r"\(6, 5, 3\).*disc, cup"),
        ({"label": np.full((6, 5, 2), 7)}, r"'a' has the values \[7\] in its label's planes"),
        ({"label": np.zeros((6, 5, 2))}, "planes of its label are float64"),
        ({"weight": np.ones((6, 4))}, r"weight map has shape \(6, 4\)"),
        ({"weight": np.full((6, 5), -1.0)}, "pixel weight -1.0"),
        ({"image": np.zeros((6, 5), np.uint8)}, "not h w c"),
    ],
)
def test_an_example_that_does_not_fit_is_named(change, words):
    with pytest.raises(InputError, match=words):
        TASK.check_example({**example(), **change}, PLANED)


def test_weights_may_be_of_pixels_or_of_planes():
    for shape in ((6, 5), (6, 5, 2)):
        given = {**example(), "weight": np.ones(shape)}
        assert TASK.check_example(given, PLANED) is None
    with pytest.raises(InputError, match="weight"):
        TASK.check_example({**example(), "weight": np.ones((6, 5, 3))}, PLANED)


def scored(examples, predictions, **options):
    metric = Multilabel(**options).metric(PLANED)
    for index, pair in enumerate(zip(examples, predictions, strict=True)):
        metric.add(index, *pair)
    metric.merge(len(examples))
    return metric


EXAMPLES = [example(name=str(i), size=(7 + i, 5)) for i in range(5)]
PREDICTIONS = [RNG.uniform(0, 1, e["label"].shape).astype(np.float32) for e in EXAMPLES]


def test_scores_of_a_set_equal_those_of_its_pixels_in_one_row():
    metric = scored(EXAMPLES, PREDICTIONS, threshold=0.3)
    label = np.concatenate([e["label"].reshape(-1, 2) for e in EXAMPLES])
    p = np.concatenate([x.reshape(-1, 2) for x in PREDICTIONS])
    found, confusion = metric.scores(), planes_of.binary_confusion(label, p >= 0.3)
    for name in ("dice", "iou", "precision", "recall"):
        by_class = getattr(planes_of, name)(confusion)
        assert list(found[name].values()) == by_class.tolist()
        assert found[f"mean_{name}"] == pytest.approx(by_class.mean(), rel=1e-15)
    best = planes_of.best_threshold(planes_of.probability_histogram(label, p))
    at_best = planes_of.dice(planes_of.binary_confusion(label, p >= best))
    assert found["best_threshold"] == best and found["threshold"] == 0.3
    assert found["mean_dice_at_best_threshold"] == pytest.approx(at_best.mean())
    assert list(found["at_best_threshold"]["dice"].values()) == at_best.tolist()
    assert found["mean_dice_at_best_threshold"] >= found["mean_dice"]
    json.dumps(found, allow_nan=False)


def test_images_are_ranked_by_their_own_dice():
    metric = scored(EXAMPLES, PREDICTIONS)
    for index, (e, p) in enumerate(zip(EXAMPLES, PREDICTIONS, strict=True)):
        own = planes_of.dice(planes_of.binary_confusion(e["label"], p >= 0.5)).mean()
        assert metric.ranking()[index] == pytest.approx(own)
    assert metric.primary == "mean_dice"


def test_saliency_is_scored_by_the_papers_measures_and_ranks_by_the_first():
    metric = scored(EXAMPLES, PREDICTIONS, saliency=True)
    curves, errors = [], []
    for e, p in zip(EXAMPLES, PREDICTIONS, strict=True):
        curves.append(planes_of.image_curves(planes_of.probability_histogram(e["label"], p)))
        counted = e["label"] != 255
        errors.append(
            [np.abs(p - 1.0 * e["label"])[..., k][counted[..., k]].mean() for k in range(2)]
        )
    f = planes_of.f_measure(*np.mean(curves, axis=0))
    scores = metric.scores()
    assert scores[MAX_F] == pytest.approx(f.max(-1).mean())
    assert scores[MEAN_ERROR] == pytest.approx(np.mean(errors), rel=1e-6)
    assert metric.primary == MAX_F and metric.standing(scores) == {MAX_F: scores[MAX_F]}
    own = planes_of.f_measure(*curves[2]).max(-1).mean()
    assert metric.ranking()[2] == pytest.approx(own)
    assert MAX_F not in scored(EXAMPLES, PREDICTIONS).scores()


def test_a_class_that_is_nowhere_is_null_and_left_out_of_means():
    absent = [{**e, "label": e["label"] * np.uint8([1, 0])} for e in EXAMPLES]
    unseen = [p * np.float32([1, 0.1]) for p in PREDICTIONS]
    metric = scored(absent, unseen, saliency=True)
    scores = metric.scores()
    assert scores["dice"]["cup"] is None and scores["mean_dice"] == scores["dice"]["disc"]
    assert scores["classes_in_mean_dice"] == 1
    assert metric.remark("mean_dice", scores) == " over 1 of 2 classes"
    assert "mean_dice" in metric.line(scores) and scores[MAX_F] is not None


def test_an_index_mask_is_scored_as_its_plane():
    metric = TASK.metric(BINARY)
    label = np.uint8([[0, 1, 1, 255]])
    metric.add(0, {"label": label}, np.float32([[[0.9], [0.5], [0.2], [0.9]]]))
    assert metric.confusion.tolist() == [[[0, 1], [1, 1]]]
    assert metric.shown["mean_dice"].title == "Dice"


def test_what_is_predicted_is_what_is_exported_and_shown():
    p = np.float32([[[0.49999, 0.5], [0.7, 0.2]]])
    assert TASK.planes(p).tolist() == [[[0, 1], [1, 0]]]
    np.testing.assert_array_equal(TASK.classes(jnp.asarray(p)), TASK.planes(p))
    shown = TASK.shown(PLANED)
    assert shown.class_names == ("background", "disc", "cup", "disc + cup")
    assert shown.label(p).tolist() == [[2, 1]]
    assert shown.palette[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [64, 64, 0]]
    np.testing.assert_allclose(shown.alpha(p, [1, 3]), p[..., 0], rtol=1e-6)
    binary = TASK.shown(BINARY)
    assert binary.class_names == ("ground", "object")
    np.testing.assert_allclose(binary.alpha(p[..., :1], [0]), 1 - p[..., 0], rtol=1e-6)
    with pytest.raises(InputError, match="up to 7 overlapping classes, but .* has 8"):
        combinations("abcdefgh", np.zeros((8, 3)), background="", planes=TASK.planes)


def test_an_export_of_classes_holds_a_plane_a_class():
    model, image = unet(2), jax.ShapeDtypeStruct((1, 8, 8, 3), np.uint8)
    init = lambda: model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), jax.eval_shape(init))
    options = {"normalize": lambda image: image / 255, "size": (8, 8)}
    for output, dtype in (("classes", np.uint8), ("probabilities", np.float32)):
        program = TASK.program(model, output=output, **options)
        answer = frozen(program.run, variables, size=(8, 8), channels=3, fold=False)
        found = jax.eval_shape(answer, image)
        assert (found.shape, found.dtype) == ((1, 8, 8, 2), dtype)
    assert TASK.legend(PLANED)[0] == ("disc", "cup")


def test_scores_that_are_not_numbers_end_the_run():
    broken = lambda variables, images: np.full((1, 2, 2, 1), np.nan, np.float32)
    with pytest.raises(RunError, match="not numbers"):
        TASK.predict(broken, {}, np.zeros((1, 2, 2, 3), np.uint8))


def test_one_plane_no_longer_answers_the_same_everywhere():
    logits = jnp.asarray([[[[-3.0], [0.0], [3.0]]]])
    p = TASK.activation(logits)
    np.testing.assert_allclose(p.ravel(), [0.0474, 0.5, 0.9526], atol=1e-4)
    with pytest.raises(InputError, match="task=segjax.tasks.multilabel.Multilabel"):
        Semantic().activation(logits)


OPTIONS = {
    "file_ids": False,
    **dict.fromkeys(("overlay", "probabilities", "cut_out", "labelme", "coco", "areas"), False),
    **dict.fromkeys(("keep", "blur", "background", "tolerance", "score_above", "max_objects")),
}


def asked(data, **options):
    return TASK.outputs(argparse.Namespace(**{**OPTIONS, **options}), data)


@pytest.mark.parametrize("data, names", [(BINARY, ["object"]), (PLANED, ["disc", "cup"])])
def test_each_class_has_a_mask_of_0_and_1_that_can_be_read_as_a_label(data, names, tmp_path):
    k = len(names)
    p = np.random.default_rng(1).uniform(0, 1, (5, 4, k)).astype(np.float32)
    image = np.full((5, 4, 3), 90, np.uint8)
    prediction = Prediction(
        image=image,
        answer=TASK.planes(p),
        probabilities=p,
        file=tmp_path / "a.png",
        class_names=data.class_names,
        palette=data.palette,
    )
    outputs = asked(data, overlay=True, probabilities=True)
    (tmp_path / "masks").mkdir()
    for output in outputs:
        output.save(prediction, tmp_path / f"masks/a{output.suffix}")
    suffixes = [output.suffix for output in outputs]
    masks = [".png"] if k == 1 else ["_disc.png", "_cup.png"]
    assert suffixes == [*masks, "_overlay.png", ".npz"]
    for plane, suffix in enumerate(masks):
        with Image.open(tmp_path / f"masks/a{suffix}") as mask:
            assert mask.mode == "P"
            np.testing.assert_array_equal(np.array(mask), p[..., plane] >= 0.5)
    saved = np.load(tmp_path / "masks/a.npz")
    assert saved["class_names"].tolist() == names
    np.testing.assert_array_equal(saved["probabilities"], p.astype(np.float16))
    drawn = np.array(Image.open(tmp_path / "masks/a_overlay.png"))
    assert ((drawn != image).any(-1) == (p >= 0.5).any(-1)).all()
    (tmp_path / "images").mkdir()
    Image.fromarray(image).save(tmp_path / "images/a.png")
    patterns = ("masks/*",) if k == 1 else ("masks/*_disc", "masks/*_cup")
    if k > 1:
        again = Folder(directory=str(tmp_path), class_names=data.class_names, masks=patterns)
        np.testing.assert_array_equal(again[0]["label"], TASK.planes(p))


def test_one_plane_has_areas_and_polygons_as_a_background_and_an_object(tmp_path):
    options = argparse.Namespace(**{**OPTIONS, "labelme": True, "areas": True, "coco": True})
    outputs, lists = TASK.outputs(options, BINARY), TASK.lists(options, BINARY)
    planes = np.zeros((6, 8, 1), np.uint8)
    planes[1:4, 2:7] = 1
    image = np.full((6, 8, 3), 90, np.uint8)
    file = tmp_path / "a.png"
    names, palette = BINARY.class_names, BINARY.palette
    for output in outputs:
        prediction = Prediction(image, planes, None, file, names, palette)
        output.save(prediction, tmp_path / f"mask{output.suffix}")
    (shape,) = json.loads((tmp_path / "mask.json").read_text())["shapes"]
    assert shape["label"] == "object"
    entry = types.SimpleNamespace(name="a", file_name="a.png")
    for each in lists:
        each.write(tmp_path / each.file, [(entry, tmp_path / "mask.png")])
    rows = (tmp_path / "areas.csv").read_text().splitlines()
    assert rows[1].startswith("a,background,33,") and rows[2].startswith("a,object,15,")
    coco = json.loads((tmp_path / "annotations.json").read_text())
    assert [c["name"] for c in coco["categories"]] == ["object"]
    assert [a["area"] for a in coco["annotations"]] == [15]


@pytest.mark.parametrize("option", ["coco", "labelme", "areas"])
def test_files_of_exclusive_classes_are_refused_by_name(option):
    with pytest.raises(InputError, match=f"^--{option} needs mutually exclusive classes"):
        asked(PLANED, **{option: True})


def test_one_class_is_cut_out_of_several_by_its_name():
    assert [o.suffix for o in asked(BINARY, cut_out=True)] == [".png", "_cutout.png"]
    kept = asked(PLANED, cut_out=True, keep=["cup"])[-1]
    assert kept.kept == (1,)
    with pytest.raises(InputError, match="may overlap; name the one to keep"):
        asked(PLANED, cut_out=True, keep=["cup", "disc"])
    with pytest.raises(InputError, match="--keep needs --blur"):
        asked(PLANED, keep=["cup"])


def test_files_of_classes_never_share_a_name():
    names = ("a/b", "a b", "Overlay", "ok")
    options = argparse.Namespace(**{**OPTIONS, "overlay": True})
    outputs = asked_plane_outputs(options, names, [(1, 2, 3)] * 4)
    suffixes = [output.suffix.casefold() for output in outputs]
    assert len(set(suffixes)) == 5 and suffixes[3] == "_ok.png"


def test_the_report_has_scores_by_class_curves_and_pictures():
    metric = scored(EXAMPLES, PREDICTIONS, saliency=True)
    task = Multilabel(saliency=True)
    scores = metric.scores()
    classes, thresholds = task.sections(metric, scores, PLANED)
    assert f"<td>{100 * scores['dice']['cup']:.1f}</td>" in classes.content
    assert f"At the best threshold {scores['best_threshold']:.3f}" in classes.content
    assert thresholds.content.count("<svg role") == 2 and "F over images" in thresholds.content
    found = task.panels(EXAMPLES[0], PREDICTIONS[0], PLANED, longest=64)
    assert [picture.title for picture in found.pictures] == [
        *("Image", "Truth", "Prediction", "Errors")
    ]
    label, answer = EXAMPLES[0]["label"], PREDICTIONS[0] >= 0.5
    wrong = ((label != answer) & (label != 255)).any(-1)
    wrong &= (label != 255).any(-1)
    orange = (found.more[0].rgb == (255, 84, 20)).all(-1)
    np.testing.assert_array_equal(orange, wrong)
    assert [item.name for item in found.classes] == ["disc", "cup"]


class Few:
    """Three examples of planes of which `planes` says what they hold."""

    class_names, has_planes, channels = ("disc", "cup"), True, 3
    palette = PLANED.palette

    def __init__(self, *values):
        self._values = values

    def prepare(self):
        pass

    def __len__(self):
        return 3

    def __getitem__(self, index):
        label = np.broadcast_to(np.uint8(self._values), (4, 4, 2)).copy()
        label[0, 0] = 0
        image = np.full((4, 4, 3), index, np.uint8)
        return {"image": image, "label": label, "name": str(index)}


def lines(data):
    return TASK.coverage(data, survey(data), field="train_data", transformed=False)


def test_classes_without_a_pixel_are_said_before_training():
    assert lines(Few(1, 1)) == []
    assert (
        "'cup': no pixel of the labels of train_data (its 3 examples) is 1"
        in lines(Few(1, 0))[0]
    )
    (line,) = lines(Few(255, 255))
    assert "no plane" in line and "read it with train_data.label_map=((255, 1),)" in line


def test_labels_that_are_ignored_altogether_are_an_error():
    data = Few(255, 255)
    data.__class__ = type("AllIgnored", (Few,), {})
    given = Few.__getitem__
    type(data).__getitem__ = lambda self, i: {
        **given(self, i),
        "label": np.full((4, 4, 2), 255, np.uint8),
    }
    with pytest.raises(InputError, match="every pixel of the labels in train_data"):
        lines(data)


def test_a_batch_counts_where_a_plane_has_a_pixel_that_is_not_ignored():
    traced = types.SimpleNamespace(grid=(2, 2))
    label = np.full((1, 2, 2, 2), 255, np.uint8)
    assert not TASK.counts(unet(2), {"label": label}, traced)
    label[0, 1, 0, 1] = 0
    weight = np.ones((1, 2, 2), np.float32)
    assert TASK.counts(unet(2), {"label": label, "weight": weight}, traced)
    weight[0, 1, 0] = 0
    assert not TASK.counts(unet(2), {"label": label, "weight": weight}, traced)


@pytest.mark.parametrize(
    "stem, count", [("u2net_duts", 44_009_869), ("unet_isbi_binary", 482_449)]
)
def test_the_experiments_of_one_plane_train_by_sigmoid(stem, count):
    experiment = load(pathlib.Path(__file__).parents[2] / f"experiments/{stem}.py")
    data = {"train_data": experiment.train_data, "eval_data": experiment.eval_data}
    experiment.task.check_settings(experiment.model, experiment.loss, data)
    image = jnp.zeros((1, 64, 64, experiment.train_data.channels))
    init = lambda: experiment.model.init(jax.random.key(0), image, train=False)["params"]
    assert sum(x.size for x in jax.tree.leaves(jax.eval_shape(init))) == count

"""The task of objects: what it refuses, what it tries without files, what it predicts."""

import dataclasses
import math
import pathlib
import re
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import losses
from segjax.backbones.resnet import ResNet18
from segjax.data.folder import Folder
from segjax.errors import InputError, RunError
from segjax.evaluate.windows import PadToMultiple
from segjax.evaluate.wrappers import Flip
from segjax.experiment import UNIT
from segjax.models.panoptic_fpn import PanopticFPN
from segjax.models.unet import UNet
from segjax.ops.paste_masks import paste_mask
from segjax.ops.resize import resize_bilinear
from segjax.tasks.detector import CanvasPredictor, objects_of
from segjax.tasks.instance import Instance
from segjax.tasks.two_stage import Detections
from segjax.train.plan import check_settings
from segjax.transforms.objects import PackObjects
from segjax.transforms.resize_sides import ResizeSides

DISCS = runpy.run_path(str(pathlib.Path(__file__).with_name("discs.py")))
EXPERIMENT, MODEL, TASK = DISCS["experiment"], DISCS["TinyDetector"](), DISCS["TASK"]
Discs = DISCS["Discs"]
VARIABLES = jax.jit(MODEL.init, static_argnames="train")(
    jax.random.key(0), jnp.zeros((1, 40, 48, 3)), train=False
)


@dataclasses.dataclass(frozen=True)
class Named(Discs):
    """Discs with other names of classes or other things."""

    class_names: tuple[str, ...] = ("background", "disc", "square")
    things: tuple[int, ...] = (1, 2)


def check(*, model=MODEL, loss=None, train=Discs(), test=Discs(), task=TASK):  # noqa: B008
    loss = losses.TwoStage() if loss is None else loss
    task.check_settings(model, loss, {"train_data": train, "eval_data": test})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": UNet(num_classes=3)},
            "UNet has no rpn, anchors, .*MaskRCNN",
        ),
        ({"model": MODEL.clone(num_classes=4)}, "set model.num_classes=3"),
        ({"loss": losses.softmax_cross_entropy}, "loss=softmax_cross_entropy .*TwoStage"),
        ({"train": Named(things=(0, 1)), "test": Named(things=(0, 1))}, "is the background of"),
        ({"model": MODEL.clone(has_masks=False)}, "task.masks=True, .* has_masks=False"),
        ({"test": Named(things=(1,))}, "must have the same things"),
        ({"test": Named(class_names=("background", "a", "b"))}, "the same class_names"),
        ({"task": dataclasses.replace(TASK, most=0)}, "task.most=0 must be at least 1"),
        ({"task": Instance(anchor_negative=0.8)}, "task.anchor_negative=0.8 must not be above"),
        ({"task": Instance(iou=-1.0)}, "task.iou=-1.0 must be from 0 to 1"),
        ({"task": Instance(roi_positive=50.0)}, "task.roi_positive=50.0 must be from 0 to 1"),
        ({"task": Instance(proposal_iou=math.nan)}, "task.proposal_iou=nan must be from 0"),
        ({"task": Instance(side=-3.0)}, "task.side=-3.0 must be at least 0"),
        ({"task": Instance(box_weights=(0.0, 0.0, 1.0, 1.0))}, "task.box_weights=.* above 0"),
        ({"loss": losses.PanopticFPN()}, "loss=PanopticFPN .*TwoStage"),
        ({"loss": losses.PanopticDeepLab()}, "loss=PanopticDeepLab .*TwoStage"),
        (
            {"model": PanopticFPN(ResNet18(), num_classes=3, things=(1, 2))},
            "PanopticFPN has a semantic branch",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(options, message):
    check()
    with pytest.raises(InputError, match=message):
        check(**options)


def test_data_without_objects_are_refused():
    class Labelled:
        """Discs without `things`."""

        channels = 3
        class_names = ("background", "disc", "square")
        palette = Discs().palette
        prepare = __len__ = __getitem__ = lambda *_: None

    with pytest.raises(InputError, match="eval_data: Labelled has no things; write things"):
        check(test=Labelled())
    folder = Folder("val", class_names=("background", "disc", "square"))
    with pytest.raises(InputError, match="eval_data"):
        check(test=folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"wrappers": (Flip(),)}, "Flip.* predicts objects"), ({"split": (2, 1)}, "split=.2, 1.")],
)
def test_wrappers_and_shared_images_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TASK.predictor(MODEL, normalize=UNIT, **options)


def test_an_example_whose_objects_are_wrong_is_refused_by_name_and_id():
    example = Discs()[3]
    TASK.check_example(example, Discs())
    boxes = example["boxes"].copy()
    boxes[1, 2] = boxes[1, 0]
    with pytest.raises(InputError, match="'discs 3'.*object 2 has no area"):
        TASK.check_example({**example, "boxes": boxes}, Discs())
    label = example["label"].copy()
    label[0, 0] = 9
    with pytest.raises(InputError, match="'discs 3' has the label ids .9."):
        TASK.check_example({**example, "label": label}, Discs())


def test_network_transforms_and_loss_are_tried_before_any_file_is_read():
    (traced,) = check_settings(EXPERIMENT).values()
    assert traced.grid == (48, 48)
    assert set(traced.variables) == {"params", "batch_stats"}


def traced(example, *, model=MODEL):
    """Returns the traced network on a batch of one example."""
    batch = {key: value[None] for key, value in example.items() if key != "name"}
    return TASK.trace(model, losses.TwoStage(), batch, normalize=UNIT)


def test_a_batch_that_lacks_objects_in_slots_is_refused_with_the_remedy():
    example, rng = Discs()[3], np.random.default_rng(0)
    with pytest.raises(ValueError, match="no 'objects': end the transforms with .*PackObjects"):
        traced(example)
    boxes_alone = PackObjects(5, masks=False)(example, rng)
    with pytest.raises(ValueError, match="TinyDetector predicts masks, .*PackObjects"):
        traced(boxes_alone)
    assert traced(boxes_alone, model=MODEL.clone(has_masks=False)).grid == (40, 48)
    assert traced(PackObjects(5)(example, rng)).grid == (40, 48)


def test_images_reach_the_network_resized_and_padded():
    def network(variables, images, sizes):
        """Returns what it is given."""
        return {"images": images, "sizes": sizes}

    predict = CanvasPredictor(network, num_classes=3, constants=TASK)
    images = np.random.default_rng(0).integers(0, 256, (3, 30, 20, 3), np.uint8)
    found, size = predict({}, images)
    # The longer side becomes 48, and canvases are multiples of 8.
    assert size == (48, 32) and found["images"].shape == (3, 48, 32, 3)
    assert found["sizes"].tolist() == [[48, 32]] * 3
    wanted = resize_bilinear(jnp.asarray(images / np.float32(255)), (48, 32))
    np.testing.assert_allclose(found["images"], wanted, atol=1e-6)
    found, size = predict({}, images[:, :, :19])
    assert size == (48, 30) and found["images"].shape == (3, 48, 32, 3)
    assert not found["images"][:, :, 30:].any() and found["images"][:, :, :30].all(1).any()
    own_size = CanvasPredictor(
        network, num_classes=3, constants=dataclasses.replace(TASK, shortest=None)
    )
    found, size = own_size({}, images)
    assert size == (30, 20) and found["images"].shape == (3, 32, 24, 3)
    np.testing.assert_array_equal(found["images"][:, :30, :20], images / np.float32(255))


def test_images_that_shrink_are_averaged_in_prediction_as_in_training():
    def network(variables, images, sizes):
        """Returns what it is given."""
        return images

    images = np.random.default_rng(0).integers(0, 256, (2, 90, 120, 3), np.uint8)
    seen = {}
    for antialias in (True, False):
        task = dataclasses.replace(TASK, shortest=32, longest=48, antialias=antialias)
        predict = CanvasPredictor(network, num_classes=3, constants=task)
        seen[antialias], size = predict({}, images)
        assert size == (32, 42)
        trained = ResizeSides(32, 48, antialias=antialias)
        for image, found in zip(images, seen[antialias], strict=True):
            wanted = trained({"image": image, "name": "a"}, np.random.default_rng(0))["image"]
            # A batch to train on is rounded to 8 bits; torchvision does not round.
            tolerance = 1e-7 if antialias else 0.5 / 255 + 1e-6
            difference = found[:32, :42] - wanted / np.float32(255)
            assert abs(difference).max() <= tolerance
    assert abs(seen[True] - seen[False]).max() > 0.1


@pytest.mark.parametrize(
    ("fields", "size", "expected"),
    [
        ({}, (30, 20), ((48, 32), (48, 32))),
        ({"canvas": (40, 48)}, (30, 20), ((48, 32), (48, 40))),
        ({"canvas": (48, 40)}, (20, 30), ((32, 48), (40, 48))),
        ({"canvas": 64}, (30, 20), ((48, 32), (64, 64))),
        ({"canvas": 48}, (25, 25), ((40, 40), (48, 48))),
        ({"multiple": 32}, (30, 20), ((48, 32), (64, 32))),
        ({"shortest": None, "canvas": (32, 40)}, (40, 32), ((40, 32), (40, 32))),
    ],
)
def test_a_canvas_is_that_of_the_task_or_the_next_multiple(fields, size, expected):
    task = dataclasses.replace(TASK, **fields)
    task.check_constants()
    assert task.sizes(size) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"canvas": (40, 50)}, r"task.canvas=\(40, 50\) must be multiples of task.multiple=8"),
        ({"canvas": 0}, "task.canvas=0 must be multiples"),
        ({"canvas": (800,)}, r"task.canvas=\(800,\) must be None, a whole number or a pair"),
        ({"canvas": ()}, "must be None, a whole number or a pair"),
        ({"canvas": [40, 48]}, "must be None, a whole number or a pair"),
        ({"canvas": "48"}, "task.canvas='48' must be None"),
        ({"canvas": 48.0}, "task.canvas=48.0 must be None"),
        ({"canvas": True}, "task.canvas=True must be None"),
        ({"antialias": "no"}, "task.antialias='no' must be True or False"),
        ({"canvas": (32, 48)}, "no room for images with sides up to task.shortest=40"),
        ({"canvas": 40}, "no room for images with sides up to task.longest=48"),
    ],
)
def test_a_canvas_that_cannot_hold_the_images_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        check(task=dataclasses.replace(TASK, **fields))


def test_an_image_larger_than_the_canvas_is_refused_before_it_is_predicted():
    task = dataclasses.replace(TASK, shortest=None, canvas=(32, 40))
    predictor = task.predictor(MODEL, normalize=UNIT)
    with pytest.raises(InputError, match="An image of 33 x 40 pixels .* larger than task.canv"):
        predictor.check(VARIABLES, jax.ShapeDtypeStruct((1, 33, 40, 3), jnp.uint8))
    assert predictor.check(VARIABLES, jax.ShapeDtypeStruct((1, 32, 40, 3), jnp.uint8)) == 3


SIZES = [(h, w) for h in (24, 29, 33, 38) for w in (26, 31, 40, 45, 50)]


@pytest.mark.parametrize(
    ("fields", "wrappers", "programs"),
    [
        ({}, (), 12),
        ({"canvas": (40, 56)}, (), 2),
        ({"canvas": 56}, (), 1),
        ({}, (PadToMultiple(32),), 4),
    ],
)
def test_a_folder_of_twenty_sizes_needs_as_many_programs_as_canvases(
    fields, wrappers, programs
):
    task = dataclasses.replace(TASK, shortest=None, **fields)
    predictor = task.predictor(MODEL, normalize=UNIT, wrappers=wrappers)
    shapes = []

    def traced(variables, images, sizes):
        """Notes each program that is traced, and returns its images."""
        shapes.append(images.shape)
        return images

    predictor._predict = traced
    for height, width in SIZES:
        image = np.full((1, height, width, 3), 255, np.uint8)
        found, size = predictor(VARIABLES, image)
        assert size == (height, width) and found.sum() == image.sum() / 255
    assert len(set(shapes)) == programs and len(shapes) == programs


def test_a_larger_canvas_changes_scores_a_little_and_finds_objects_in_the_image_alone():
    image = Discs()[3]["image"][None]
    plain, square = (
        dataclasses.replace(TASK, canvas=each).predictor(MODEL, normalize=UNIT)
        for each in (None, 64)
    )
    (one,), (other,) = (TASK.predict(each, VARIABLES, image) for each in (plain, square))
    assert len(one) == len(other) == TASK.most
    assert (other.boxes >= 0).all() and (other.boxes <= [48, 40, 48, 40]).all()
    np.testing.assert_allclose(one.scores, other.scores, atol=0.05)


def test_objects_come_back_at_the_size_of_their_image():
    masks = np.random.default_rng(0).random((1, 3, 4, 4), np.float32)
    boxes = np.array([[4, 8, 12, 24], [0, 0, 16, 32], [0, 0, 1, 1]], np.float32)
    found = Detections(
        boxes[None],
        np.array([[2, 1, 0]], np.int32),
        np.array([[0.9, 0.5, 0]], np.float32),
        np.array([[True, True, False]]),
        masks,
    )
    objects = objects_of(found, 0, on_canvas=(32, 16), size=(16, 40))
    np.testing.assert_allclose(objects.boxes, [[10, 4, 30, 12], [0, 0, 40, 16]])
    assert objects.classes.tolist() == [2, 1] and objects.size == (16, 40)
    assert objects.scores.tolist() == [np.float32(0.9), 0.5] and not objects.crowd.any()
    for i in range(2):
        wanted = paste_mask(masks[0, i], objects.boxes[i], (16, 40))
        np.testing.assert_array_equal(objects.mask(i), wanted)
        assert wanted.any()


def test_predicted_objects_do_not_depend_on_the_other_images_of_the_batch():
    predictor = TASK.predictor(MODEL, normalize=UNIT)
    images = np.stack([Discs()[i]["image"] for i in range(3)])
    # Untrained classes are about as likely as one another: every score is above 0.05.
    together = TASK.predict(predictor, VARIABLES, images)
    (alone,) = TASK.predict(predictor, VARIABLES, images[1:2])
    assert len(alone) == TASK.most and alone.masks and len(alone.masks) == TASK.most
    np.testing.assert_allclose(together[1].boxes, alone.boxes, atol=1e-4)
    np.testing.assert_array_equal(together[1].classes, alone.classes)
    assert set(alone.classes.tolist()) <= {1, 2}
    answer, maps = TASK.answer(predictor, VARIABLES, images[1], soft=False)
    np.testing.assert_array_equal(answer.boxes, alone.boxes)
    assert maps is None
    for part in ("'scores'", "'rpn_score'"):
        broken = jax.tree_util.tree_map_with_path(
            lambda path, each, part=part: each * np.nan if part in str(path) else each,
            VARIABLES,
        )
        assert any(np.isnan(each).any() for each in jax.tree.leaves(broken))
        with pytest.raises(RunError, match=r"not numbers \(NaN\)"):
            TASK.answer(predictor, broken, images[1], soft=False)


def test_the_predictor_says_the_number_of_classes_without_computing():
    predictor = TASK.predictor(MODEL, normalize=UNIT)
    shapes = jax.eval_shape(lambda: VARIABLES)
    image = jax.ShapeDtypeStruct((2, 33, 47, 3), np.uint8)
    assert predictor.check(shapes, image) == 3
    TASK.check_outputs(3, Discs(), who="TinyDetector")
    with pytest.raises(InputError, match="predicts 4 classes, but eval_data has 3"):
        TASK.check_outputs(4, Discs(), who="TinyDetector")
    with pytest.raises(InputError, match="not a class for each pixel"):
        predictor.classes(VARIABLES, np.zeros((1, 8, 8, 3), np.uint8))


def test_what_is_scored_names_the_classes_of_objects():
    assert TASK.scored(Discs()) == "objects of the classes disc, square"
    names, colours = TASK.legend(Discs())
    assert names == Discs.class_names and colours.shape == (3, 3)
    assert not re.search("background", TASK.scored(Discs()))

"""Objects in the cache: lossless and small; datasets without objects keep their caches."""

import dataclasses
import pathlib

import numpy as np
import pytest

from segjax.data.cityscapes import Cityscapes
from segjax.data.coco import COCO
from segjax.data.drawn_objects import MadeObjects, ObjectRule
from segjax.data.folder import Folder
from segjax.data.made_masks import MadeMask
from segjax.data.object_examples import check_objects
from segjax.data.object_records import decode_objects, encode_objects
from segjax.data.prepare import _folder_name
from segjax.data.source import Recipe, Source
from segjax.data.synthetic_objects import SyntheticObjects
from segjax.errors import InputError
from segjax.experiment import trajectory
from segjax.objects import ENTRIES
from segjax.settings import describe

IMAGE, MASK = pathlib.Path("a.jpg"), pathlib.Path("a.png")
DIGESTS = {IMAGE: "0" * 64, MASK: "1" * 64}
OBJECTS = MadeObjects(lambda contents, label: [], "objects", "where")
RULE = ObjectRule((1,))


@pytest.mark.parametrize("least, most", [(0, 0), (40, 40)])
def test_objects_come_back_as_they_were(least, most):
    example = SyntheticObjects(size=64, least=least, most=most)[0]
    back = decode_objects(encode_objects(example))
    assert back.keys() == {*ENTRIES}
    for key in ENTRIES:
        assert back[key].dtype == example[key].dtype and back[key].flags.c_contiguous
        np.testing.assert_array_equal(back[key], example[key])


def test_layers_of_a_photograph_take_a_few_kilobytes():
    example = SyntheticObjects(size=512, least=40)[0]
    assert example["instances"].nbytes > 1_000_000 > 50 * len(encode_objects(example))


def test_prepared_folders_without_objects_are_named_as_before_there_were_objects():
    """The names are those of segjax 2.1.0's caches before objects."""
    made = MadeMask(lambda contents, size: np.zeros(size, int), "key", "where")
    named = lambda recipe, *sources: _folder_name(sources, recipe, DIGESTS)
    mapped = Recipe("folder", 2, label_map=((255, 1),))
    deep = Recipe("coco", 3, channels=1, image_dtype="uint16")
    assert named(mapped, Source("a", IMAGE, MASK)) == "folder-12bda80ce86792800b72"
    assert named(deep, Source("a", IMAGE, made)) == "coco-4560e7bdd8104fbd7a3c"


def test_what_decides_the_objects_is_part_of_the_prepared_folder_s_name():
    rules = (RULE, ObjectRule((1, 2)), ObjectRule((1,), "drop"))
    recipes = [Recipe("folder", 3, objects=rule) for rule in (None, *rules)]
    sources = [Source("a", IMAGE, MASK, each) for each in (None, OBJECTS)]
    others = MadeObjects(OBJECTS.make, "other", "where")
    of_file = MadeObjects(OBJECTS.make, "objects", "where", (MASK,))
    names = [_folder_name([sources[0]], recipes[0], DIGESTS)]
    names += [_folder_name([sources[1]], recipe, DIGESTS) for recipe in recipes[1:]]
    names.append(_folder_name([Source("a", IMAGE, MASK, others)], recipes[1], DIGESTS))
    assert len({*names}) == len(names) == 5
    assert Source("a", IMAGE, MASK, of_file).files == (IMAGE, MASK)


NEW = ("objects", "classes", "thing_classes", "broken_objects")


@pytest.mark.parametrize(
    "data, new",
    [
        (Folder(class_names=("a", "b")), NEW),
        (Cityscapes(), NEW),
        (COCO(classes="panoptic"), ("objects", "broken_objects")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_from_before_there_were_objects_goes_on_and_not_with_objects(data, new):
    lines = [f"train_data.{line}" for line in describe(data).splitlines()]
    earlier = [line for line in lines if line.split(" = ")[0].split(".")[-1] not in new]
    assert len(earlier) < len(lines)
    assert trajectory("\n".join(lines)) == trajectory("\n".join(earlier))
    changed = dataclasses.replace(data, objects="x" if isinstance(data, Folder) else True)
    now = "\n".join(f"train_data.{line}" for line in describe(changed).splitlines())
    assert trajectory(now) != trajectory("\n".join(earlier))


WRONG = {
    "has no 'crowd': let the dataset give it, as n booleans": {"crowd": None},
    "has 'boxes' as int32 of shape (2, 4); it must be n 4 of floats": {
        "boxes": np.ones((2, 4), np.int32)
    },
    "has 'classes' as list; it must be n integers": {"classes": [1, 2]},
    "has 2 boxes, 1 classes, 2 instance_ids, 2 crowd: give": {"classes": np.ones(1, int)},
    "has 'instances' of shape (2, 2, 1) for an image of 2 x 3": {
        "instances": np.ones((2, 2, 1), np.uint16)
    },
    "has the instance id 4 twice": {"instance_ids": np.array([4, 4])},
    "has the instance id 0: number": {"instance_ids": np.array([0, 4])},
    "object 2 has the class id 7, which is not one of the dataset's things, 1, 2": {
        "classes": np.array([1, 7])
    },
    "object 2 has the box [2.0, 0.0, 2.0, 1.0], which has no area": {
        "boxes": np.array([[0, 0, 1, 1], [2, 0, 2, 1]], float)
    },
}


@pytest.mark.parametrize("message", WRONG)
def test_an_example_whose_objects_do_not_fit_is_named(message):
    example = {
        "name": "a",
        "image": np.zeros((2, 3, 3), np.uint8),
        "boxes": np.array([[0, 0, 1, 1], [1, 0, 3, 2]], np.float32),
        "classes": np.array([1, 2]),
        "instance_ids": np.array([1, 2]),
        "crowd": np.zeros(2, bool),
        "instances": np.array([[[1], [2], [2]], [[0], [2], [2]]], np.uint16),
    }
    check_objects(example, (1, 2))
    changed = {k: v for k, v in {**example, **WRONG[message]}.items() if v is not None}
    with pytest.raises(InputError) as error:
        check_objects(changed, (1, 2))
    assert "Example 'a'" in str(error.value) and message in str(error.value)

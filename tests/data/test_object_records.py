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
from segjax.data.object_records import decode_objects, encode_objects
from segjax.data.prepare import _folder_name
from segjax.data.source import Recipe, Source
from segjax.data.synthetic_objects import SyntheticObjects
from segjax.objects import ENTRIES
from segjax.settings import describe
from segjax.trajectory import trajectory

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

"""What COCO's JSON files must be, and what is said where they are not."""

import pathlib

import pytest

from segjax.data.coco_classes import PANOPTIC, STUFF, THINGS, VOC_CATEGORIES
from segjax.data.coco_file import coco_file, segments
from segjax.errors import InputError


def contents(**changes):
    return {
        "images": [
            {"id": 5, "file_name": "a.jpg", "height": 4, "width": 6},
            {"id": 9, "file_name": "far\\b.jpg"},
        ],
        "categories": [
            {"id": 90, "name": "tree"},
            {"id": 3, "name": "car", "color": [1, 2, 3]},
        ],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 3},
            {"id": 2, "image_id": 9, "category_id": 90},
        ],
        **changes,
    }


def read(**changes):
    return coco_file(pathlib.Path("all.json"), contents(**changes))


def test_annotations_stand_at_their_images_in_the_files_order():
    first, second = read().images
    assert (first.file, first.size, first.annotations) == ("a.jpg", (4, 6), [])
    assert (second.file, second.size) == ("far/b.jpg", None)
    assert [annotation["id"] for annotation in second.annotations] == [1, 2]


def test_categories_are_in_the_order_of_their_ids_which_may_have_gaps():
    categories = read().categories
    assert [(c.id, c.name, c.colour) for c in categories.values()] == [
        (3, "car", (1, 2, 3)),
        (90, "tree", None),
    ]


def test_an_image_may_have_an_address_instead_of_a_file_name():
    url = "http://images.cocodataset.org/train2017/a%20b.jpg"
    (image,) = read(images=[{"id": 9, "coco_url": url}]).images
    assert image.file == "train2017/a b.jpg"


def test_roboflows_first_category_is_the_group_of_the_others_unless_an_object_has_it():
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "cells", "supercategory": "cells"},
    ]
    found = read(categories=categories, annotations=[])
    assert [*found.categories] == [1] and found.dropped == ("cells",)
    categories[1]["name"] = "cell"
    used = [{"id": 1, "image_id": 5, "category_id": 0}]
    assert [*read(categories=categories, annotations=used).categories] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": None}, "not a COCO file: it needs the lists `images`"),
        (
            {"categories": [{"id": 3, "name": "car"}, {"id": 3, "name": "bus"}]},
            "two categories with the id 3: 'car' and 'bus'",
        ),
        (
            {"categories": [{"id": 3, "name": "car"}, {"id": 90, "name": "car"}]},
            "two categories 'car', with the ids 3 and 90",
        ),
        ({"categories": [{"name": "car"}]}, "the category .*'car'.* without an `id`"),
        (
            {"images": [{"id": 9, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}]},
            "two images with the id 9: 'a.jpg' and 'b.jpg'",
        ),
        (
            {"images": [{"id": 9, "file_name": "a.jpg"}, {"id": 5, "file_name": "./a.jpg"}]},
            "has 'a.jpg' twice, as the images 9 and 5",
        ),
        ({"images": [{"id": 9}]}, "the image 9 without a `file_name`"),
        (
            {"annotations": [{"id": 17, "image_id": 6, "category_id": 3}]},
            "annotation 17 belongs to the image 6, which `images` does not list",
        ),
        (
            {"annotations": [{"id": 17, "image_id": 5, "category_id": 4}]},
            r"annotation 17 has the category 4, which .* \(3 car, 90 tree\)",
        ),
        (
            {"annotations": [{"id": 17, "image_id": 5, "segments_info": [{"category_id": 4}]}]},
            "annotation 17 has the category 4",
        ),
        (
            {"annotations": [{"id": 17, "image_id": [5], "category_id": 3}]},
            r"annotation 17 belongs to the image \[5\]",
        ),
        (
            {"annotations": [{"id": 17, "image_id": 5, "category_id": [3]}]},
            r"annotation 17 has the category \[3\]",
        ),
        (
            {"annotations": [{"id": 17, "image_id": 5, "segments_info": None}]},
            "annotation 17 has segments_info=None, not a list of segments",
        ),
        (
            {"annotations": [{"id": 17, "image_id": 5, "segments_info": ["x"]}]},
            r"annotation 17 has segments_info=\['x'\], not a list of segments",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named_with_the_file_and_the_remedy(changes, words):
    with pytest.raises(InputError, match=words):
        read(**changes)


def test_groups_of_categories_may_be_anything():
    categories = [
        {"id": 3, "name": "car", "supercategory": ["y"]},
        {"id": 90, "name": ["tree"], "supercategory": {}},
    ]
    assert [c.name for c in read(categories=categories).categories.values()] == [
        "car",
        "['tree']",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "annotation 4 has no `segments_info`"),
        ({"segments_info": [{"category_id": 3}]}, "the segment {'category_id': 3} without an"),
        ({"segments_info": [{"id": [3]}]}, r"the segment {'id': \[3\]} without an `id`"),
    ],
)
def test_segments_need_an_id(changes, words):
    with pytest.raises(InputError, match=words):
        segments(pathlib.Path("all.json"), {"id": 4, **changes})


def test_the_tables_of_classes_have_cocos_counts_and_vocs_order():
    assert (len(THINGS), len(STUFF), len(PANOPTIC)) == (80, 91, 133)
    assert THINGS[90] == "toothbrush" and STUFF[182] == "wood" and PANOPTIC[200] == "rug-merged"
    assert [THINGS.get(c) for c in VOC_CATEGORIES[:3]] == [None, "airplane", "bicycle"]


def test_the_tables_are_those_of_the_published_files(real_data):
    import json

    panoptic = json.loads((real_data / "coco_panoptic/panoptic_examples.json").read_text())
    assert PANOPTIC == {c["id"]: c["name"] for c in panoptic["categories"]}
    assert {n for n in PANOPTIC if n in THINGS} == {
        c["id"] for c in panoptic["categories"] if c["isthing"]
    }

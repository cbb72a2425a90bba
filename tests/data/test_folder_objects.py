"""Objects of a `Folder`: maps of ids, and a COCO file; made up, real and converted."""

import json
import pathlib
import runpy
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.convert.annotated import Options, Size
from segjax.convert.conversion import convert
from segjax.convert.request import Request
from segjax.convert.sources import read_source
from segjax.data.folder import Folder
from segjax.errors import InputError

# pycocotools 2.0.11 hands NumPy 2 arrays in NumPy 1's way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FILES = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "convert" / "labelme_files.py"))
NAMES = ("background", "cell", "dust")
IDS = [[0, 300, 300, 7, 7, 0]] * 2
LABEL = [[0, 1, 255, 2, 2, 0]] * 2


def save(path, pixels, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype)).save(path)


def write(root, ids=IDS, label=LABEL, *, name="a", ids_file="instances/{}.png"):
    save(root / f"images/{name}.png", np.zeros((*np.shape(label), 3)))
    save(root / f"masks/{name}.png", label)
    save(root / ids_file.format(name), ids, np.uint16)
    return str(root)


def folder(directory, **fields):
    return Folder(
        **{"directory": str(directory), "class_names": NAMES, "objects": "instances"} | fields
    )


def mask_of(example, place):
    return (example["instances"] == example["instance_ids"][place]).any(-1)


@pytest.mark.parametrize(
    "objects, ids_file",
    [
        ("instances", "instances/{}.png"),
        ("instances/{stem}.png", "instances/{}.png"),
        ("objects/{stem}_ids.tif", "objects/{}_ids.tif"),
        ("images/{stem}_ids.png", "images/{}_ids.png"),
    ],
)
def test_objects_of_a_map_have_its_ids_and_the_class_of_their_pixels(
    objects, ids_file, tmp_path
):
    write(tmp_path, ids_file=ids_file)
    (example,) = dataset = folder(tmp_path, objects=objects)
    assert dataset.things == (1, 2)
    assert example["instance_ids"].tolist() == [7, 300]
    assert example["classes"].tolist() == [2, 1] and not example["crowd"].any()
    assert example["boxes"].tolist() == [[3, 0, 5, 2], [1, 0, 3, 2]]
    assert example["instances"][..., 0].tolist() == IDS and example["label"].tolist() == LABEL


def test_a_folder_without_masks_takes_all_objects_for_its_one_class(tmp_path):
    write(tmp_path)
    (example,) = folder(
        tmp_path, class_names=NAMES[:2], masks="instances", label_map=(("nonzero", 1),)
    )
    assert example["classes"].tolist() == [1, 1]
    assert example["label"].tolist() == [[0, 1, 1, 1, 1, 0]] * 2


def test_objects_of_classes_that_are_not_things_are_not_objects(tmp_path):
    write(tmp_path)
    (example,) = dataset = folder(tmp_path, thing_classes=("dust",))
    assert dataset.things == (2,) and example["instance_ids"].tolist() == [7]
    assert set(np.unique(example["instances"])) == {0, 7} and example["label"].max() == 255


def test_objects_follow_the_splits_of_a_folder(tmp_path):
    for side, value in (("train", 5), ("val", 6)):
        for kind in ("images", "masks", "instances"):
            save(tmp_path / kind / side / "a.png", [[value if kind == "instances" else 1]])
    for side, value in (("train", 5), ("val", 6)):
        (example,) = folder(tmp_path, split=side)
        assert example["instance_ids"].tolist() == [value]


FAULTS = {
    "object 7 has pixels of the classes 1, 2 in its label": [[0, 0, 0, 1, 2, 0]] * 2,
    "object 7 has no pixel with a class: all of its label is 255": [[0, 1, 1, 255, 255, 0]] * 2,
    "object 7 has the class id 0, but classes of objects have ids 1, 2": [[1] * 3 + [0] * 3]
    * 2,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_object_of_a_map_is_refused_with_file_and_id_or_left_out(
    fault, tmp_path, capsys
):
    label = np.array(FAULTS[fault])
    label[:, 1:3] = 1
    write(tmp_path, label=label)
    with pytest.raises(InputError) as error:
        folder(tmp_path).prepare()
    line = f"{tmp_path / 'instances/a.png'}, {fault}"
    assert str(error.value) == f"{line}: correct it, delete it, or set broken_objects='drop'."
    (example,) = folder(tmp_path, broken_objects="drop")
    assert example["instance_ids"].tolist() == [300]
    assert f"1 object is left out, the first because {line}." in capsys.readouterr().err


def coco(root, annotations, *, file="images/a.png", names=NAMES):
    contents = {
        "images": [{"id": 3, "file_name": file, "height": 2, "width": 6}],
        "categories": [{"id": 10 + i, "name": name} for i, name in enumerate(names)],
        "annotations": [{"image_id": 3, **each} for each in annotations],
    }
    (root / "instances.json").write_text(json.dumps(contents))


def rectangle(number, category, left, right, **more):
    outline = [[left, 0, right, 0, right, 2, left, 2]]
    return {"id": number, "category_id": category, "segmentation": outline, **more}


@pytest.mark.parametrize("file", ["images/a.png", "a.png"])
def test_objects_of_a_coco_file_may_overlap_and_its_categories_are_known_by_name(
    file, tmp_path
):
    write(tmp_path)
    objects = [rectangle(1, 12, 0, 3), rectangle(2, 11, 2, 5, iscrowd=1)]
    coco(tmp_path, objects, file=file)
    (example,) = folder(tmp_path, objects="instances.json")
    assert example["classes"].tolist() == [2, 1] and example["crowd"].tolist() == [False, True]
    assert example["boxes"].tolist() == [[0, 0, 3, 2], [2, 0, 5, 2]]
    assert example["instances"].shape == (2, 6, 2) and mask_of(example, 1)[0, 2]
    assert mask_of(example, 0)[0].tolist() == [1, 1, 1, 0, 0, 0]
    coco(tmp_path, [{**each, "instance_id": 40 + each["id"]} for each in objects], file=file)
    (example,) = folder(tmp_path, objects="instances.json", thing_classes=("cell",))
    assert example["instance_ids"].tolist() == [42] and example["classes"].tolist() == [1]


def test_what_a_coco_file_lacks_or_has_twice_is_named(tmp_path):
    write(tmp_path)
    path = tmp_path / "instances.json"
    with pytest.raises(InputError, match=r"objects='instances\.json', but .* is missing"):
        folder(tmp_path, objects="instances.json").prepare()
    coco(tmp_path, [], file="images/b.png")
    with pytest.raises(InputError, match=r"instances\.json does not list the image .*a\.png: "):
        folder(tmp_path, objects="instances.json").prepare()
    coco(tmp_path, [rectangle(1, 12, 0, 3)], names=("background", "cell", "hair"))
    with pytest.raises(InputError, match=r"category 'hair', which is not in class_names: add"):
        folder(tmp_path, objects="instances.json").prepare()
    twice = [rectangle(i, 11, i, i + 2, instance_id=9) for i in (1, 2)]
    coco(tmp_path, twice)
    with pytest.raises(InputError, match="annotation 2 has an id that an earlier object"):
        folder(tmp_path, objects="instances.json").prepare()
    (example,) = folder(tmp_path, objects="instances.json", broken_objects="drop")
    assert example["instance_ids"].tolist() == [9] and mask_of(example, 0)[0, 1:3].all()
    path.write_text('{"images": []}')
    with pytest.raises(InputError, match=r"instances\.json is not a COCO file"):
        folder(tmp_path, objects="instances.json").prepare()


def test_maps_that_do_not_fit_their_images_are_named(tmp_path):
    write(tmp_path)
    path = tmp_path / "instances/a.png"
    save(path, [[1, 2]])
    with pytest.raises(InputError, match=r"a\.png is 2x1 pixels, but its image is 6x2"):
        folder(tmp_path).prepare()
    path.unlink()
    with pytest.raises(InputError, match=r"images/a\.png has no map of objects .*instances/a"):
        folder(tmp_path).prepare()
    np.save(tmp_path / "instances/a.npy", -np.ones((2, 6), int))
    with pytest.raises(InputError, match=r"a\.npy has the object id -1: number objects from 1"):
        folder(tmp_path, objects="instances/{stem}.npy").prepare()
    pages = [Image.fromarray(np.array(each, np.uint8)) for each in (LABEL, LABEL)]
    for name in ("images/a.tif", "masks/a.tif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    for name in ("images/a.png", "masks/a.png"):
        (tmp_path / name).unlink()
    save(path, IDS, np.uint16)
    with pytest.raises(InputError, match=r"a\.tif holds 2 images, but .*a\.png has the"):
        folder(tmp_path).prepare()


def test_ids_above_16_bits_are_numbered_anew(tmp_path):
    ids = np.array(IDS, np.uint32)
    ids[ids == 300] = 70000
    write(tmp_path)
    Image.fromarray(ids.astype(np.int32)).save(tmp_path / "instances/a.tif")
    (example,) = folder(tmp_path, objects="instances/{stem}.tif")
    assert example["instance_ids"].tolist() == [1, 2] and example["classes"].tolist() == [2, 1]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"objects": 3}, "Folder has objects=3: write objects='instances'."),
        ({"objects": "o/{name}.png"}, "Folder has objects='o/{name}.png': write {stem}"),
        ({"thing_classes": ("hair",)}, "'hair' in thing_classes, which is not in class_names"),
        ({"thing_classes": ()}, r"Folder has thing_classes=(): write"),
        ({"objects": None, "thing_classes": ("cell",)}, "but no objects: set objects="),
        ({"objects": None, "broken_objects": "drop"}, "but its examples have no objects"),
        ({"broken_objects": "skip"}, "write one of 'refuse', 'drop'"),
        ({"class_names": ("cell",)}, "the class 'cell' alone, which is the background"),
        ({"planes": True}, "a mask for each class: objects need masks of class ids"),
    ],
)
def test_fields_that_do_not_fit_objects_are_named(fields, message):
    with pytest.raises(InputError) as error:
        folder("x", **fields)
    assert message in str(error.value)


def test_objects_have_a_prepared_folder_of_their_own_that_a_second_run_finds(tmp_path):
    write(tmp_path)
    plain, first = folder(tmp_path, objects=None), folder(tmp_path)
    assert len(first[0]) == 8 and len(plain[0]) == 3
    assert first.prepared_folder != plain.prepared_folder
    assert folder(tmp_path).prepared_folder == first.prepared_folder
    other = folder(tmp_path, thing_classes=("dust",))
    assert other.prepared_folder != first.prepared_folder
    save(tmp_path / "instances/a.png", [[0, 1, 1, 2, 2, 0]] * 2, np.uint16)
    assert folder(tmp_path)[0]["instance_ids"].tolist() == [1, 2]


def drawn(image, classes):
    """The classes of an image's objects, their whole masks, and what is visible of these."""
    with Image.open(image.image) as picture:
        size = Size(picture.height, picture.width)
    owners, whole = np.zeros(size, int), {}
    for region in image.regions:
        mask, is_object = region.mask(size), region.class_name in classes
        _, before = whole.get(region.instance, (None, False))
        if is_object:
            whole[region.instance] = classes.index(region.class_name), before | mask
        owners[mask] = 1 + [*whole].index(region.instance) if is_object else 0
    found, masks = zip(*whole.values(), strict=True)
    return [*found], [*masks], [owners == i for i in range(1, len(masks) + 1)]


@pytest.mark.parametrize("source", ["labelme/semantic_segmentation/data_annotated", "eiseg"])
def test_a_converted_folder_has_the_objects_of_its_source(source, real_data, tmp_path):
    out = tmp_path / "out"
    read = read_source(real_data / source, format_name=None, options=Options(), out=out)
    summary = convert(Request((real_data / source,), out))
    names = tuple(summary["classes"])
    total = 0
    for objects in ("instances.json", "instances"):
        examples = [*folder(out, class_names=names, objects=objects)]
        images = sorted(read.annotations.images, key=lambda image: image.name)
        assert [example["name"] for example in examples] == [image.name for image in images]
        for example, image in zip(examples, images, strict=True):
            classes, whole, visible = drawn(image, names)
            assert example["classes"].tolist() == classes
            # A map of ids has what later regions leave visible, the COCO file has all.
            for place, mask in enumerate(visible if objects == "instances" else whole):
                np.testing.assert_array_equal(mask_of(example, place), mask)
            total += len(classes)
    assert total == 2 * summary["objects"] == 2 * 16


def test_nuclei_of_dsb_2018_are_the_ids_of_its_files(real_data, tmp_path):
    chosen = sorted((real_data / "dsb2018/instances").iterdir())[:10]
    for path in chosen:
        for kind in ("images", "instances"):
            (tmp_path / kind).mkdir(exist_ok=True)
            shutil.copyfile(
                real_data / "dsb2018" / kind / path.name, tmp_path / kind / path.name
            )
    nuclei = {"class_names": ("background", "nucleus"), "label_map": (("nonzero", 1),)}
    for example, path in zip(
        folder(tmp_path, masks="instances", **nuclei), chosen, strict=True
    ):
        with Image.open(path) as image:
            ids = np.asarray(image)
        np.testing.assert_array_equal(example["instances"][..., 0], ids)
        assert example["instance_ids"].tolist() == np.unique(ids)[1:].tolist()
        assert (example["classes"] == 1).all() and len(example["boxes"]) > 0
        np.testing.assert_array_equal(example["label"], ids > 0)


def test_shapes_of_one_group_become_one_object_and_their_overlaps_stay_in_the_coco_file(
    tmp_path,
):
    square = lambda x: [[x, 2], [x + 3, 2], [x + 3, 7], [x, 7]]
    shape = FILES["shape"]
    shapes = [
        shape("car", square(0), group_id=4),
        shape("bus", square(2)),
        shape("car", square(9), group_id=4),
    ]
    FILES["save_labelme"](tmp_path / "source", "a", shapes)
    _, out = FILES["converted"](tmp_path / "source")
    names = ("background", "bus", "car")
    seen, whole = (
        Folder(directory=str(out), class_names=names, objects=objects)[0]
        for objects in ("instances", "instances.json")
    )
    for example in (seen, whole):
        assert sorted(example["classes"].tolist()) == [1, 2]
    car = whole["classes"].tolist().index(2)
    columns = np.flatnonzero(mask_of(whole, car).any(0)).tolist()
    assert columns == [0, 1, 2, 3, 9, 10, 11, 12] and whole["boxes"][car, 0] == 0
    car = seen["classes"].tolist().index(2)
    assert np.flatnonzero(mask_of(seen, car).any(0)).tolist() == [0, 1, 9, 10, 11, 12]
    assert seen["instances"].shape[-1] == 1 and whole["instances"].shape[-1] == 2

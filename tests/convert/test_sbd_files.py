"""SBD's MATLAB files: classes of pixels, objects, and lists of splits."""

import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from segjax.convert.formats import table
from segjax.convert.formats.sbd import SBD_FILES
from segjax.convert.source_files import FolderFiles
from segjax.errors import InputError

PAINTING = runpy.run_path(str(pathlib.Path(__file__).with_name("painting.py")))
read, painted = PAINTING["read"], PAINTING["painted"]


def write(root, stem, classes, objects=None, categories=()):
    """An image of SBD, as MATLAB writes its structures."""
    classes = np.array([classes], np.uint8)
    for folder in ("img", "cls", "inst"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", classes.shape[::-1]).save(root / "img" / f"{stem}.jpg")
    savemat(root / "cls" / f"{stem}.mat", {"GTcls": {"Segmentation": classes}})
    if objects is not None:
        fields = {
            "Segmentation": np.array([objects], np.uint8),
            "Categories": np.array(categories, np.uint8)[:, None],
        }
        savemat(root / "inst" / f"{stem}.mat", {"GTinst": fields})


def test_classes_are_vocs_and_objects_are_kept(tmp_path):
    root = tmp_path / "benchmark_RELEASE" / "dataset"
    write(root, "2008_1", [0, 15, 15, 20], objects=[0, 1, 2, 3], categories=[15, 15, 20])
    write(root, "2008_2", [0, 1])
    (root / "train.txt").write_text("2008_1\n")
    (root / "val.txt").write_text("2008_2\n")
    found = read(SBD_FILES, tmp_path)
    assert found.class_names[0] == "aeroplane" and len(found.class_names) == 20
    one, two = found.images
    assert painted(found, one).tolist() == [[0, 15, 15, 20]]
    assert painted(found, two).tolist() == [[0, 1]]
    assert (one.split, two.split) == ("train", "val")
    assert [(r.class_name, r.instance) for r in one.regions] == [
        ("person", 1),
        ("person", 2),
        ("tvmonitor", 3),
    ]
    assert len(two.regions) == 0


def test_the_folder_gives_the_format_away(tmp_path):
    write(tmp_path, "2008_1", [0])
    assert table.recognized(FolderFiles(tmp_path)) == (SBD_FILES, "SBD's cls/2008_1.mat")


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"no MATLAB file", "is not a MATLAB file of SBD with GTcls"),
        ({"other": 1}, "is not a MATLAB file of SBD with GTcls"),
        ({"GTcls": {"Boundaries": 1}}, r"has no GTcls\.Segmentation"),
        ({"GTcls": {"Segmentation": "map"}}, "has a .*not a map of integers"),
    ],
    ids=str,
)
def test_a_broken_file_is_named(contents, words, tmp_path):
    write(tmp_path, "2008_1", [0])
    path = tmp_path / "cls" / "2008_1.mat"
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    else:
        savemat(path, contents)
    found = read(SBD_FILES, tmp_path)
    with pytest.raises(InputError, match=rf"2008_1\.mat {words}"):
        painted(found, found.images[0])


def test_objects_without_a_category_and_images_that_are_missing_are_named(tmp_path):
    write(tmp_path, "2008_1", [0, 1], objects=[1, 2], categories=[15])
    found = read(SBD_FILES, tmp_path)
    with pytest.raises(InputError, match="shows the object 2, but its Categories has 1"):
        len(found.images[0].regions)
    write(tmp_path, "2008_2", [0, 1], objects=[1, 1], categories=[21])
    found = read(SBD_FILES, tmp_path)
    with pytest.raises(InputError, match="has the category 21, but VOC's are 1 to 20"):
        len(found.images[1].regions)
    (tmp_path / "img" / "2008_1.jpg").unlink()
    found = read(SBD_FILES, tmp_path)
    assert [image.name for image in found.images] == ["img/2008_2"]
    assert "img/2008_1.jpg', which is not in" in found.problems[0]

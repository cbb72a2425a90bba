"""An audit counts objects by class, image and size, and finds those that cannot be used."""

import json

import numpy as np
from PIL import Image

from segjax.audit.audit import audit_datasets
from segjax.audit.record import audit_json
from segjax.data.folder import Folder
from segjax.data.synthetic_objects import SyntheticObjects

NAMES = ("background", "cell", "dust")


def save(root, name, ids, label):
    rng = np.random.default_rng(len(name) + int(np.sum(label)))
    for folder, pixels, dtype in (
        ("images", rng.integers(0, 255, (*np.shape(label), 3)), np.uint8),
        ("masks", label, np.uint8),
        ("instances", ids, np.uint16),
    ):
        (root / folder).mkdir(exist_ok=True)
        Image.fromarray(np.asarray(pixels, dtype)).save(root / folder / f"{name}.png")


def folder(root, **fields):
    return Folder(directory=str(root), class_names=NAMES, objects="instances", **fields)


def test_objects_are_counted_by_class_image_and_size():
    data = SyntheticObjects("val", size=64, count=6, most=9)
    found = audit_datasets({"train": data})
    counts = found.datasets["train"].objects
    numbers = [len(example["boxes"]) for example in data]
    classes = np.concatenate([example["classes"] for example in data])
    assert counts.total == sum(numbers) and counts.most == max(numbers)
    assert counts.classes == tuple(np.bincount(classes, minlength=3).tolist())
    areas = [
        (example["instances"] == i).any(-1).sum()
        for example in data
        for i in example["instance_ids"]
    ]
    small = sum(area < 32**2 for area in areas)
    assert counts.sizes == {"small": small, "medium": len(areas) - small, "large": 0}
    text = str(found)
    assert f"objects{' ' * 9}" in text and f"up to {max(numbers)}; " in text
    assert text.split("class  ")[1].splitlines()[0].endswith("objects")


def test_a_broken_object_is_an_error_and_a_dropped_one_a_warning(tmp_path):
    save(tmp_path, "a", [[0, 300, 7, 7]] * 2, [[0, 1, 1, 2]] * 2)
    save(tmp_path, "bb", [[0, 4, 0, 0]] * 2, [[1, 2, 2, 1]] * 2)
    found = audit_datasets({"train": folder(tmp_path)})
    (finding,) = [each for each in found.findings if "object" in each.kind]
    path = tmp_path / "instances/a.png"
    line = f"{path}, object 7 has pixels of the classes 1, 2 in its label"
    assert finding.kind == "broken_object" and finding.severity == "error"
    assert finding.files == (str(path),) and finding.text.startswith(f"{line}: correct it")
    counts = found.datasets["train"].objects
    assert (
        counts.total == 2
        and counts.classes == (0, 1, 1)
        and counts.images_of_class == (0, 1, 1)
    )
    found = audit_datasets({"train": folder(tmp_path, broken_objects="drop")})
    (finding,) = [each for each in found.findings if "object" in each.kind]
    assert finding.kind == "dropped_object" and finding.severity == "warning"
    assert finding.text == f"{line}, so it is left out."


def test_objects_that_cannot_be_read_are_a_finding_and_others_are_still_counted(tmp_path):
    save(tmp_path, "a", [[0, 300, 7, 7]] * 2, [[0, 1, 2, 2]] * 2)
    save(tmp_path, "bb", [[0, 4]], [[1, 2, 2, 1]] * 2)
    found = audit_datasets({"train": folder(tmp_path)})
    (finding,) = [each for each in found.findings if each.kind == "unreadable"]
    assert "bb.png is 2x1 pixels, but its image is 4x2" in finding.text
    assert found.datasets["train"].objects.total == 2


def test_the_record_has_objects_and_null_without_them(tmp_path):
    save(tmp_path, "a", [[0, 300, 7, 7]] * 2, [[0, 1, 2, 2]] * 2)
    plain = Folder(directory=str(tmp_path), class_names=NAMES)
    record = json.loads(audit_json(audit_datasets({"one": folder(tmp_path), "two": plain})))
    assert record["datasets"]["two"]["objects"] is None
    assert record["datasets"]["one"]["objects"] == {
        "objects": 2,
        "crowds": 0,
        "images": 1,
        "most_of_an_image": 2,
        "sizes": {"small": 2, "medium": 0, "large": 0},
        "of_class": [0, 1, 1],
        "images_of_class": [0, 1, 1],
    }

"""Each fault of a folder is found, though others are there, with file, value and remedy."""

import dataclasses
import json
import pathlib
import runpy

import numpy as np
import pytest
from PIL import Image

from segjax.audit.audit import Audit, audit_datasets
from segjax.audit.findings import KINDS, Finding
from segjax.audit.page import audit_page
from segjax.audit.record import audit_json, record
from segjax.audit.text import brief_text
from segjax.data.folder import Folder
from segjax.data.made_masks import MadeMask
from segjax.data.prepare import FileDataset
from segjax.data.source import Recipe, Source

NEAR = runpy.run_path(str(pathlib.Path(__file__).with_name("faulty_folder.py")))
NAMES, picture, mask, save = (NEAR[name] for name in ("NAMES", "picture", "mask", "save"))
sound, datasets, faulty = (NEAR[name] for name in ("sound", "datasets", "faulty"))


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Audit:
    return audit_datasets(faulty(tmp_path_factory.mktemp("faulty")), name="faulty")


def the(found: Audit, kind: str):
    (finding,) = [each for each in found.findings if each.kind == kind]
    return finding


EXPECTED = {
    "missing_mask": ("images/train/no_mask.png", "add the mask, or leave the image out"),
    "missing_image": ("masks/train/no_image.png", "add the image, or leave the mask out"),
    "sizes_differ": ("masks/train/small_mask.png", "is 32x32 pixels", "mend the pair"),
    "unknown_ids": ("masks/train/strange.png", "label id 7", "((7, 255),)", "96 of id 7"),
    "copy_across": ("train: 000, val: again", "Keep it in one of the splits"),
    "near_copy_across": ("train: 001, val: near", "Keep them in one split"),
    "copy_labels_differ": ("002, twin", "keep the right mask"),
    "all_ignored": ("empty_mask", "every pixel of the mask is 255", "leave the image out"),
    "one_class": ("one_class", "1 'road'", "the mask is empty"),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_finding_names_file_value_and_remedy(found, kind):
    text = the(found, kind).text
    for part in EXPECTED[kind]:
        assert part in text


def test_every_broken_file_is_found(found):
    broken = {pathlib.Path(f.files[0]).name for f in found.findings if f.kind == "unreadable"}
    assert broken == {"broken.png", "nothing.png"}


def test_the_sound_examples_are_counted_all_the_same(found):
    held = found.datasets["train"]
    assert (held.read, held.total) == (7, 12)
    assert held.unknown == {7: 96}
    total = held.ignored + sum(held.counts.pixels) + 96
    assert total == held.pixels == 7 * 48 * 48


def test_ids_and_pixels_of_an_unknown_id_are_values_for_programs(found):
    assert the(found, "unknown_ids").values == {"ids": {"7": 96}}


def test_a_sound_folder_has_no_findings(tmp_path):
    sound(tmp_path)
    sound(tmp_path, "val", 2, first=50)
    found = audit_datasets(datasets(tmp_path))
    assert not found.findings
    assert "Nothing is wrong" in str(found)


def test_a_missing_folder_does_not_keep_the_other_dataset_from_being_read(tmp_path):
    sound(tmp_path)
    good = datasets(tmp_path)["train"]
    found = audit_datasets({"train": good, "val": Folder(directory="no", class_names=NAMES)})
    assert the(found, "dataset").datasets == ("val",)
    assert found.datasets["train"].read == 3


def test_a_fault_of_a_folder_that_both_datasets_share_is_counted_once(tmp_path):
    for i in range(8):
        save(tmp_path, ".", f"{i}", picture(i), mask(i))
    save(tmp_path, ".", "no_mask", picture(20))
    save(tmp_path, ".", "strange", picture(21), np.where(mask() == 2, 7, mask()))
    train, val = (
        Folder(split, directory=str(tmp_path), class_names=NAMES, held_out=0.5)
        for split in ("train", "val")
    )
    found = audit_datasets({"train": train, "val": val})
    assert found.errors == 2, str(found)
    assert the(found, "missing_mask").datasets == ("train", "val")
    assert len(the(found, "unknown_ids").datasets) == 1
    totals = [held.total for held in found.datasets.values()]
    assert sum(totals) == 9 and min(totals) > 0


def test_masks_of_one_name_in_two_splits_are_two_findings(tmp_path):
    for i, split in enumerate(("train", "val")):
        sound(tmp_path, split, first=10 * i)
        save(tmp_path, split, "same", picture(30 + i), mask() * 0 + 1)
    kinds = [(each.kind, each.datasets) for each in audit_datasets(datasets(tmp_path)).findings]
    assert kinds == [("one_class", ("train",)), ("one_class", ("val",))]


def test_ids_that_count_from_1_have_a_label_map_that_reads_them(tmp_path):
    for i in range(2):
        save(tmp_path, "train", f"{i}", picture(i), np.where(mask() == 255, 0, mask() + 1))
    data = Folder("train", directory=str(tmp_path), class_names=NAMES)
    first = audit_datasets({"train": data}).findings[0]
    written = "((0, 255), *((i + 1, i) for i in range(3)))"
    assert first.kind == "unknown_ids" and f"label_map={written}" in first.text
    mended = Folder(
        "train", directory=str(tmp_path), class_names=NAMES, label_map=eval(written)
    )
    assert not audit_datasets({"train": mended}).errors


@dataclasses.dataclass(frozen=True)
class Made(FileDataset):
    """Images whose labels a function makes, of which the second has an unknown id."""

    directory: str
    class_names = NAMES
    palette = np.zeros((256, 3), np.uint8)

    def _recipe(self):
        return Recipe("made", num_classes=3)

    def _sources(self):
        make = lambda i: lambda contents, size: np.full(size, 5 * i, np.int64)
        paths = sorted(pathlib.Path(self.directory).glob("*.png"))
        made = [MadeMask(make(i), str(i), f"annotation {i}") for i in range(len(paths))]
        return [Source(p.stem, p, mask) for p, mask in zip(paths, made, strict=True)]


def test_labels_that_a_function_makes_are_audited_too(tmp_path):
    for i in range(2):
        Image.fromarray(picture(i)).save(tmp_path / f"{i}.png")
    found = audit_datasets({"train": Made(str(tmp_path))})
    assert "annotation 1 has the label id 5" in the(found, "unreadable").text
    assert found.datasets["train"].counts.pixels == (48 * 48, 0, 0)
    assert "annotation 1" in audit_page(found)


def test_where_no_dataset_can_be_read_the_page_says_so():
    found = audit_datasets({"train": Folder(directory="no", class_names=NAMES)})
    assert found.errors == 1 and not found.datasets
    assert "which is not a folder" in audit_page(found)


def test_an_absent_class_is_a_warning_and_a_wholly_ignored_dataset_an_error(tmp_path):
    label = mask()
    label[label == 2] = 0
    save(tmp_path, "train", "a", picture(0), label)
    save(tmp_path, "val", "b", picture(1), np.full((48, 48), 255, np.uint8))
    found = audit_datasets(datasets(tmp_path))
    absent = the(found, "absent_class")
    assert absent.severity == "warning" and "2 'car'" in absent.text
    assert absent.datasets == ("train",)
    assert the(found, "nothing_counts").severity == "error"


def test_masks_that_store_white_in_two_ways_are_found(tmp_path):
    for name, white in (("a", 1), ("b", 255)):
        label = np.zeros((48, 48), np.uint8)
        label[10:20] = white
        save(tmp_path, "train", name, picture(white), label)
    data = Folder("train", directory=str(tmp_path), class_names=("no", "yes"))
    assert "nonzero" in the(audit_datasets({"train": data}), "mixed_whites").text


def test_of_planes_every_broken_mask_is_found_and_empty_ones_too(tmp_path):
    for k, folder in enumerate(("disc", "cup")):
        (tmp_path / folder).mkdir()
        for i, name in enumerate("abc"):
            plane = np.zeros((48, 48), np.uint8)
            plane[: 10 * k + 5] = i > 0
            Image.fromarray(plane).save(tmp_path / folder / f"{name}.png")
        (tmp_path / folder / "c.png").write_bytes(b"broken")
    (tmp_path / "images").mkdir()
    for i, name in enumerate("abc"):
        Image.fromarray(picture(i)).save(tmp_path / "images" / f"{name}.png")
    data = Folder(directory=str(tmp_path), class_names=("disc", "cup"), masks=("disc", "cup"))
    found = audit_datasets({"train": data})
    broken = [f.files[0] for f in found.findings if f.kind == "unreadable"]
    assert [pathlib.Path(path).parent.name for path in broken] == ["disc", "cup"]
    assert the(found, "no_class").examples == ("a",)
    assert found.datasets["train"].counts.pixels == (5 * 48, 15 * 48)
    assert list(found.weights) == ["NegativesPerPositive(most=1000.0)"]


def test_json_has_its_keys_and_is_the_same_twice(found, tmp_path):
    keys = {"format", "name", "errors", "warnings", "datasets", "weights", "findings"}
    assert record(found).keys() == keys
    kept = json.loads(audit_json(found))
    assert kept["errors"] == found.errors == 7
    assert kept["warnings"] == found.warnings == 4
    assert [set(each) for each in kept["findings"]] == [
        {"kind", "severity", "datasets", "text", "files", "examples", "values"}
    ] * 11
    again = audit_datasets(faulty(tmp_path), name="faulty")
    same = lambda audit: [(f.kind, f.examples) for f in audit.findings]
    assert same(again) == same(found)


def test_the_page_shows_every_finding_and_loads_nothing(found):
    page = audit_page(found)
    for finding in found.findings:
        assert KINDS[finding.kind].title in page
        assert finding.text.replace("'", "&#x27;") in page
    assert 'src="http' not in page and "<script" not in page
    for name in NAMES:
        assert name in page
    assert page == audit_page(found)


def test_a_name_with_a_line_end_stays_in_the_line_of_its_finding():
    finding = Finding("missing_mask", ("train",), "images/a\nb.png cannot be read")
    lines = brief_text({}, [finding]).splitlines()
    assert lines[1:] == ["  images/a\\nb.png cannot be read"]

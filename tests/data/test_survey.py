import json
import os
import pathlib
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from segjax.data.folder import Folder
from segjax.data.loader import batches, equal_size_batches
from segjax.data.survey import FILE, Survey, _counts, shared_images, survey
from segjax.errors import InputError


@dataclass
class Own:
    """A dataset of the user's own: example i has the label i % 3 and an image of value i."""

    count: int
    first: int = 0
    asked: list = field(default_factory=list)

    class_names = ("a", "b", "c")

    def prepare(self):
        pass

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.asked.append(index)
        value = self.first + index
        label = np.full((2, 3), value % 3, np.int32)
        return {
            "image": np.full((2, 3, 1), value, np.float32),
            "label": label,
            "name": f"n{value}",
        }


def make(folder: pathlib.Path, labels, *, first=0) -> Folder:
    """A folder dataset whose i-th mask is of one value."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i, label in enumerate(labels, first):
        Image.fromarray(np.full((4, 5, 3), i, np.uint8)).save(folder / "images" / f"{i}.png")
        Image.fromarray(np.full((4, 5), label, np.uint8)).save(folder / "masks" / f"{i}.png")
    dataset = Folder(directory=str(folder), class_names=("a", "b", "c"))
    dataset.prepare()
    return dataset


def test_every_label_of_a_folder_is_counted(tmp_path):
    found = survey(make(tmp_path / "data", [0, 0, 2, 255]))
    assert found.pixels == {0: 40, 2: 20, 255: 20}
    assert found.is_whole and found.extent == "its 4 examples"
    assert found.absent(3) == [1] and found.ignored == 0.25
    assert [name for _, name in found.images] == ["0", "1", "2", "3"]
    assert found.shapes == {(4, 5, 3): 4}


def test_a_folder_is_read_once_and_then_the_cache_answers(tmp_path, monkeypatch):
    dataset = make(tmp_path / "data", [0, 1])
    first = survey(dataset)
    (kept,) = (tmp_path / "cache").rglob(FILE)
    again = Folder(directory=dataset.directory, class_names=dataset.class_names)
    monkeypatch.setattr(Image, "open", None)
    assert survey(again) == first
    # Another mask is another prepared folder, with a survey of its own.
    monkeypatch.undo()
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path / "cache"))
    Image.fromarray(np.full((4, 5), 2, np.uint8)).save(tmp_path / "data" / "masks" / "0.png")
    os.utime(tmp_path / "data" / "masks" / "0.png", (1, 1))
    changed = Folder(directory=dataset.directory, class_names=dataset.class_names)
    assert survey(changed).pixels == {1: 20, 2: 20}
    assert kept.is_file()


SHAPES = '"shapes": [[4, 5, 3, 2]]'
IMAGES = f'"images": [["d", "0"], ["e", "1"]], {SHAPES}'


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"pixels": {"x": 1}, "images": []}', '{"pixels": {}, "images": []}']
    + [f'{{"pixels": {pixels}, {IMAGES}}}' for pixels in ("[]", "{}", '{"0": "20"}')]
    + [f'{{"pixels": {{"0": {count}}}, {IMAGES}}}' for count in ("true", "1.5", "-1", "null")]
    + [
        f'{{"pixels": {{"0": 40}}, "images": {images}, {SHAPES}}}'
        for images in ('[["d", "0"]]', "7", '["de", ["e", 1]]')
    ]
    + [
        f'{{"pixels": {{"0": 40}}, {IMAGES.replace(SHAPES, shapes)}}}'
        for shapes in ('"shapes": []', '"shapes": [[4, 5, 2]]', '"shapes": [[4, 5, 3, 1]]')
    ],
)
def test_a_broken_survey_is_made_anew(tmp_path, text):
    dataset = make(tmp_path / "data", [0, 1])
    first = survey(dataset)
    (kept,) = (tmp_path / "cache").rglob(FILE)
    kept.write_text(text)
    assert survey(dataset) == first
    assert json.loads(kept.read_text())["pixels"] == {"0": 20, "1": 20}


def test_of_a_dataset_of_ones_own_a_bounded_number_is_read_evenly():
    dataset = Own(1000)
    found = survey(dataset, most=4)
    assert sorted(dataset.asked) == [0, 333, 666, 999]
    assert not found.is_whole and found.extent == "the 4 of 1000 examples looked at"
    assert survey(Own(3), most=4).extent == "its 3 examples"
    assert survey(Own(1), most=4).extent == "its one example"


def test_reading_ends_when_its_time_is_over():
    assert len(survey(Own(1000), seconds=0.0).images) == 32


def test_labels_of_any_integer_type_are_counted_as_they_are():
    dataset = Own(3)
    dataset.first = -1
    assert survey(dataset).pixels == {0: 6, 1: 6, 2: 6}


def test_a_label_that_is_no_whole_number_counts_as_no_class():
    labels = np.array([[np.nan, 0.7, np.inf], [1.0, 0.0, 255.0]])
    data = Changed({"label": labels})
    assert survey(data).pixels == {0: 1, 1: 1, 255: 1}
    assert survey(Changed({"label": labels > 0.5})).pixels == {0: 2, 1: 4}
    assert survey(Changed({"label": labels.astype(str)})).pixels == {}


@dataclass
class Changed(Own):
    """One example, which is changed or, by anything but a dictionary, replaced."""

    changed: object = None
    count: int = 1

    def __init__(self, changed):
        self.changed, self.asked = changed, []

    def __getitem__(self, index):
        example = super().__getitem__(index)
        if not isinstance(self.changed, dict):
            return self.changed
        return {k: v for k, v in {**example, **self.changed}.items() if v is not ...}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (None, "is of type NoneType: let the dataset return a dictionary"),
        ((np.zeros((2, 3, 1)), np.zeros((2, 3))), "is of type tuple"),
        ({"image": ...}, "has no 'image'"),
        ({"name": ...}, "has no 'name': let the dataset give it, as a str"),
        ({"name": 3}, "'name' must be a str, got int"),
        ({"label": [[0]]}, "'label' must be a NumPy array, got list"),
    ],
)
@pytest.mark.parametrize(
    "read",
    [
        survey,
        lambda data: next(batches(data, (), batch_size=1, seed=0, threads=0)),
        lambda data: list(equal_size_batches(data, [0], 1)),
    ],
    ids=["survey", "training", "evaluation"],
)
def test_what_is_no_example_is_refused_by_its_index_wherever_it_is_read(read, changed, message):
    with pytest.raises(InputError, match=f"^Example 0 of Changed:? {message}"):
        read(Changed(changed))


def test_equal_images_are_found_by_contents_not_by_name(tmp_path):
    one = make(tmp_path / "one", [0, 0, 0])
    other = make(tmp_path / "other", [1, 1], first=2)
    shutil.move(tmp_path / "other/images/2.png", tmp_path / "other/images/copy.png")
    shutil.move(tmp_path / "other/masks/2.png", tmp_path / "other/masks/copy.png")
    other = Folder(directory=other.directory, class_names=other.class_names)
    other.prepare()
    assert shared_images(survey(one), survey(other)) == ["copy"]
    assert shared_images(survey(Own(5)), survey(Own(5, first=3))) == ["n3", "n4"]


def test_a_set_without_pixels_has_every_class_absent():
    assert Survey({}, (), 0).absent(2) == [0, 1] and Survey({}, (), 0).ignored == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1e30, -1e30, np.uint64(2**63), np.int64(-(2**63))])
def test_a_label_beyond_64_bits_is_counted_as_it_is(value):
    label = np.full((2, 3), value)
    assert _counts(label) == {int(value): 6}

"""A batch holds images of one aspect: which ones follows from seed and step alone."""

import copy
import pathlib
import pickle
import runpy
import types
from dataclasses import dataclass
from itertools import islice

import jax
import numpy as np
import pytest
from PIL import Image

from segjax.conformity import declares
from segjax.contracts import WithObjects
from segjax.data import by_aspect
from segjax.data.by_aspect import ByAspect
from segjax.data.folder import Folder
from segjax.data.loader import batches
from segjax.description import describe_lines, replace_at
from segjax.errors import InputError
from segjax.settings import directory_settings
from segjax.transforms.geometric import RandomFlip
from segjax.transforms.objects import Canvas, PackObjects
from segjax.transforms.resize_sides import ResizeSides

MADE = pathlib.Path(__file__).parents[1] / "made_objects.py"
made_objects = types.SimpleNamespace(**runpy.run_path(str(MADE)))

SIZES = ((12, 16), (16, 12), (14, 14), (10, 20), (21, 20))
LAST = (RandomFlip(), ResizeSides(12, 20), Canvas((12, 20)), PackObjects(8))


@dataclass(frozen=True)
class Made:
    """Example i has i objects, modulo 5; two of five images are higher than wide."""

    count: int = 13
    directory: str | None = None
    things: tuple = made_objects.THINGS
    class_names: tuple = made_objects.NAMES
    channels: int = 3
    palette: tuple = ()

    def prepare(self):
        pass

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        size = SIZES[index % 5]
        return made_objects.example(index % 5, size=size, seed=index, name=str(index))


def number(example, rng):
    return {**example, "kinds": {}, "index": np.array(int(example["name"]))}


def take(count, dataset=None, transforms=LAST, **options):
    options = {"batch_size": 2, "seed": 3, "threads": 2, "buffer": 2, **options}
    stream = batches(dataset or ByAspect(Made()), (*transforms, number), **options)
    found = list(islice(stream, count))
    stream.close()
    return found


def assert_equal(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)


def test_each_batch_holds_one_aspect_and_every_image_has_its_turn():
    found = take(39)
    portrait = []
    for batch in found:
        high = {index % 5 in (1, 4) for index in batch["index"].tolist()}
        assert len(high) == 1
        portrait.append(high.pop())
        assert batch["image"].shape == ((2, 20, 12, 3) if portrait[-1] else (2, 12, 20, 3))
    # 5 of 13 images: their share of the batches, spread evenly.
    assert abs(sum(portrait) - 15) <= 1 and sum(portrait[:13]) in (4, 5, 6)
    times = np.bincount(np.concatenate([batch["index"] for batch in found]), minlength=13)
    assert times.min() >= 5 and times.max() <= 7
    assert [batch["step"].tolist() for batch in found[:2]] == [[0, 0], [1, 1]]


def test_a_resumed_run_sees_the_same_batches():
    assert_equal(take(5, first_step=9), take(14)[9:])


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_global_batch_which_does_not_change(count):
    whole = take(9, batch_size=4)
    parts = [
        take(9, batch_size=4, process_index=index, process_count=count)
        for index in range(count)
    ]
    for step, batch in enumerate(whole):
        joined = {key: np.concatenate([part[step][key] for part in parts]) for key in batch}
        assert_equal([batch], [joined])


def test_threads_change_nothing():
    assert_equal(take(12, threads=0), take(12, threads=4))


def test_groups_of_one_size_are_not_shuffled_alike():
    @dataclass(frozen=True)
    class Halves(Made):
        count: int = 12

        @property
        def groups(self):
            return list(range(6)), list(range(6, 12))

        def __getitem__(self, index):
            return made_objects.example(1, size=(12, 20), seed=index, name=str(index))

    found = take(12, Halves())
    low, high = (
        [i % 6 for batch in found for i in batch["index"].tolist() if (i >= 6) == side]
        for side in (False, True)
    )
    assert sorted(set(low)) == sorted(set(high)) == list(range(6)) and low != high


def test_one_empty_group_and_a_wrong_group():
    @dataclass(frozen=True)
    class Grouped(Made):
        groups: tuple = ((), tuple(range(13)))

        def __getitem__(self, index):
            return made_objects.example(1, size=(12, 20), seed=index, name=str(index))

    assert len(take(3, Grouped())) == 3
    with pytest.raises(InputError, match="groups of Grouped must have each of its 13 examples"):
        take(1, Grouped(groups=((0, 1), (1, 2))))


def test_a_dataset_without_groups_is_refused_by_its_canvas_with_the_remedy():
    with pytest.raises(InputError, match=r"train_data=ByAspect\(...\), or use a square Canvas"):
        take(9, Made())


def test_examples_of_different_objects_are_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"end the transforms with PackObjects\(100\)"):
        take(9, transforms=LAST[:-1])


def test_it_passes_on_what_its_data_declare():
    data = ByAspect(Made(things=(1,)))
    assert declares(data, WithObjects) and data.things == (1,) and len(data) == 13
    assert data.class_names == made_objects.NAMES
    assert not hasattr(data, "file_ids")
    for twin in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert twin == data and twin.groups == data.groups
    assert data[4]["portrait"] is True and data[2]["portrait"] is False


def test_data_and_set_reach_the_wrapped_dataset():
    @dataclass(frozen=True)
    class Parts:
        name: str = "parts"
        train_data: object = ByAspect(Made())
        eval_data: object = Made()

    settings = directory_settings(Parts(), "photos")
    assert settings == ["train_data.data.directory=photos", "eval_data.directory=photos"]
    changed = replace_at(Parts(), *settings[0].split("="))
    assert changed.train_data.data.directory == "photos"
    assert "train_data.data.count = 13" in list(describe_lines(Parts()))


def test_prepared_images_are_not_decoded_and_groups_are_remembered(tmp_path, monkeypatch):
    for index, (h, w) in enumerate(SIZES):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            shape = (h, w, 3) if folder == "images" else (h, w)
            path = tmp_path / folder / f"{index}.png"
            Image.fromarray(np.zeros(shape, np.uint8)).save(path)
    folder = Folder(directory=str(tmp_path), class_names=("ground",))
    monkeypatch.setattr(Folder, "__getitem__", lambda *_: pytest.fail("An image was decoded."))
    first = ByAspect(folder)
    first.prepare()
    assert first.groups == ([1, 4], [0, 2, 3])
    monkeypatch.setattr(by_aspect, "open_image", lambda *_: pytest.fail("A header was read."))
    again = ByAspect(Folder(directory=str(tmp_path), class_names=("ground",)))
    assert again.groups == first.groups

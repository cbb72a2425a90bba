import dataclasses
import pathlib

import pytest

from segjax import experiment
from segjax.convert.experiment_text import experiment_text
from segjax.experiment import describe
from segjax.tasks.multilabel import Multilabel

ROOT = pathlib.Path(__file__).parents[2]


def written(folder, names=("background", "car"), **options):
    folder.mkdir(parents=True)
    text = experiment_text(folder, names, **{"colours": None, **options})
    (folder / "experiment.py").write_text(text, encoding="utf-8")
    return experiment.load(folder / "experiment.py")


def test_it_is_the_experiment_of_the_repository_with_other_data(tmp_path):
    ours = experiment.load(ROOT / "experiments/folder.py")
    names = ("background", "road", "car")
    found = written(tmp_path / "set", names)
    data = {"train_data": ours.train_data, "eval_data": ours.eval_data, "name": ours.name}
    assert describe(dataclasses.replace(found, **data)) == describe(ours)


def test_it_reads_the_folder_that_it_lies_in(tmp_path):
    found = written(tmp_path / "my set")
    assert found.name == "my_set"
    assert found.train_data.directory == str(tmp_path / "my set")
    assert (found.train_data.split, found.eval_data.split) == ("splits/train", "splits/val")


@pytest.mark.parametrize("name", ["a\\users", "q\\N", 'x"""y', 'x"', "line\nline", "b\udcff"])
def test_a_folder_may_have_any_name(tmp_path, name):
    found = written(tmp_path / name)
    assert found.train_data.directory == str(tmp_path / name)


@pytest.mark.parametrize("name", ['a "b"', "tv/monitor", "größe", "back\\slash", "it's"])
def test_names_of_classes_with_any_character_are_kept(tmp_path, name):
    found = written(tmp_path / "set", ("background", name))
    assert found.train_data.class_names == ("background", name)


def test_many_classes_and_colours_are_one_a_line(tmp_path):
    names = tuple(f"class {number}" for number in range(40))
    colours = [(number, 0, 255) for number in range(40)]
    found = written(tmp_path / "set", names, colours=colours)
    assert found.train_data.class_names == names
    assert found.train_data.colours == tuple(colours)
    lines = (tmp_path / "set/experiment.py").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 96


def test_classes_that_overlap_have_a_folder_of_masks_each(tmp_path):
    folders = ("masks/disc", "masks/cup")
    found = written(tmp_path / "set", ("disc", "cup"), mask_folders=folders)
    assert found.task == Multilabel() and found.train_data.masks == folders
    assert found.train_data.has_planes

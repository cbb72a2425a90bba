"""Files that are grouped by aspect are files still: all that looks for files finds them."""

import dataclasses
import pathlib

import numpy as np
import pytest
from PIL import Image

from segjax import experiment as experiments
from segjax.audit.audit import audit_datasets
from segjax.data import class_counts
from segjax.data.by_aspect import ByAspect, ungrouped
from segjax.data.class_counts import dataset_counts
from segjax.data.folder import Folder
from segjax.data.loader import batches
from segjax.data.survey import survey
from segjax.errors import InputError
from segjax.explain.transforms import explain_transforms
from segjax.report.data_sheet import write_data_sheet
from segjax.train.coverage import check_held_out
from segjax.train.plan import check_settings
from segjax.train.stand_in import stand_in
from segjax.transforms.geometric import RandomRotate90
from segjax.transforms.objects import Canvas, PackObjects

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
SIZES = ((12, 16), (16, 12), (14, 14))


@pytest.fixture
def folder(tmp_path) -> Folder:
    """Three images, one of which is higher than wide, each with one object."""
    for index, size in enumerate(SIZES):
        mask = np.zeros(size, np.uint8)
        mask[2:6, 3:8] = 1
        pictures = {"images": np.stack([mask * 200 + 20 * index] * 3, -1), "masks": mask}
        for name, array in pictures.items():
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / name / f"{index}.png")
    names = ("ground", "cell")
    return Folder(directory=str(tmp_path), class_names=names, objects="masks")


def test_the_dataset_below_groups_is_found_and_any_other_is_itself(folder):
    assert ungrouped(ByAspect(ByAspect(folder))) is folder is ungrouped(folder)


def test_survey_and_contact_sheet_are_those_of_the_files(folder):
    grouped = ByAspect(folder)
    assert survey(grouped, most=1) == survey(folder) and survey(grouped, most=1).is_whole
    assert write_data_sheet(grouped) == write_data_sheet(folder)


def test_classes_are_counted_in_all_files_however_many(folder, monkeypatch):
    monkeypatch.setattr(class_counts, "MOST", 1)
    found = dataset_counts(ByAspect(folder), title="data")
    assert found.read == 3 and found.counts == dataset_counts(folder, title="data").counts


def test_an_audit_names_every_file_that_cannot_be_read_and_the_dataset_itself(folder):
    root = pathlib.Path(folder.directory)
    for name in ("images/0.png", "images/2.png"):
        (root / name).write_bytes(b"no image")
    found = audit_datasets({"train_data": ByAspect(folder)})
    assert found.datasets["train_data"].dataset == "Folder"
    text = str(found)
    assert "0.png" in text and "2.png" in text


@pytest.mark.parametrize("stem", ["mask_rcnn_coco", "panoptic_fpn_coco"])
def test_a_missing_directory_is_said_before_a_network_is_traced(stem, monkeypatch):
    experiment = experiments.load(EXPERIMENTS / f"{stem}.py")
    sound = dataclasses.replace(experiment, eval_data=experiment.train_data)
    monkeypatch.setattr("segjax.train.plan.stand_in", lambda *_: pytest.fail("It was traced."))
    with pytest.raises(InputError, match="directory"):
        check_settings(sound)


def test_a_made_up_example_of_grouped_files_is_certain_as_that_of_files_is():
    experiment = experiments.load(EXPERIMENTS / "mask_rcnn_coco.py")
    made_up = stand_in(experiment)
    assert made_up is not None and made_up[1]
    assert made_up[0]["image"].shape == (1, 800, 1344, 3)


def test_shares_of_a_folder_that_overlap_are_refused_below_groups_too(folder):
    one = dataclasses.replace(folder, split="train", held_out=0.2)
    other = dataclasses.replace(folder, split="val", held_out=0.5)
    with pytest.raises(InputError, match="divide the images"):
        check_held_out({"train_data": ByAspect(one), "eval_data": other})


def take(folder, *transforms, count=8):
    stream = batches(
        ByAspect(folder), (*transforms, PackObjects(4)), batch_size=2, seed=0, threads=0
    )
    try:
        return [next(stream)["image"].shape[1:3] for _ in range(count)]
    finally:
        stream.close()


def test_a_turned_image_that_its_groups_canvas_cannot_hold_is_refused_with_the_remedy(folder):
    remedy = (
        r"canvas of \d+ x \d+: leave out .* RandomRotate90 or a crop, or use .* Canvas\(16\)"
    )
    with pytest.raises(InputError, match=f"group of ByAspect for the {remedy}"):
        take(folder, RandomRotate90(), Canvas((14, 16)))
    assert {*take(folder, Canvas((14, 16)))} == {(14, 16), (16, 14)}
    # The remedies work.
    assert {*take(folder, RandomRotate90(), Canvas(16))} == {(16, 16)}


def test_explain_shows_the_transforms_of_a_grouped_dataset(folder):
    experiment = experiments.load(EXPERIMENTS / "mask_rcnn_objects.py")
    experiment = dataclasses.replace(
        experiment,
        train_data=ByAspect(folder),
        transforms=(RandomRotate90(), Canvas(16), PackObjects(4)),
    )
    for index, high in enumerate((False, True, False)):
        steps = explain_transforms(experiment, index=index, draws=2)["steps"]
        assert len(steps) == 4 and experiment.train_data[index]["portrait"] == high

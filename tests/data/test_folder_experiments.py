"""The experiments for one's own folder, on folders that a stranger may have."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from segjax.data.loader import batches
from segjax.train.parts import check_data, check_parts
from segjax.train.run import runs_of_file

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
SIZES = ((300, 200), (40, 250), (90, 90))


def my_data(root, values, *, image="images/{}.jpg", mask="masks/{}.png"):
    """Thirty images of three sizes; masks hold `values` in equal parts."""
    for i in range(30):
        w, h = SIZES[i % 3]
        picture = np.full((h, w, 3), 8 * i, np.uint8)
        label = np.resize(np.repeat(values, 20), (h, w)).astype(np.uint8)
        for name, array in ((image, picture), (mask, label)):
            path = root / name.format(i)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)


@pytest.fixture
def run(tmp_path):
    """Loads an experiment, with some of its lines changed, for the folder `my_data`."""

    def loaded(name, **changes):
        lines = (EXPERIMENTS / f"{name}.py").read_text().splitlines()
        for key, value in changes.items():
            (at,) = [i for i, line in enumerate(lines) if line.startswith(f"{key} = ")]
            lines[at] = f"{key} = {value!r}"
        path = tmp_path / "own.py"
        path.write_text("\n".join(lines))
        (run,) = runs_of_file(path, directory=str(tmp_path / "my_data"))
        check_parts(run.experiment)
        check_data(run.experiment, "train_data", "eval_data")
        return run.experiment

    return loaded


def first_batch(experiment):
    check = lambda example, transformed: None
    made = batches(
        experiment.train_data,
        experiment.transforms,
        batch_size=4,
        seed=0,
        threads=0,
        check=check,
    )
    batch = next(made)
    made.close()
    return batch


def test_images_of_any_size_and_their_masks_of_ids_make_batches(run, tmp_path):
    names = {"image": "raw/{}.jpg", "mask": "labels/{:0>4}_mask.png"}
    my_data(tmp_path / "my_data", (0, 1, 9, 255), **names)
    experiment = run(
        "folder",
        CLASSES=("ground", "road"),
        IMAGE="raw/{stem}.jpg",
        MASK="labels/{stem:0>4}_mask.png",
        LABEL_MAP=((9, 255),),
    )
    assert len(experiment.train_data) + len(experiment.eval_data) == 30
    assert experiment.model.num_classes == 2
    batch = first_batch(experiment)
    assert batch["image"].shape == (4, 144, 144, 3) and batch["label"].shape == (4, 144, 144)
    assert set(np.unique(batch["label"])) == {0, 1, 255}


def test_masks_of_0_and_255_are_one_plane(run, tmp_path):
    my_data(tmp_path / "my_data", (0, 255))
    experiment = run("folder_binary", CLASS="nucleus")
    label = first_batch(experiment)["label"]
    assert label.shape == (4, 144, 144, 1) and set(np.unique(label)) == {0, 1, 255}
    assert set(np.unique(experiment.eval_data[0]["label"])) == {0, 1}

"""Every experiment file loads, describes itself as its golden text, and takes one step."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from segjax import parallel
from segjax.data.synthetic import Synthetic
from segjax.experiment import describe, load, load_all
from segjax.train.comparison import check_variants
from segjax.train.loop import train_step
from segjax.train.plan import make_plan

FOLDER = pathlib.Path(__file__).parents[1] / "experiments"
GOLDEN = pathlib.Path(__file__).with_name("golden_experiments")
FILES = sorted(FOLDER.glob("*.py"))
ABLATIONS = sorted(FOLDER.glob("ablations/*.py"))
SMALL = {
    "deeplab_voc": {"backbone": {"stages": (1, 1, 1, 3), "width": 8}, "features": 8},
    "deeplab_camvid": {"backbone": {"stages": (1, 1, 1, 3), "width": 8}, "features": 8},
    "unet_camvid": {"features": 4, "depth": 2},
    "unet_isbi": {"features": 4, "depth": 2},
    "quickstart": {"features": 4, "depth": 2},
}


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Drawn shapes with the number of classes and channels of another dataset."""

    class_names: tuple[str, ...]
    channels: int
    size: int

    @property
    def palette(self):
        return Synthetic().palette

    def prepare(self):
        pass

    def __len__(self):
        return 16

    def __getitem__(self, index):
        example = Synthetic(size=self.size)[index]
        label = np.minimum(example["label"], len(self.class_names) - 1)
        return {**example, "image": example["image"][..., : self.channels], "label": label}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_describes_itself_as_its_golden_text(path):
    # On purpose a change of a recipe shows here: `python tests/test_experiments.py` rewrites.
    assert describe(load(path)) == (GOLDEN / f"{path.stem}.txt").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiments_docstring_has_its_command_and_what_it_reaches(path):
    docstring = path.read_text().split('"""')[1]
    assert f"python -m segjax.launch experiments/{path.name}" in docstring
    assert "Measured" in docstring or "Reaches" in docstring
    assert "Cost" in docstring or "README" in docstring


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablations_variants_can_be_told_apart_and_have_two_seeds_each(path):
    listed, is_list = load_all(path)
    check_variants(listed, path.name)
    seeds = {}
    for experiment in listed:
        seeds.setdefault(experiment.name, []).append(experiment.seed)
    assert is_list and len(seeds) >= 2 and set(map(tuple, seeds.values())) == {(0, 1)}
    docstring = path.read_text().split('"""')[1]
    assert f"python -m segjax.launch experiments/ablations/{path.name}" in docstring
    assert "Reaches" in docstring and "Cost" in docstring


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_takes_one_step_on_tiny_data(path):
    experiment = load(path)
    data = experiment.train_data
    size = 76 if getattr(experiment.model, "valid", False) else 48
    drawn = Drawn(data.class_names, getattr(data, "channels", 3), size)
    changes = dict(SMALL[path.stem])
    if "backbone" in changes:
        changes["backbone"] = experiment.model.backbone.clone(**changes["backbone"])
    experiment = dataclasses.replace(
        experiment,
        model=experiment.model.clone(**changes),
        init=None,
        train_data=drawn,
        eval_data=drawn,
        batch_size=4,
        transforms=tuple(_smaller(t, size) for t in experiment.transforms),
    )
    plan = make_plan(experiment)
    state = plan.initial_state()
    step = train_step(plan)
    batches = plan.batches(0)
    after, metrics = parallel.data_parallel(step)(state, parallel.shard(next(batches)))
    batches.close()
    assert metrics["finite"] and 0 < metrics["loss"] < 100
    moved = jax.tree.map(lambda a, b: np.any(np.asarray(a) != b), after.params, state.params)
    # A bias before batch normalisation has no gradient; nothing here has one.
    assert all(jax.tree.leaves(moved))


def _smaller(transform, size: int):
    """Crops as large as the tiny network and the drawn images are made for."""
    small = {"size": size, "pixels": 8}
    fitting = {name: value for name, value in small.items() if hasattr(transform, name)}
    return dataclasses.replace(transform, **fitting)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for path in FILES:
        (GOLDEN / f"{path.stem}.txt").write_text(describe(load(path)))

"""Every experiment file loads, describes itself as its golden text, fits its network, optimizer
and weights, and makes a batch; each kind of step is taken once, on tiny data."""

import dataclasses
import functools
import pathlib
import re
import runpy

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from segjax.backbones.vgg import CEIL, VGG16
from segjax.conformity import has_objects
from segjax.data.loader import batches
from segjax.data.synthetic import Synthetic
from segjax.data.synthetic_objects import SyntheticObjects
from segjax.evaluate.predictors import at_output_stride
from segjax.experiment import describe, load, load_all
from segjax.ops.dispatch import plain
from segjax.parallel.data import data_parallel, shard
from segjax.pretrained.layouts import translate
from segjax.pretrained.match import fit
from segjax.train.loop import train_step
from segjax.train.optimizer import paths
from segjax.train.plan import make_plan
from segjax.train.step import init_state
from segjax.train.variants import check_variants
from segjax.transforms.geometric import MirrorPad, RandomCrop
from segjax.transforms.objects import Canvas
from segjax.weights import Pretrained, flat_shapes, save, variable_shapes

FOLDER = pathlib.Path(__file__).parents[1] / "experiments"
GOLDEN = pathlib.Path(__file__).with_name("golden_experiments")
TABLE = (FOLDER.parent / "docs" / "networks.md").read_text()
FILES = sorted(FOLDER.glob("*.py"))
SEEDS = ({(0, 1)}, {(0, 1, 2)})
ABLATIONS = sorted(FOLDER.glob("ablations/*.py"))
WEIGHTS = GOLDEN.with_name("weights")
TORCHVISION = runpy.run_path(str(WEIGHTS / "state_dicts.py"))
TIMM = runpy.run_path(str(WEIGHTS / "timm_names.py"))
SHALLOW = {"stages": (1, 1, 1, 1), "width": 8}
SMALL = {
    "fcn32s_voc": {"backbone": {"width": 4}, "features": 8},
    "deeplab_v1_voc": {"backbone": {"width": 4}, "features": 8},
    "deeplab_v2_voc": {"backbone": SHALLOW},
    "dilation_context_voc": {"width": 4, "features": 8},
    "fcn_resnet_voc": {"backbone": SHALLOW},
    "deeplab_voc": {"backbone": {"stages": (1, 1, 1, 3), "width": 8}, "features": 8},
    "deeplab_camvid": {"backbone": {"stages": (1, 1, 1, 3), "width": 8}, "features": 8},
    "segnet_camvid": {"stages": ((8, 8), (8,))},
    "fc_densenet_camvid": {"layers": (1, 1, 1), "growth": 4, "features": 8},
    "u2net_duts": {"encoder": ((3, 4, 8), (2, 4, 8)), "decoder": ((3, 4, 8),)},
    "unet_camvid": {"features": 4, "depth": 2},
    "unet_isbi": {"features": 4, "depth": 2},
    "panoptic_deeplab_objects": {
        "backbone": {"width": 8},
        **dict.fromkeys(("aspp_features", "semantic_features", "instance_features"), 8),
        "head_features": 4,
    },
    "mask_rcnn_objects": {"backbone": {"width": 8}, "channels": 8, "hidden": 16},
    "mask_rcnn_coco": {"backbone": SHALLOW, "channels": 8, "hidden": 16},
    "panoptic_fpn_coco": {"backbone": SHALLOW, "channels": 8, "hidden": 16},
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


@dataclasses.dataclass(frozen=True)
class DrawnObjects(Drawn):
    """Drawn objects with the things and the stuff of another dataset."""

    things: tuple[int, ...] = ()
    most: int = 40

    def __getitem__(self, index):
        example = SyntheticObjects(size=self.size, most=self.most, panoptic=True)[index]
        stuff = [i for i in range(len(self.class_names)) if i not in self.things]
        ids = np.array([stuff[0], stuff[-1], self.things[0], self.things[-1]], np.int32)
        label = ids[example["label"]].astype(np.uint8)
        return {**example, "label": label, "classes": ids[example["classes"]]}


def _like(data, size):
    """Drawn examples with the classes of a dataset, and with objects where it has them."""
    fields = (data.class_names, getattr(data, "channels", 3), size)
    if has_objects(data):
        return DrawnObjects(*fields, data.things, getattr(data, "most", 40))
    return Drawn(*fields)


@functools.cache
def _shapes(model, channels=3):
    """Returns the variables' shapes, traced once for all that asks of a network."""
    with plain():  # Traces faster.
        return variable_shapes(model, channels=channels)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_describes_itself_as_its_golden_text(path):
    # On purpose a change of a recipe shows here: `python tests/test_experiments.py` rewrites.
    assert describe(load(path)) == (GOLDEN / f"{path.stem}.txt").read_text()


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablations_variants_can_be_told_apart_and_have_several_seeds_each(path):
    listed, is_list = load_all(path)
    check_variants(listed, path.name)
    seeds = {}
    for experiment in listed:
        seeds.setdefault(experiment.name, []).append(experiment.seed)
    assert is_list and len(seeds) >= 2 and set(map(tuple, seeds.values())) in SEEDS
    docstring = " ".join(path.read_text().split('"""')[1].split())
    assert f"python -m segjax.launch experiments/ablations/{path.name}" in docstring
    assert re.search(r"Measured here(:\s+not yet|.*0\.\d{3} ± 0\.\d{3})", docstring, re.DOTALL)
    assert re.search(r"Cost: \w+ runs of about \d", docstring)


def _kind(experiment):
    """What decides the code that a step runs, beside the network, which its own tests train."""
    model, loss, optimizer = experiment.model, experiment.loss, experiment.optimizer
    more_logits = getattr(model, "auxiliary", False) or len(getattr(model, "scales", ())) > 1
    return (
        type(optimizer),
        getattr(loss, "__name__", type(loss)),
        any(factor == 0 for _, factor in optimizer.multipliers),
        hasattr(model, "label_stride"),
        getattr(model, "valid", False),
        more_logits,
    )


KINDS = {_kind(load(FOLDER / f"{stem}.py")) for stem in SMALL}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiments_own_transforms_make_batches_of_one_size(path):
    experiment = load(path)
    drawn = _like(experiment.train_data, 61)
    made = batches(drawn, experiment.transforms, batch_size=3, seed=0, threads=0)
    batch = next(made)
    made.close()
    size = np.array((61, 61))
    for transform in experiment.transforms:
        if isinstance(transform, MirrorPad):
            size = size + 2 * transform.pixels
        elif isinstance(transform, RandomCrop | Canvas):
            size = np.broadcast_to(transform.size, 2)
    assert batch["image"].shape[:3] == (3, *size)
    assert batch["label"].shape == batch["image"].shape[:3]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_published_names_that_an_experiment_starts_from_fit_its_network(path, monkeypatch):
    experiment = load(path)
    if not isinstance(experiment.init, Pretrained) or experiment.init.source.startswith(
        "runs/"
    ):
        pytest.skip("It starts from its seed, or from another experiment's result.")
    arrays = {
        n: np.broadcast_to(np.float32(0), s) for n, s in _published(experiment.init.source)
    }
    shapes = _shapes(experiment.model)
    checkpoint = translate(arrays, flat_shapes(shapes))
    # Raises where a tensor is missing, unexpected or of another shape.
    fitted = fit(checkpoint, flatten_dict(shapes, sep="/"), allow=experiment.init.allow)
    assert len(fitted.arrays) >= 26 and not any(
        n.startswith("params/backbone") for n in fitted.fresh
    )


def _published(source: str) -> list[tuple[str, tuple[int, ...]]]:
    """(tensor, shape) of a classification network as timm publishes it."""
    if "xception65" in source:
        return list(TIMM["xception"]((128, 256, 728), 16).items())
    network = re.match(r"timm/(\w+?)\.", source).group(1)
    tensors = TORCHVISION["names"]("resnet50" if network == "resnet101" else network)
    if network == "resnet101":
        last = {n: s for n, s in tensors.items() if n.startswith("layer3.5.")}
        tensors |= {
            n.replace("3.5.", f"3.{i}."): s for n, s in last.items() for i in range(6, 23)
        }
    return list(tensors.items())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_whole_network_fits_its_optimizer_and_its_step_is_of_a_kind_that_is_taken(path):
    experiment = load(path)
    channels = getattr(experiment.train_data, "channels", 3)
    params = _shapes(experiment.model, channels)["params"]
    experiment.optimizer.build(experiment.steps, params)
    at_output_stride(experiment.model, experiment.evaluation.output_stride)
    assert _kind(experiment) in KINDS, "Add a small network to SMALL."
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    (row,) = (line for line in TABLE.splitlines() if line.startswith(f"| `{path.name}` |"))
    assert f"| {count:,} " in row, "Run docs/make_networks.py."


@pytest.mark.slow_but("deeplab_v1_voc", "unet_isbi", "quickstart")
@pytest.mark.parametrize("stem", SMALL)
def test_one_step_on_tiny_data_moves_every_parameter_that_is_not_held(stem):
    plan = make_plan(_small(load(FOLDER / f"{stem}.py"), **SMALL[stem]))
    variables = jax.tree_util.tree_map_with_path(_drawn, plan.shapes)
    state = init_state(variables, plan.optimizer, ema=plan.experiment.ema)
    batches = plan.batches(0)
    step = data_parallel(train_step(plan))
    after, metrics = step(jax.tree.map(np.array, state), shard(next(batches)))
    batches.close()
    # Heat-maps of random networks are wrong by about 1, and that counts 200 times.
    limit = 1000 if "loss/center" in metrics else 100
    assert metrics["finite"] and 0 < metrics["loss"] < limit
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), after.params, variables["params"])
    # A bias before batch normalisation has no gradient; nothing here has one.
    assert moved == _learns(plan.experiment.optimizer, variables["params"])


TINY = {"fcn": {"backbone": VGG16(pool=CEIL, width=2), "features": 2}, "dil": {"width": 2}}


@pytest.mark.parametrize(
    "earlier, later",
    [
        ("fcn32s_voc", "fcn16s_voc"),
        ("fcn16s_voc", "fcn8s_voc"),
        ("dilation_voc", "dilation_context_voc"),
    ],
)
def test_a_later_stage_starts_from_the_file_of_the_earlier_one(earlier, later, tmp_path):
    first, second = (load(FOLDER / f"{stem}.py") for stem in (earlier, later))
    assert second.init.source == f"runs/{first.name}/model.safetensors"
    first, second = (
        dataclasses.replace(e, model=e.model.clone(**TINY[earlier[:3]], num_classes=2))
        for e in (first, second)
    )
    shapes = variable_shapes(first.model)
    trained = jax.tree_util.tree_map_with_path(_drawn, shapes)
    save(tmp_path / "model.safetensors", trained)
    init = dataclasses.replace(second.init, source=str(tmp_path / "model.safetensors"))
    started = flatten_dict(init.load(second.model, note=lambda line: None), sep="/")
    for name, array in flatten_dict(trained, sep="/").items():
        np.testing.assert_array_equal(started[name], array)
    assert len(started) > len(jax.tree.leaves(trained))


def _small(experiment, **changes):
    """The experiment with a tiny network and drawn images; all else is its own but the rate.

    The rates of FCN-16s and 8s are so low that most of one step is lost in float32's rounding.
    """
    data, optimizer = experiment.train_data, experiment.optimizer
    size = 76 if getattr(experiment.model, "valid", False) else 48
    drawn = _like(data, size)
    if "backbone" in changes:
        changes["backbone"] = experiment.model.backbone.clone(**changes["backbone"])
    schedule = dataclasses.replace(optimizer.schedule, rate=0.1)
    return dataclasses.replace(
        experiment,
        model=experiment.model.clone(**changes),
        init=None,
        train_data=drawn,
        eval_data=drawn,
        batch_size=4,
        optimizer=dataclasses.replace(optimizer, schedule=schedule),
        transforms=tuple(_smaller(t, size) for t in experiment.transforms),
        task=_with(experiment.task, FEW),
    )


def _drawn(path, leaf):
    """As a fresh network has it, but no score layer starts at zero, and nothing is compiled."""
    if path[-1].key == "kernel":
        spread = np.sqrt(2 / np.prod(leaf.shape[:3]))
        rng = np.random.default_rng(len(jax.tree_util.keystr(path)))
        return rng.normal(0, spread, leaf.shape).astype(leaf.dtype)
    return np.full(leaf.shape, path[-1].key in ("scale", "var"), leaf.dtype)


def _learns(optimizer, params):
    """Whether each parameter's multiplier is above zero; the first that fits counts."""
    factor = lambda path: next((f for p, f in optimizer.multipliers if re.search(p, path)), 1.0)
    return jax.tree.map(lambda path: factor(path) > 0, paths(params))


def _smaller(transform, size: int):
    """Crops as large as the tiny network and the drawn images are made for."""
    return _with(transform, {"size": size, "pixels": 8, "short": size, "long": size})


FEW = {"rois_sampled": 16, "rois_positive": 8, "train_before": 40, "train_after": 40}
"""What a tiny detector proposes and draws."""


def _with(part, values):
    """A transform or a task with those of the values whose fields it has."""
    fitting = {name: value for name, value in values.items() if hasattr(part, name)}
    return dataclasses.replace(part, **fitting)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for path in FILES:
        (GOLDEN / f"{path.stem}.txt").write_text(describe(load(path)))

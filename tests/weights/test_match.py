"""What does not fit is said or refused by name, and nothing is passed over."""

import dataclasses
import functools
import pathlib
import re
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segjax import experiment, weights
from segjax.backbones.resnet import ResNet
from segjax.errors import InputError
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.models.unet import UNet
from segjax.train.plan import make_plan

FOLDER = pathlib.Path(__file__).parent
STATE = runpy.run_path(str(FOLDER / "state_dicts.py"))
BACKBONE = ResNet(stages=(1, 1, 1, 1), width=8, output_stride=8)
MODEL = DeepLabV3(BACKBONE, 21, (1, 2, 3), auxiliary=True, features=32)
KERNEL = "params/backbone/layer2_0/conv2/kernel"
THEIRS = "backbone.layer2.0.conv2.weight"


@pytest.fixture
def state():
    """A whole state dict for MODEL."""
    return STATE["small"]("deeplabv3_resnet50")


def loaded(folder, state, model, **options):
    """The variables, and the lines that were said; the file is called a.npz."""
    said = []
    path = STATE["write"](folder / "a.npz", state)
    return weights.load(path, model, note=said.append, **options), said


@functools.cache
def initialised(model, seed):
    init = lambda: model.init(jax.random.key(seed), jnp.zeros((1, 64, 64, 3)), train=False)
    return jax.jit(init)()


def test_missing_unexpected_and_misshapen_tensors_are_refused_by_name(state, tmp_path):
    del state["backbone.layer3.0.bn2.running_var"]
    state["backbone.layer5.0.conv1.weight"] = np.zeros((2, 2, 1, 1), np.float32)
    state[THEIRS] = state[THEIRS][:, :, :2]
    state["classifier.2.bias"] = np.zeros(32, np.int64)
    with pytest.raises(InputError) as error:
        loaded(tmp_path, state, MODEL)
    text = str(error.value)
    assert "is for another network (torchvision's DeepLab v3 on ResNet layout)" in text
    assert "1 missing: batch_stats/backbone/layer3_0/bn2/var;" in text
    assert "1 unexpected: backbone.layer5.0.conv1.weight;" in text
    expected = f"{KERNEL} ({THEIRS}) is (2, 3, 16, 16) in the file, (3, 3, 16, 16) in the model"
    assert "2 of another shape: " in text and expected in text
    assert "params/head/norm/bias (classifier.2.bias) is int64 (32,) in the file, (32,)" in text
    assert "\n" not in text


def test_what_is_allowed_not_to_fit_is_said_and_starts_from_the_seed(state, tmp_path):
    state[THEIRS] = state[THEIRS][:, :, :2]
    del state["aux_classifier.4.bias"]
    state["odd.weight"] = np.zeros(3, np.float32)
    allow = ("layer2_0", "^odd", "auxiliary_head/classifier/bias")
    found, said = loaded(tmp_path, state, MODEL, allow=allow, seed=2)
    names = f"odd.weight, params/auxiliary_head/classifier/bias, {KERNEL}"
    assert said == [f"a.npz: differ, as allowed: {names}"]
    expected = initialised(MODEL, 2)["params"]["backbone"]["layer2_0"]["conv2"]["kernel"]
    kernel = found["params"]["backbone"]["layer2_0"]["conv2"]["kernel"]
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)
    with pytest.raises(InputError, match="allow: 'layer7' matches no name that misfits"):
        loaded(tmp_path, state, MODEL, allow=(*allow, "layer7"))
    with pytest.raises(InputError, match="not a regular expression"):
        loaded(tmp_path, state, MODEL, allow=("(",))


def test_a_classifier_for_other_classes_starts_from_the_seed_and_it_is_said(tmp_path):
    fewer = STATE["small"]("deeplabv3_resnet50", classes=3)
    found, said = loaded(tmp_path, fewer, MODEL, seed=2)
    assert said == [
        "a.npz: auxiliary_head/classifier re-initialised from seed 2: 3 → 21 classes",
        "a.npz: classifier re-initialised from seed 2: 3 → 21 classes",
    ]
    expected = initialised(MODEL, 2)["params"]["classifier"]["kernel"]
    np.testing.assert_allclose(found["params"]["classifier"]["kernel"], expected, rtol=1e-6)
    kernel = found["params"]["backbone"]["layer2_0"]["conv2"]["kernel"]
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), fewer[THEIRS])


def zeros(model):
    shapes = weights.variable_shapes(model)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shapes))


def test_our_own_files_may_have_other_classes_too(tmp_path):
    model = UNet(num_classes=2, depth=1, features=4)
    weights.save(tmp_path / "a.safetensors", zeros(model))
    said = []
    other = model.clone(num_classes=5)
    weights.load(tmp_path / "a.safetensors", other, note=said.append)
    assert said == ["a.safetensors: classifier re-initialised from seed 0: 2 → 5 classes"]


def test_an_auxiliary_head_that_the_model_has_not_is_left_out_and_it_is_said(state, tmp_path):
    found, said = loaded(tmp_path, state, MODEL.clone(auxiliary=False))
    assert said == ["a.npz: auxiliary_head ignored: the model is built without it"]
    assert "auxiliary_head" not in found["params"]
    without = {n: a for n, a in state.items() if not n.startswith("aux_")}
    with pytest.raises(InputError, match="missing: batch_stats/auxiliary_head/conv/norm/mean,"):
        loaded(tmp_path, without, MODEL)


def test_a_backbone_alone_takes_a_classification_network_with_or_without_its_classifier(
    tmp_path,
):
    state = STATE["small"]("resnet50")
    found, said = loaded(tmp_path, state, BACKBONE)
    assert said == ["a.npz: fc.weight, fc.bias ignored: the model does not classify images"]
    del state["fc.weight"], state["fc.bias"]
    again, said = loaded(tmp_path, state, BACKBONE)
    assert said == []
    jax.tree.map(np.testing.assert_array_equal, found, again)


def test_a_classification_checkpoint_goes_into_the_backbone_and_the_rest_is_new(tmp_path):
    state = STATE["small"]("resnet50")
    found, said = loaded(tmp_path, state, MODEL, seed=2)
    left = "a.npz: fc.weight, fc.bias ignored: the model does not classify images"
    new = "aspp, auxiliary_head, classifier, head"
    source = "backbone from a classification checkpoint (ResNet)"
    rest = f"a.npz: {source}; initialised from seed 2: {new}"
    assert said == [left, rest]
    kernel = found["params"]["backbone"]["layer2_0"]["conv2"]["kernel"]
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), state["layer2.0.conv2.weight"])
    expected = initialised(MODEL, 2)
    for collection, head in (("params", "aspp"), ("batch_stats", "head"), ("params", "head")):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
            dict(found[collection][head]),
            dict(expected[collection][head]),
        )
    del state["layer4.0.conv3.weight"]
    with pytest.raises(InputError, match="1 missing: params/backbone/layer4_0/conv3/kernel"):
        loaded(tmp_path, state, MODEL)


PREFIXES = ("module.", "_orig_mod.", "module._orig_mod.", "model.", "net.", "state_dict.a.b.")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_prefix_of_a_wrapper_is_left_out_and_it_is_said(prefix, state, tmp_path):
    plain, _ = loaded(tmp_path, state, MODEL)
    counter = {"n_averaged": np.array(3)}
    wrapped = {f"{prefix}{name}": array for name, array in state.items()} | counter
    found, said = loaded(tmp_path, wrapped, MODEL)
    learned = sum(array.ndim > 0 for array in state.values())
    assert said == [f"a.npz: the prefix {prefix!r} is removed from all {learned} names"]
    jax.tree.map(np.testing.assert_array_equal, plain, found)


WRAPPERS = {
    "torch.compile": (r"(layer1\.)", r"\1_orig_mod."),
    "FSDP": (r"(layer\d\.0\.)", r"\1_fsdp_wrapped_module."),
    "old FSDP": (r"(layer\d\.)", r"\1_fsdp_wrapped_module._fpw_module."),
    "checkpointing": (r"(layer\d\.0\.)", r"\1_checkpoint_wrapped_module."),
    "the backbone": ("^backbone.", "backbone._orig_mod."),
    "in DDP": ("^backbone.", "backbone._orig_mod.module."),
    "both": (r"^(.+?)\.(layer\d\.)?", r"module._orig_mod.\1._orig_mod.\2"),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_parts_of_wrappers_are_left_out_wherever_they_stand(wrapper, state, tmp_path):
    plain, _ = loaded(tmp_path, state, MODEL)
    wrapped = {re.sub(*WRAPPERS[wrapper], name): array for name, array in state.items()}
    assert wrapped.keys() != state.keys()
    found, said = loaded(tmp_path, wrapped, MODEL)
    assert "the wrappers' " in said[-1]
    jax.tree.map(np.testing.assert_array_equal, plain, found)


def test_a_wrapped_copy_beside_the_same_name_is_unexpected_by_its_own(state, tmp_path):
    name = "backbone.layer1.0.conv1.weight"
    copy = name.replace("layer1.", "layer1._orig_mod.")
    with pytest.raises(InputError, match=rf"1 unexpected: {copy}\."):
        loaded(tmp_path, {**state, copy: state[name]}, MODEL)


@pytest.mark.parametrize("prefix", ["backbone.", "module.model.backbone."])
def test_a_backbone_alone_may_have_the_name_that_it_has_in_a_network(prefix, tmp_path):
    state = STATE["small"]("resnet50")
    wrapped = {f"{prefix}{name}": array for name, array in state.items() if "fc." not in name}
    found, said = loaded(tmp_path, wrapped, MODEL)
    assert said[0].startswith(f"a.npz: the prefix {prefix!r} is removed from all")
    assert "backbone from a classification checkpoint (ResNet)" in said[1]
    kernel = found["params"]["backbone"]["layer2_0"]["conv2"]["kernel"]
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), state["layer2.0.conv2.weight"])


def test_what_lies_beside_a_wrapped_network_is_unexpected_or_left_out_by_its_key(
    state, tmp_path
):
    beside = {f"model.{name}": array for name, array in state.items()}
    beside["criterion.weight"] = np.ones(21, np.float32)
    with pytest.raises(InputError) as error:
        loaded(tmp_path, beside, MODEL)
    assert "1 unexpected: criterion.weight. Build" in str(error.value)
    assert "or set key='model' to use only the arrays under 'model'" in str(error.value)
    _, said = loaded(tmp_path, beside, MODEL, key="model")
    assert said == [f"a.npz: {len(state)} arrays taken from under 'model.'; 1 others ignored"]
    _, said = loaded(tmp_path, beside, MODEL, allow=("^criterion",))
    assert said[1] == "a.npz: differ, as allowed: criterion.weight"
    learned = sum(array.ndim > 0 for array in state.values())
    assert f"'model.' is removed from {learned} of the {learned + 1} names" in said[0]
    del beside["model.classifier.4.bias"]
    beside["model.odd.bias"] = np.ones(3, np.float32)
    with pytest.raises(InputError, match=r"2 unexpected: criterion.weight, model.odd.bias\."):
        loaded(tmp_path, beside, MODEL)


def test_of_two_networks_in_one_state_dict_one_must_be_chosen(state, tmp_path):
    both = {f"student.{name}": array for name, array in state.items()}
    both |= {f"teacher.{name}": array + 1 for name, array in state.items()}
    with pytest.raises(
        InputError, match="holds 2 networks, under 'student', 'teacher'; choose"
    ):
        loaded(tmp_path, both, MODEL)
    found, said = loaded(tmp_path, both, MODEL, key="teacher")
    assert f"{len(state)} arrays taken from under 'teacher.'; {len(state)} others" in said[0]
    np.testing.assert_array_equal(
        found["params"]["classifier"]["bias"], state["classifier.4.bias"] + 1
    )
    with pytest.raises(
        InputError, match=r"nothing under key='tea'; it has 'student', 'teacher'"
    ):
        loaded(tmp_path, both, MODEL, key="tea")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_refused_by_name_or_starts_from_the_seed(
    bad, state, tmp_path
):
    state[THEIRS][0, 0, 0, :2] = bad
    with pytest.raises(InputError) as error:
        loaded(tmp_path, state, MODEL)
    assert "holds weights that are not finite (NaN or infinite). 1 with" in str(error.value)
    assert f"{KERNEL} ({THEIRS}) has 2 of {state[THEIRS].size}. Use an" in str(error.value)
    found, said = loaded(tmp_path, state, MODEL, allow=("layer2_0/conv2",), seed=2)
    assert said == [f"a.npz: differ, as allowed: {KERNEL}"]
    expected = initialised(MODEL, 2)["params"]["backbone"]["layer2_0"]["conv2"]["kernel"]
    kernel = found["params"]["backbone"]["layer2_0"]["conv2"]["kernel"]
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)


def test_a_float64_that_float32_cannot_hold_is_not_finite(state, tmp_path):
    state["classifier.4.bias"] = np.full(21, 1e300)
    with pytest.raises(InputError, match=r"classifier/bias \(classifier.4.bias\) has 21 of 21"):
        loaded(tmp_path, state, MODEL)


def test_a_layout_that_is_not_known_is_refused_with_some_of_its_names(tmp_path):
    state = {f"encoder.{i}.weight": np.zeros((2, 2), np.float32) for i in range(9)}
    with pytest.raises(InputError) as error:
        loaded(tmp_path, state, MODEL)
    assert re.search(
        r"no layout that segjax knows: its arrays are encoder\.0", str(error.value)
    )
    assert "Known: torchvision's segmentation networks, ResNet, DenseNet" in str(error.value)


def test_a_plan_hands_on_what_is_said_and_starts_from_the_experiments_seed(tmp_path):
    tiny = experiment.load(FOLDER.parent / "commands" / "tiny.py")
    other = tiny.model.clone(num_classes=9)
    weights.save(tmp_path / "a.safetensors", zeros(other))
    init = weights.Pretrained(str(tmp_path / "a.safetensors"))
    said = []
    plan = make_plan(dataclasses.replace(tiny, init=init, seed=7), note=said.append)
    assert said == ["a.safetensors: classifier re-initialised from seed 7: 9 → 6 classes"]
    kernels = plan.initial_state().params["classifier"]["kernel"]
    expected = initialised(tiny.model, 7)["params"]["classifier"]["kernel"]
    np.testing.assert_allclose(kernels, expected, rtol=1e-6)
    assert len(said) == 1


class OwnNetwork(nn.Module):
    """A network of one's own, which names no classifiers."""

    num_classes: int = 3
    width: int = 4

    @nn.compact
    def __call__(self, image, *, train: bool):
        features = nn.Conv(self.width, (1, 1), name="stem")(image)
        return nn.Conv(self.num_classes, (1, 1), name="classifier")(features)


class OwnWithClassifiers(OwnNetwork):
    classifiers: tuple[str, ...] = ("classifier",)


def test_a_network_of_ones_own_for_other_classes_is_told_to_name_its_classifiers(tmp_path):
    weights.save(tmp_path / "own.npz", initialised(OwnNetwork(), 0))
    load = lambda model, **options: weights.load(tmp_path / "own.npz", model, **options)
    with pytest.raises(InputError) as error:
        load(OwnNetwork(5))
    assert str(error.value).endswith(
        "If these layers score the model's 5 classes and may be initialised from the seed, "
        "give the model classifiers = ('classifier',)."
    )
    said = []
    load(OwnWithClassifiers(5), note=said.append)
    assert said == ["own.npz: classifier re-initialised from seed 0: 3 → 5 classes"]
    with pytest.raises(InputError) as error:
        load(OwnNetwork(width=6))
    assert "classifiers" not in str(error.value)
    with pytest.raises(InputError, match="^model: OwnWithClassifiers.classifiers names 'clasi"):
        load(OwnWithClassifiers(5, classifiers=("clasifier",)))

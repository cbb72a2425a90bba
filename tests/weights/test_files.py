"""Weights files of any kind give the same arrays, and none of them is run."""

import io
import os
import pathlib
import pickle
import runpy

import jax
import numpy as np
import pytest

from segjax import weights
from segjax.backbones.resnet import ResNet
from segjax.errors import InputError
from segjax.models.deeplab_v3 import DeepLabV3
from segjax.pretrained.files import read_arrays

FOLDER = pathlib.Path(__file__).parent
MAKER = runpy.run_path(str(FOLDER / "make_torch_files.py"))
STATE = runpy.run_path(str(FOLDER / "state_dicts.py"))
LIKE = runpy.run_path(str(FOLDER / "torch_like.py"))
KINDS = (".safetensors", ".npz", ".pth")
BACKBONE = ResNet(stages=(1, 1, 1, 1), width=8, output_stride=8)
MODEL = DeepLabV3(BACKBONE, 21, (1, 2, 3), auxiliary=True, features=32)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_gives_the_same_variables_in_any_kind_of_file_and_dtype(
    kind, dtype, tmp_path
):
    state = STATE["small"]("deeplabv3_resnet50")
    path = STATE["write"](tmp_path / f"a{kind}", STATE["as_dtype"](state, dtype))
    said = []
    found = weights.load(path, MODEL, note=said.append)
    assert said == []
    assert len(jax.tree.leaves(found)) == sum(a.ndim > 0 for a in state.values())
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float32"}
    block, statistics = found["params"]["backbone"]["layer4_0"], found["batch_stats"]
    for array, name in (
        (block["conv2"]["kernel"].transpose(3, 2, 0, 1), "backbone.layer4.0.conv2.weight"),
        (block["downsample_bn"]["scale"], "backbone.layer4.0.downsample.1.weight"),
        (found["params"]["classifier"]["bias"], "classifier.4.bias"),
        (statistics["aspp"]["convs_4"]["norm"]["var"], "classifier.0.convs.4.2.running_var"),
        (statistics["auxiliary_head"]["conv"]["norm"]["mean"], "aux_classifier.1.running_mean"),
    ):
        np.testing.assert_array_equal(array, state[name])


@pytest.mark.parametrize("file", ["tensors.pth", "tensors_legacy.pth"])
def test_what_pytorch_itself_wrote_is_read_with_views_and_small_dtypes(file):
    found = read_arrays(FOLDER / file).arrays
    expected = MAKER["tensors"]()
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array.astype(np.float32), expected[name])
    assert (found["half"].dtype, found["bfloat16"].dtype) == ("float16", "bfloat16")


class Hostile:
    """Unpickled the usual way it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def _legacy(pickles: bytes) -> bytes:
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    rest = (pickles, pickle.dumps([], protocol=2))
    return b"".join([*(pickle.dumps(item, protocol=2) for item in head), *rest])


@pytest.mark.parametrize("form", ["zip", "legacy", "plain"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_a_pickle_that_names_a_function_holds_no_state_dict_and_the_function_is_not_called(
    form, suffix, tmp_path
):
    folder = tmp_path / "made"
    code = pickle.dumps({"conv1.weight": Hostile(folder)}, protocol=2)
    forms = {"zip": lambda: STATE["torch_zip"](code, []), "legacy": lambda: _legacy(code)}
    path = tmp_path / f"a{suffix}"
    path.write_bytes(forms.get(form, lambda: code)())
    with pytest.raises(
        InputError, match=r"no state dict, but a dict .* keys are 'conv1.weight'"
    ):
        weights.load(str(path), MODEL)
    assert not folder.exists()
    pickle.loads(code)
    assert folder.exists()


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path):
    arrays = {"a": np.ones((2, 3), np.float32)}
    path = tmp_path / "a.pth"
    message = "storage 0 does not have the 6 elements of a;"
    for offset in (1, -1):
        code = STATE["pickled"](arrays, offset=offset)
        path.write_bytes(STATE["torch_zip"](code, list(arrays.values())))
        with pytest.raises(InputError, match=message):
            read_arrays(path)
    path.write_bytes(STATE["torch_zip"](STATE["pickled"](arrays), [np.ones(5, np.float32)]))
    with pytest.raises(InputError, match=message):
        read_arrays(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_views_of_one_storage_are_read_with_their_offsets_and_strides(legacy, tmp_path):
    base = np.arange(24, dtype=np.float64).reshape(4, 6)
    views = {"whole": base, "turned": base.T, "part": base[1:, ::2], "row": base[3]}
    tensors = {name: LIKE["Tensor"](view, base) for name, view in views.items()}
    tensors["number"] = LIKE["Tensor"](np.int64(3))
    path = tmp_path / "a.pth"
    path.write_bytes(LIKE["saved"](tensors, legacy=legacy))
    found = read_arrays(path).arrays
    for name, view in (*views.items(), ("number", 3)):
        np.testing.assert_array_equal(found[name], view)
    shared = found["whole"].__array_interface__["data"][0]
    assert found["row"].__array_interface__["data"][0] == shared + 18 * 8


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_of_numpys_arrays_is_a_state_dict_too(protocol, tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "turned": np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3)),
        "b": np.array([True, False]),
        "axes": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 0, 2),
    }
    arrays["fixed"] = arrays["a"].copy()
    arrays["fixed"].flags.writeable = False
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "args": Hostile("a")}, protocol=protocol))
    found = read_arrays(path)
    assert found.notes == ("state dict taken from 'model'",)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
    path.write_bytes(pickle.dumps({"a": np.array([{}])}, protocol=protocol))
    with pytest.raises(
        InputError, match="a is an array of NumPy's that is not of plain numbers"
    ):
        read_arrays(path)


def test_a_tensor_that_is_not_plain_is_named(tmp_path):
    path = tmp_path / "a.pth"
    odd = LIKE["Tensor"](np.ones(2, np.float32), maker="_rebuild_qtensor")
    path.write_bytes(LIKE["saved"]({"conv1.weight": odd}))
    with pytest.raises(InputError, match=r"conv1.weight is a special tensor \(qtensor\)"):
        read_arrays(path)


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.98])
@pytest.mark.parametrize("kind", [*KINDS, "legacy.pth"])
def test_a_truncated_file_is_refused(kind, share, tmp_path):
    path = tmp_path / f"a{kind}"
    if kind == "legacy.pth":
        path.write_bytes((FOLDER / "tensors_legacy.pth").read_bytes())
    else:
        STATE["write"](path, {"a": np.ones((9, 9), np.float32), "b": np.ones(3, np.float32)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    expected = r"cannot be read as weights: it is (empty|cut off)|its content is not of safet"
    with pytest.raises(InputError, match=expected) as error:
        read_arrays(path)
    assert share < 0.5 or "cut off" in str(error.value)


def test_a_legacy_file_that_ends_between_its_storages_is_called_cut_off(tmp_path):
    state = {"a": LIKE["Tensor"](np.ones(3, np.float32))}
    whole = LIKE["saved"](state, legacy=True)
    path = tmp_path / "a.pth"
    for left in range(1, 20):
        path.write_bytes(whole[:-left])
        with pytest.raises(InputError, match="it is cut off: ") as error:
            read_arrays(path)
        assert "unpack" not in str(error.value)


def test_what_is_no_state_dict_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(STATE["torch_zip"](pickle.dumps([1, 2], protocol=2), []))
    with pytest.raises(InputError, match="holds no state dict, but a list"):
        read_arrays(path)
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{}], dtype=object))
    path.with_suffix(".npz").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="has arrays of Python objects; save plain numbers"):
        read_arrays(path.with_suffix(".npz"))

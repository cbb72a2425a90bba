"""Exported detectors and panoptic networks find what predict finds, without segjax."""

import contextlib
import functools
import io
import json
import os
import pathlib
import re
import runpy
import subprocess
import sys

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax import export as jax_export
from PIL import Image

from segjax.detection.grouping import group, panoptic_map
from segjax.detection.panoptic_merge import merge_panoptic
from segjax.experiment import load, override
from segjax.export import __main__ as export
from segjax.export.programs import PASTE, after_outputs
from segjax.objects import Objects, encoded
from segjax.ops.paste_masks import paste_mask
from segjax.segmenter import Segmenter
from segjax.tasks.detector import CanvasPredictor, Sizes, objects_of, sizes_on_canvas
from segjax.tasks.detector_program import from_whole_images, object_outputs
from segjax.tasks.panoptic_fpn import Parts, labels_at
from segjax.tasks.two_stage import Detections
from segjax.tasks.two_stage_constants import TwoStages
from segjax.weights import save, variable_shapes

TASKS = pathlib.Path(__file__).parents[1] / "tasks"
DISCS, TOP_DOWN, BOTTOM_UP = (
    TASKS / f"{name}.py" for name in ("discs", "tiny_panoptic_fpn", "tiny_panoptic")
)
LIVELY = runpy.run_path(str(TASKS.parent / "fill.py"))["lively"]
LOW = ("task.least_score=0.05",)
BOXES_ALONE = ("model.has_masks=False", "task.masks=False")
BLOCKED = "import sys; sys.modules['segjax'] = sys.modules['flax'] = None\n"
KEEPING = "\nimport pickle; pickle.dump(({}), open('found.pickle', 'wb'))\n"


@pytest.fixture(autouse=True)
def symbols_are_sizes(monkeypatch, tmp_path) -> None:
    """The suite's check of shapes knows integers only; and each test has its own folder."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.chdir(tmp_path)


def words(file: pathlib.Path, settings=()) -> list[str]:
    """The arguments of a network of random weights, of which no scores are 0 or 1."""
    variables = LIVELY(variable_shapes(functools.reduce(override, settings, load(file)).model))
    save("w.safetensors", jax.tree.map(lambda leaf: leaf * 0.7, variables))
    return [str(file), "--weights", "w.safetensors", *(f"--set={each}" for each in settings)]


def exported(file: pathlib.Path, size: str, *options: str, settings=()) -> str:
    """Writes m.stablehlo; returns the program that the command prints."""
    out = io.StringIO()
    arguments = ["--out", "m.stablehlo", "--size", size, "--platforms", "cpu", *options]
    with contextlib.redirect_stdout(out):
        assert export.main([*words(file, settings), *arguments]) == 0
    return out.getvalue().split("without segjax:\n\n")[1]


def outputs_of(images: np.ndarray) -> dict[str, np.ndarray]:
    run = jax.jit(
        jax_export.deserialize(bytearray(pathlib.Path("m.stablehlo").read_bytes())).call
    )
    return jax.device_get(run(images))


def defined(program: str) -> dict:
    """What the printed program defines, without reading a file or a photograph."""
    names = {"numpy": np}
    exec(program[program.index("def paste") :].rpartition("\n\n\n")[0], names)
    return names


def drawn(count: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, *size, 3)).astype(np.uint8)


def segmenter(file: pathlib.Path, settings=()) -> Segmenter:
    return Segmenter.from_experiment(file, weights="w.safetensors", settings=settings)


def assert_same_objects(outputs, i: int, wanted: Objects) -> None:
    count = int(outputs["count"][i])
    assert count == len(wanted) > 3
    np.testing.assert_allclose(outputs["boxes"][i, :count], wanted.boxes, atol=1e-2)
    np.testing.assert_allclose(outputs["scores"][i, :count], wanted.scores, atol=1e-4)
    np.testing.assert_array_equal(outputs["classes"][i, :count], wanted.classes)
    for name in ("boxes", "scores", "classes"):
        assert not outputs[name][i, count:].any()


def of_pixels(variables, images, sizes) -> Detections:
    """A network that finds in each image two objects, which its pixels and size decide."""
    rows, columns = (images[..., 0].sum(axis) for axis in (2, 1))
    height, width = sizes[:, 0].astype(jnp.float32), sizes[:, 1].astype(jnp.float32)
    y, x = (each[:, 10] / each.max(1) for each in (rows, columns))
    box = jnp.stack([x * width / 2, y * height / 2, width, height - 1], -1)
    return Detections(
        jnp.stack([box, box / 2, box], 1),
        jnp.broadcast_to(jnp.asarray([[2, 1, 0]]), (len(images), 3)),
        jnp.stack([x, x / 2, x * 0], 1),
        jnp.broadcast_to(jnp.asarray([[True, True, False]]), (len(images), 3)),
        jnp.broadcast_to(images[:, None, :4, :4, 0], (len(images), 3, 4, 4)),
    )


@pytest.mark.parametrize(
    ("shortest", "antialias", "rounding"),
    [(None, False, 1e-4), (40, False, 1e-4), (40, True, 0.02)],
)
def test_a_program_resizes_images_and_boxes_as_the_predictor_does(
    shortest, antialias, rounding
):
    constants = TwoStages(shortest=shortest, longest=48, multiple=8, antialias=antialias)
    size, images = (56, 60), drawn(3, (56, 60))
    sizes = sizes_on_canvas(size, constants)
    assert sizes.canvas == ((56, 64) if shortest is None else (40, 48))
    run = from_whole_images(
        of_pixels, lambda found: object_outputs(found, sizes), sizes, antialias=antialias
    )
    outputs = jax.device_get(jax.jit(run)({}, images))
    predictor = CanvasPredictor(of_pixels, num_classes=3, constants=constants)
    found, inside = predictor({}, images)
    for i in range(3):
        wanted = objects_of(found, i, on_canvas=inside, size=size)
        assert outputs["count"][i] == 2
        np.testing.assert_allclose(outputs["boxes"][i, :2], wanted.boxes, rtol=rounding)
        np.testing.assert_allclose(outputs["scores"][i, :2], wanted.scores, rtol=rounding)
        np.testing.assert_array_equal(outputs["classes"][i], [2, 1, 0])
        found_masks = found.masks[i, :2]
        np.testing.assert_allclose(outputs["masks"][i, :2], found_masks, atol=rounding / 5)
        assert not outputs["boxes"][i, 2].any() and not outputs["masks"][i, 2].any()


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(), BOXES_ALONE])
def test_a_detector_finds_what_predict_finds_in_any_number_of_images(settings):
    program = exported(DISCS, "56x60", settings=settings)
    images = drawn(3, (56, 60))  # On the canvas they are 40 x 42.
    outputs, predict = outputs_of(images), segmenter(DISCS, settings)
    has_masks = settings == ()
    assert ("masks" in outputs) == has_masks == ("def paste" in program)
    for i, image in enumerate(images):
        wanted = predict(image)
        assert_same_objects(outputs, i, wanted)
        for slot in range(len(wanted) if has_masks else 0):
            arguments = outputs["masks"][i, slot], outputs["boxes"][i, slot], 56, 60
            mask = defined(program)["paste"](*arguments)
            assert (mask != wanted.mask(slot)).sum() <= 2 and mask.any()
    about = json.loads(pathlib.Path("m.stablehlo.json").read_text())
    assert about["input"] == {"shape": ["b", 56, 60, 3], "dtype": "uint8"}
    shape, dtype = about["output"]["shape"], about["output"]["dtype"]
    assert shape["boxes"] == ["b", 10, 4] and shape["count"] == ["b"]
    assert dtype["boxes"] == "float32" and dtype["classes"] == "int32"
    assert shape.get("masks", [])[1:] == [10, 4, 4] * has_masks
    assert about["class_names"] == ["background", "disc", "square"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "size", "options", "settings"),
    [
        (DISCS, (56, 60), (), ()),
        (TOP_DOWN, (70, 50), (), LOW),
        (TOP_DOWN, (70, 50), ("--output", "classes"), LOW),
        (BOTTOM_UP, (33, 47), (), ()),
    ],
)
def test_printed_lines_find_what_predict_finds_where_segjax_cannot_be_imported(
    file, size, options, settings
):
    program = exported(file, "x".join(map(str, size)), *options, settings=settings)
    (image,) = drawn(1, size)
    Image.fromarray(image).save("photo.png")
    names = "outputs, mask" if file == DISCS else "ids, segments"
    found = in_a_fresh_process(program.replace("photo.jpg", "photo.png"), names)
    wanted = segmenter(file, settings)(image)
    if isinstance(wanted, Objects):
        assert_same_objects(found[0], 0, wanted)
        np.testing.assert_array_equal(found[1], wanted.mask(len(wanted) - 1))
    else:
        assert len(wanted.segments) > 2
        assert found[1] == {each.id: each.class_id for each in wanted.segments}
        assert (found[0] != wanted.ids).mean() < 1e-3


def in_a_fresh_process(program: str, names: str):
    """Runs a program where segjax and Flax cannot be imported; returns what it names so."""
    command = [sys.executable, "-c", BLOCKED + program + KEEPING.format(names)]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return np.load("found.pickle", allow_pickle=True)


def test_the_recipe_pastes_masks_as_segjax_does():
    rng, size = np.random.default_rng(0), (40, 48)
    names = {"numpy": np}
    exec(PASTE, names)
    for _ in range(200):
        corner = rng.uniform(-20, 45, 2)
        box = np.concatenate([corner, corner + rng.uniform(0, 40, 2)]).astype(np.float32)
        mask = rng.uniform(0, 1, (int(rng.choice([4, 14, 28])),) * 2).astype(np.float32)
        np.testing.assert_array_equal(
            names["paste"](mask, box, *size), paste_mask(mask, box, size)
        )


@pytest.mark.parametrize("axes", [3, 4])
def test_the_recipe_merges_objects_and_stuff_as_segjax_does(axes):
    about = {
        "output": {"shape": {"count": ["b"], "masks": ["b"], "semantic": ["b"] * axes}},
        "semantic_classes": [255, 0, 1],
        "merge": {"least_score": 0.4, "overlap": 0.5, "stuff_area": 60},
    }
    merge = defined(after_outputs(about))["merge"]
    segments = 0
    for seed in range(20):
        rng, size = np.random.default_rng(seed), (30, 40)
        corners = rng.uniform(-5, 30, (8, 2))
        outputs = {
            "boxes": np.concatenate([corners, corners + rng.uniform(2, 20, (8, 2))], 1),
            "scores": np.sort(rng.uniform(0.3, 1, 8))[::-1],
            "classes": rng.integers(2, 4, 8),
            "masks": rng.uniform(0.2, 1, (8, 6, 6)),
            "semantic": np.kron(rng.uniform(0, 1, (3, 4, 3)), np.ones((10, 10, 1))),
        }
        names = np.array(about["semantic_classes"])
        stuff = names[outputs["semantic"].argmax(-1)]
        pasted = map(paste_mask, outputs["masks"], outputs["boxes"], [size] * 6)
        wanted = merge_panoptic(
            Objects(
                size,
                outputs["boxes"][:6],
                outputs["classes"][:6],
                outputs["scores"][:6],
                np.zeros(6, bool),
                tuple(map(encoded, pasted)),
            ),
            stuff,
            score=0.4,
            overlap=0.5,
            stuff_area=60,
        )
        outputs["semantic"] = stuff if axes == 3 else outputs["semantic"]
        outputs = {name: each[None] for name, each in outputs.items()} | {"count": [6]}
        ids, found = merge(outputs, 0)
        np.testing.assert_array_equal(ids, wanted.ids)
        assert found == {each.id: each.class_id for each in wanted.segments}
        segments += len(found)
    assert segments > 60


def test_the_recipe_groups_pixels_as_segjax_does():
    options = {"threshold": 0.1, "kernel": 5, "most": 6, "stuff_area": 90}
    about = {"output": {"shape": {}}, "grouping": options | {"things": [2, 3]}}
    names = {"numpy": np}
    exec(after_outputs(about).rpartition("\n\n\n")[0], names)
    grouped = jax.jit(functools.partial(group, things=(2, 3), **options))
    things = 0
    for seed in range(10):
        rng, size = np.random.default_rng(seed), (30, 40)
        coarse = np.kron(rng.uniform(0, 1, (3, 4, 4)), np.ones((10, 10, 1)))
        maps = {
            "semantic": coarse.astype(np.float32),
            "center": (rng.uniform(0, 1, (*size, 1)) ** 20).astype(np.float32),
            "offset": rng.uniform(-9, 9, (*size, 2)).astype(np.float32),
        }
        if seed == 9:
            maps["center"][:] = 0
        wanted = panoptic_map(jax.device_get(grouped(**maps)), (2, 3))
        ids, found = names["group"]({name: each[None] for name, each in maps.items()}, 0)
        np.testing.assert_array_equal(ids, wanted.ids)
        assert found == {each.id: each.class_id for each in wanted.segments}
        things += sum(each.is_thing for each in wanted.segments)
    assert things > 30


def test_a_semantic_map_is_that_of_predict_with_ids_of_stuff():
    experiment, sizes = load(TOP_DOWN), Sizes((53, 80), (27, 41), (32, 64))
    logits = np.random.default_rng(0).normal(size=(1, 8, 16, 3)).astype(np.float32)
    of_slots = lambda *shape: jnp.ones((1, 2, *shape))
    things = Detections(
        of_slots(4),
        jnp.asarray([[2, 1]]),
        of_slots(),
        jnp.asarray([[True, False]]),
        of_slots(4, 4),
    )
    task, model = experiment.task, experiment.model
    exported = functools.partial(task.exported, model=model, sizes=sizes, output="classes")
    outputs = exported(Parts(things, jnp.asarray(logits)))
    wanted = np.array([255, 0, 1])[labels_at(logits[0], sizes)]
    assert (outputs["semantic"][0] == wanted).mean() > 0.999
    assert outputs["semantic"].dtype == np.uint8 and outputs["classes"][0, 0] == 3
    broken = exported(Parts(things, jnp.asarray(logits).at[0, 1, 1, 1].set(jnp.nan)))
    assert np.isnan(broken["scores"]).all() and not np.isnan(outputs["scores"]).any()
    probabilities = task.exported(
        Parts(things, jnp.asarray(logits)), model, sizes, output="probabilities"
    )["semantic"]
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    assert (np.array([255, 0, 1])[probabilities[0].argmax(-1)] == wanted).mean() > 0.999


@pytest.mark.parametrize("has_onnx", [False, True])
@pytest.mark.parametrize(
    ("file", "arguments", "message"),
    [
        (DISCS, ["--out", "m.onnx"], "task=Instance has no translation to ONNX; give NAME.st"),
        (DISCS, ["--out", "m.onnx", "--size", "40x48"], "no translation to ONNX"),
        (TOP_DOWN, ["--out", "m.onnx", "--size", "64x64"], "task=TopDown has no translation"),
        (DISCS, ["--out", "m.stablehlo"], "--size any: task=Instance .* give --size HEIGHTxW"),
        (TOP_DOWN, ["--out", "m.stablehlo", "--output", "classes"], "--size any: task=TopDown"),
        (
            DISCS,
            ["--out", "m.stablehlo", "--size", "40x48", "--output", "classes"],
            "--output classes: task=Instance finds objects, .* leave --output out",
        ),
        (BOTTOM_UP, ["--out", "m.onnx"], "m.onnx needs one size; give --size HxW"),
    ],
)
def test_what_cannot_be_exported_is_one_line_whether_onnx_is_installed_or_not(
    file, arguments, message, has_onnx, monkeypatch, capsys
):
    installed = lambda name: True if has_onnx else None
    monkeypatch.setattr("importlib.util.find_spec", installed)
    assert export.main([str(file), "--weights", "never read", *arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1
    assert not [*pathlib.Path().iterdir()]


def test_the_guide_has_the_recipe():
    guide = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "export.md"
    assert PASTE in guide.read_text(encoding="utf-8")

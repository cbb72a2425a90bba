"""Masks for files and folders: names, pixel values, and what is refused before work starts."""

import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segjax import experiment as experiments
from segjax import launch, predict
from segjax.evaluate.compiled import predictor
from segjax.evaluate.crf import CRF
from segjax.evaluate.windows import SlidingWindow
from segjax.evaluate.wrappers import Flip, MultiScale
from segjax.train.checkpoint import Checkpoints

TINY = pathlib.Path(__file__).with_name("tiny.py")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("runs") / "run"
    settings = ("steps=8", "checkpoint_every=8", "model.features=8", "model.dropout=0.0")
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert launch.main([str(TINY), "--workdir", str(workdir), *arguments]) == 0
    return workdir


@pytest.fixture
def photos(tmp_path) -> pathlib.Path:
    """a.jpg of 20 × 30 and below/b.png of 17 × 9 pixels."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 20, 3), np.uint8)).save(folder / "a.jpg")
    Image.fromarray(rng.integers(0, 256, (9, 17, 3), np.uint8)).save(folder / "below" / "b.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def run(capsys, *arguments) -> tuple[int, str]:
    capsys.readouterr()
    status = predict.main([str(argument) for argument in arguments])
    return status, capsys.readouterr().err


def test_a_folder_keeps_its_structure_and_masks_hold_class_indices(finished, photos, capsys):
    out = photos.parent / "out"
    assert run(capsys, finished, photos, "--out", out)[0] == 0
    written = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png"))
    assert written == ["a.png", "below/b.png"]
    with Image.open(out / "below" / "b.png") as mask:
        assert mask.mode == "P" and mask.size == (17, 9)
        indices = np.array(mask)
    with Image.open(photos / "below" / "b.png") as photo:
        image = np.array(photo)
    experiment = experiments.load(finished / "experiment.py")
    model = experiment.model.clone(features=8, dropout=0.0)
    with Checkpoints(finished, read_only=True) as checkpoints:
        _, variables = checkpoints.restore_variables()
    normalized = experiment.normalize(jnp.asarray(image)[None])
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, normalized)
    np.testing.assert_array_equal(indices, np.argmax(logits[0], -1))


def test_a_file_gives_its_stem_and_overlays_stand_beside_the_masks(finished, photos, capsys):
    out = photos.parent / "out"
    assert run(capsys, finished, photos / "a.jpg", "--out", out, "--overlay")[0] == 0
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "a_overlay.png"]
    with Image.open(out / "a_overlay.png") as drawn:
        assert drawn.size == (20, 30)


def test_predicting_twice_gives_the_same_files(finished, photos, capsys):
    out = photos.parent / "out"
    contents = []
    for _ in range(2):
        assert run(capsys, finished, photos, "--out", out)[0] == 0
        contents.append({p: p.read_bytes() for p in out.rglob("*.png")})
    assert contents[0] == contents[1]


def test_a_broken_image_is_named_and_the_others_get_their_masks(finished, photos, capsys):
    (photos / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:200])
    out = photos.parent / "out"
    status, error = run(capsys, finished, photos, "--out", out)
    assert status == 1 and "1 of 3 images have no mask" in error and "broken.jpg" in error
    assert len(list(out.rglob("*.png"))) == 2


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["photos", "photos/a.jpg"], "out", "would both be written to"),
        (["photos/none.jpg"], "out", "There is no file or folder"),
        (["photos/notes.txt"], "out", "is no image; known suffixes are .jpg"),
        (["empty"], "out", "holds no image"),
        (["photos"], "photos/out", "its masks would become inputs"),
        (["photos"], "photos/notes.txt", "is a file; name a folder"),
        (["photos/below/b.png"], "photos/below", "is there already, beside b.png"),
    ],
)
def test_wrong_inputs_are_refused_before_anything_is_written(
    inputs, out, message, finished, photos, monkeypatch, capsys
):
    monkeypatch.chdir(photos.parent)
    (photos.parent / "empty").mkdir()
    before = sorted(photos.parent.rglob("*"))
    status, error = run(capsys, finished, *inputs, "--out", out)
    assert (status, message in error) == (2, True), error
    assert sorted(photos.parent.rglob("*")) == before


def test_a_folder_that_is_no_run_is_refused(photos, capsys):
    status, error = run(capsys, photos, photos / "a.jpg", "--out", photos.parent / "out")
    assert status == 2 and "is no run's folder: it has no experiment.txt" in error


def test_the_output_may_not_share_a_name_with_an_overlay(finished, photos, capsys):
    shutil.copy(photos / "a.jpg", photos / "a_overlay.jpg")
    status, error = run(capsys, finished, photos, "--out", photos.parent / "o", "--overlay")
    assert status == 2 and "a_overlay.png" in error


def _wrapped(finished, image, *wrappers):
    """Class ids of one image from the finished run's network in these wrappers."""
    experiment = experiments.load(finished / "experiment.py")
    model = experiment.model.clone(features=8, dropout=0.0)
    with Checkpoints(finished, read_only=True) as checkpoints:
        _, variables = checkpoints.restore_variables()
    wrapped = predictor(model, experiment.normalize, wrappers=wrappers)
    return wrapped.classes(variables, image[None])[0]


@pytest.mark.parametrize(
    "options, wrappers",
    [
        (("--flip", "--scales", "0.5,1,2"), (Flip(), MultiScale((0.5, 1.0, 2.0)))),
        (("--window", "16"), (SlidingWindow(16),)),
        (("--crf",), (CRF(),)),
    ],
    ids=lambda options: "".join(map(str, options))[:16],
)
def test_options_wrap_the_network_as_evaluation_would(
    finished, photos, capsys, options, wrappers
):
    out, photo = photos.parent / "out", photos / "below" / "b.png"
    assert run(capsys, finished, photo, "--out", out, *options)[0] == 0
    with Image.open(photo) as read, Image.open(out / "b.png") as mask:
        image, written = np.array(read), np.array(mask)
    np.testing.assert_array_equal(written, _wrapped(finished, image, *wrappers))


@pytest.mark.parametrize(
    "options, said",
    [
        (("--scales", "0.5,x"), "'0.5,x' is no list of numbers"),
        (("--scales", "0,1"), "numbers above 0, got 0.0"),
        (("--window", "0"), "size=0"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_written(
    finished, photos, capsys, options, said
):
    out = photos.parent / "out"
    try:
        status, error = run(capsys, finished, photos, "--out", out, *options)
    except SystemExit as exit:  # argparse's own.
        status, error = exit.code, capsys.readouterr().err
    assert status == 2 and said in error and not out.exists()


def test_an_image_that_a_wrapper_cannot_take_is_told_at_the_end_and_the_rest_is_done(
    finished, photos, capsys
):
    out = photos.parent / "out"
    deep = np.full((9, 9, 3), 40_000, np.uint16)
    Image.fromarray(deep[..., 0]).save(photos / "0_deep.png")
    status, error = run(capsys, finished, photos, "--out", out, "--crf")
    assert status == 1 and "1 of 3 images have no mask" in error and "0_deep.png" in error
    assert (out / "a.png").is_file() and (out / "below" / "b.png").is_file()

"""Masks for files and folders: names, pixel values, and what is refused before work starts."""

import json
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
from segjax.evaluate.longest_side import LongestSide
from segjax.evaluate.windows import PadToMultiple, SlidingWindow
from segjax.evaluate.wrappers import Flip, MultiScale
from segjax.outputs import kinds
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
    assert sorted(p.name for p in out.iterdir()) == [
        "a.png",
        "a_overlay.png",
        "legend.svg",
        "predictions.json",
        "predictions.jsonl",
    ]
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


def test_an_image_above_the_limit_is_named_with_the_option_that_allows_it(
    finished, photos, capsys
):
    out = photos.parent / "out"
    limited = (finished, photos, "--out", out, "--max-megapixels")
    status, error = run(capsys, *limited, 0.0001)
    assert status == 1 and "2 of 2 images have no mask" in error
    assert "has 1 megapixels" in error and "allow it with --max-megapixels 1." in error
    assert run(capsys, *limited, 1)[0] == 0
    with pytest.raises(SystemExit, match="2"):
        run(capsys, *limited, "nan")


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["photos", "photos/a.jpg"], "out", "would both be written to"),
        (["photos/none.jpg"], "out", "There is no file or folder"),
        (["photos/notes.txt"], "out", "is not an image or a video; known suffixes are .jpg"),
        (["empty"], "out", "holds no image"),
        (["photos"], "photos/out", "its masks would become inputs"),
        (["photos"], "photos/notes.txt", "is a file; name a folder"),
        (["photos/below/b.png"], "photos/below", "b.png is an input and would be overwritten"),
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
    assert status == 2 and "is not the folder of a run: it has no experiment.txt" in error


def test_a_checkpoint_of_other_classes_than_the_data_name_is_refused(
    finished, photos, capsys, tmp_path
):
    copy = shutil.copytree(finished, tmp_path / "copy")
    text = (copy / "experiment.py").read_text()
    fewer = "\n\nclass Fewer(Synthetic):\n    class_names = ('a', 'b')\n"
    text = text.replace("eval_data=Synthetic", "eval_data=Fewer")
    (copy / "experiment.py").write_text(
        text.replace("\nexperiment =", fewer + "\nexperiment =")
    )
    out = tmp_path / "out"
    status, error = run(capsys, copy, photos, "--out", out)
    assert (status, error.count("\n"), out.exists()) == (2, 1, False), error
    assert "UNet predicts 6 classes, but eval_data has 2" in error


def test_what_is_asked_for_beside_the_mask_changes_no_pixel_of_it(finished, photos, capsys):
    masks = []
    for place, options in enumerate([(), ("--probabilities",), ("--blur", "2", "--coco")]):
        out = photos.parent / f"out{place}"
        words = (finished, photos / "a.jpg", "--out", out, "--window", "16", *options)
        assert run(capsys, *words)[0] == 0
        masks.append((out / "a.png").read_bytes())
    assert masks[0] == masks[1] == masks[2]


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
        pytest.param(("--crf",), (CRF(),), marks=pytest.mark.slow),
        (("--split", "2x2", "--flip"), (Flip(),)),
        (("--side", "16"), (LongestSide(16),)),
        (("--side", "0", "--pad-to-multiple", "8"), (PadToMultiple(8),)),
        pytest.param(
            ("--crf", "--side", "16"), (CRF(), LongestSide(16)), marks=pytest.mark.slow
        ),
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
        (("--side", "4"), "--side 4 must be 16 to 100000 pixels; 0 leaves every image at its"),
        (("--pad-to-multiple", "-2"), "multiple=-2 must be"),
        (("--split", "3x1"), "3 x 1 devices share an image, but there are 4"),
        (("--split", "2"), "'2' is not ROWSxCOLUMNS"),
        (("--blur", "0"), "--blur 0: give a number of pixels above 0"),
        (("--cut-out", "--keep", "disc"), "there is no such class; near: disk."),
        (("--keep", "disk"), "add one"),
        (("--background", "nocolour"), "is neither a file nor a colour"),
        (("--coco", "--tolerance", "-1"), "a number of pixels, 0 or more"),
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


EVERYTHING = (
    *("--overlay", "--probabilities", "--cut-out", "--blur", "2", "--background", "white"),
    *("--labelme", "--coco", "--areas", "--json"),
)


def test_everything_at_once_is_told_as_json_alone_and_skipped_the_second_time(
    finished, photos, capsys
):
    out = photos.parent / "out"
    told = []
    for _ in "12":
        capsys.readouterr()
        words = (finished, photos / "below", "--out", out, *EVERYTHING)
        assert predict.main([str(word) for word in words]) == 0
        told.append(json.loads(capsys.readouterr().out))
    first, second = told
    suffixes = (".png", "_overlay.png", ".npz", "_blur.png", "_background.png", "_cutout.png")
    expected = {f"b{suffix}" for suffix in (*suffixes, ".json")}
    assert {pathlib.Path(path).name for path in first["images"][0]["outputs"]} == expected
    assert {p.name for p in out.iterdir()} == expected | {
        "annotations.json",
        "areas.csv",
        "legend.svg",
        "predictions.json",
        "predictions.jsonl",
    }
    assert first["counts"] == {"images": 1, "made": 1, "skipped": 0, "failed": 0, "kept": 0}
    assert second["counts"] == {"images": 1, "made": 0, "skipped": 1, "failed": 0, "kept": 0}
    assert first["step"] == 8 and first["run"] == str(finished.resolve())
    with np.load(out / "b.npz") as stored, Image.open(out / "b.png") as mask:
        np.testing.assert_array_equal(stored["probabilities"].argmax(-1), np.array(mask))


def test_an_interrupted_command_goes_on_where_it_stopped(finished, photos, capsys, monkeypatch):
    out, save = photos.parent / "out", kinds.Overlay.save

    def interrupted(self, answer, path):
        if "a_overlay.png" not in path.name:
            raise KeyboardInterrupt
        save(self, answer, path)

    monkeypatch.setattr(kinds.Overlay, "save", interrupted)
    words = (finished, photos, "--out", out, "--overlay", "--areas")
    assert run(capsys, *words)[0] == 130
    first = (out / "a.png").stat().st_mtime_ns
    assert not (out / "areas.csv").exists() and not (out / "below/b_overlay.png").exists()
    monkeypatch.setattr(kinds.Overlay, "save", save)
    assert run(capsys, *words)[0] == 0
    assert (out / "a.png").stat().st_mtime_ns == first
    assert (out / "below/b_overlay.png").exists()
    assert len((out / "areas.csv").read_text().splitlines()) == 1 + 2 * 6


def test_another_step_or_way_of_predicting_makes_all_anew_and_says_so(finished, photos, capsys):
    words = (finished, photos / "below", "--out", photos.parent / "out")
    assert "made again" not in run(capsys, *words)[1]
    assert "made again" not in run(capsys, *words, "--overlay")[1]
    status, error = run(capsys, *words, "--window", "32")
    assert status == 0 and "SlidingWindow" in error and "all files are made again" in error


@pytest.mark.parametrize("there", ["a.png", "below/b_overlay.png", "areas.csv"])
def test_what_others_wrote_into_the_output_folder_is_refused_and_left(
    finished, photos, capsys, there
):
    path = photos.parent / "out" / there
    path.parent.mkdir(parents=True)
    path.write_bytes(b"by hand")
    words = (finished, photos, "--out", photos.parent / "out", "--overlay", "--areas")
    status, error = run(capsys, *words)
    assert status == 2 and f"{there} exists already" in error and error.count("\n") == 1
    written = [p for p in (photos.parent / "out").rglob("*") if p.is_file()]
    assert written == [path] and path.read_bytes() == b"by hand"
    path.unlink()
    assert [run(capsys, *words)[0] for _ in "12"] == [0, 0]


def test_masks_beside_their_images_are_made_once(finished, photos, capsys):
    words = (finished, photos / "a.jpg", "--out", photos, "--overlay")
    assert run(capsys, *words)[0] == 0
    first = (photos / "a.png").stat().st_mtime_ns
    (photos / "a_overlay.png").unlink()
    assert run(capsys, *words)[0] == 0
    assert (photos / "a_overlay.png").is_file()
    assert (photos / "a.png").stat().st_mtime_ns == first


def test_two_inputs_of_one_name_in_turn_have_each_its_own_mask(finished, photos, capsys):
    out, other = photos.parent / "out", photos.parent / "other"
    other.mkdir()
    shutil.copy(photos / "a.jpg", other / "b.png")
    assert run(capsys, finished, photos / "below/b.png", "--out", out)[0] == 0
    assert run(capsys, finished, other / "b.png", "--out", out)[0] == 0
    with Image.open(out / "b.png") as mask:
        assert mask.size == (20, 30)


def test_cocos_images_are_files_also_where_they_are_frames(finished, tmp_path, capsys):
    frames = [Image.new("RGB", (17, 9), (value,) * 3) for value in (0, 240)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
    words = (finished, tmp_path / "clip.gif", "--out", tmp_path / "out", "--coco")
    assert run(capsys, *words)[0] == 0
    images = json.loads((tmp_path / "out" / "annotations.json").read_text())["images"]
    for image in images:
        with Image.open(tmp_path / "out" / image["file_name"]) as frame:
            assert frame.size == (17, 9)
    assert len(images) == 2


def test_images_of_all_kinds_have_masks_of_their_upright_size(finished, tmp_path, capsys):
    folder, exif = tmp_path / "kinds", Image.Exif()
    folder.mkdir()
    exif[0x0112] = 6
    pixels = np.random.default_rng(1).integers(0, 256, (9, 17, 4), np.uint8)
    Image.fromarray(pixels).save(folder / "alpha.png")
    Image.fromarray(pixels[..., 0]).save(folder / "grey.png")
    Image.fromarray(pixels[..., :3].swapaxes(0, 1)).save(folder / "turned.png", exif=exif)
    (folder / "zero.png").write_bytes(b"")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(folder / "deep.png")
    words = (finished, folder, "--out", tmp_path / "out", "--cut-out", "--keep", "disk,ring")
    status, error = run(capsys, *words)
    assert status == 1 and "2 of 5 images have no mask" in error
    assert "deep.png has more than 8 bits" in error and "zero.png cannot be read" in error
    for name in ("alpha", "grey", "turned"):
        with Image.open(tmp_path / "out" / f"{name}.png") as mask:
            assert mask.size == (17, 9), name
        with Image.open(tmp_path / "out" / f"{name}_cutout.png") as cut:
            assert cut.mode == "RGBA" and cut.size == (17, 9)


def test_where_every_image_is_bad_the_status_says_so(finished, tmp_path, capsys):
    (tmp_path / "only.png").write_bytes(b"")
    words = (finished, tmp_path / "only.png", "--out", tmp_path / "out", "--areas", "--coco")
    status, error = run(capsys, *words)
    assert status == 1 and "1 of 1 images have no mask" in error

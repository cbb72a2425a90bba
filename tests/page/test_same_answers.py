"""One way to an answer: page, predict, evaluate and the exported program say the same."""

import io
import pathlib
import runpy

import jax
import jaxtyping
import numpy as np
import pytest
from jax import export as jax_export
from PIL import Image

from segjax import predict, serve
from segjax.data.images import read_image
from segjax.drawing.overlay import overlay
from segjax.export import __main__ as export
from segjax.page import routes
from segjax.page.limits import Limits
from segjax.page.runs import load_runs
from segjax.page.service import Service
from segjax.predictor_options import asked_side, asked_sources, asked_way
from segjax.train.evaluated import scorer
from segjax.train.trained import Source, Trained

RUN = runpy.run_path(str(pathlib.Path(__file__).with_name("untrained_run.py")))
untrained = RUN["untrained"]

BOUND = 2e-6
"""By which probabilities differ between programs of another batch or another form."""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("runs") / "run")


def _noise(*shape) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def _saved(image: Image.Image, path: pathlib.Path, **options) -> pathlib.Path:
    image.save(path, **options)
    return path


def _turned(folder: pathlib.Path) -> pathlib.Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _saved(Image.fromarray(_noise(38, 47, 3)), folder / "turned.jpg", exif=exif)


IMAGES = {
    "a JPEG of odd sides": lambda d: _saved(Image.fromarray(_noise(37, 53, 3)), d / "a.jpg"),
    "a JPEG that a camera turned": _turned,
    "alpha": lambda d: _saved(Image.fromarray(_noise(21, 33, 4)), d / "alpha.png"),
    "grey": lambda d: _saved(Image.fromarray(_noise(19, 40)), d / "grey.png"),
    "a palette": lambda d: _saved(Image.fromarray(_noise(25, 35)).convert("P"), d / "p.png"),
    "one bit": lambda d: _saved(Image.fromarray(_noise(17, 35)).convert("1"), d / "bit.png"),
    "a WebP": lambda d: _saved(Image.fromarray(_noise(18, 50, 3)), d / "w.webp"),
    "a TIFF of CMYK": lambda d: _saved(Image.fromarray(_noise(16, 40, 4), "CMYK"), d / "c.tif"),
}


def trained_by(workdir: pathlib.Path) -> Trained:
    source = Source(workdir)
    return source.load(source.experiment())


def page(workdir: pathlib.Path, *options: str) -> Service:
    """What `serve` answers with."""
    asked = serve._parser().parse_args([str(workdir), *options])
    (source,) = asked_sources(asked)
    runs = [(source, asked_way(source.experiment(), asked))]
    return Service(load_runs(runs), Limits(side=asked_side(asked)))


def mask_and_blur(service: Service, path: pathlib.Path) -> tuple[bytes, np.ndarray]:
    """The file that "Save mask" gives, and the blurred picture of 2 pixels."""
    result = service.predict(path.read_bytes())
    part = lambda name, query: (
        routes.get(f"/results/{result.key}/0/{name}", query, service, None).body
    )
    blur = part("blur.png", "keep=1,2,3,4,5&sigma=2")
    with Image.open(io.BytesIO(blur)) as picture:
        return part("mask.png", ""), np.array(picture).astype(int)


def read(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


@pytest.fixture(scope="module")
def service(workdir):
    return page(workdir)


@pytest.mark.slow_but("a JPEG that a camera turned", "alpha")
@pytest.mark.parametrize("kind", IMAGES)
def test_the_page_saves_the_file_that_predict_writes(kind, workdir, service, tmp_path):
    path, out = IMAGES[kind](tmp_path), tmp_path / "out"
    words = (workdir, path, "--out", out, "--overlay", "--blur", "2")
    assert predict.main([str(word) for word in words]) == 0
    mask, blur = mask_and_blur(service, path)
    assert mask == (out / f"{path.stem}.png").read_bytes()
    assert np.abs(blur - read(out / f"{path.stem}_blur.png")).max() <= 1
    image = read_image(path, channels=3)
    tinted = overlay(image, read(out / f"{path.stem}.png"), service.runs[0].palette)
    np.testing.assert_array_equal(read(out / f"{path.stem}_overlay.png"), tinted)


@pytest.mark.parametrize(
    "options",
    [
        ("--side", "20"),
        ("--flip", "--scales", "0.5,1"),
        ("--window", "16"),
        pytest.param(("--window", "16", "--side", "25", "--crf"), marks=pytest.mark.slow),
        ("--pad-to-multiple", "32"),
    ],
    ids=" ".join,
)
def test_so_it_does_with_every_option(options, workdir, tmp_path):
    path, out = IMAGES["a JPEG of odd sides"](tmp_path), tmp_path / "out"
    assert predict.main([str(workdir), str(path), "--out", str(out), *options]) == 0
    mask, _ = mask_and_blur(page(workdir, *options), path)
    assert mask == (out / "a.png").read_bytes()


def test_a_run_that_is_evaluated_in_its_own_way_is_predicted_so_by_all(tmp_path):
    own = "evaluation.predictor=segjax.evaluate.windows.SlidingWindow(16)"
    workdir = untrained(tmp_path / "run", own)
    path, out = IMAGES["grey"](tmp_path), tmp_path / "out"
    assert predict.main([str(workdir), str(path), "--out", str(out)]) == 0
    mask, _ = mask_and_blur(page(workdir), path)
    assert mask == (out / "grey.png").read_bytes()
    image = read_image(path, channels=3)[None]
    trained = trained_by(workdir)
    (evaluated,) = scorer(trained.experiment).predictions(trained.variables, image)
    np.testing.assert_array_equal(evaluated, read(out / "grey.png"))


@pytest.mark.slow_but("alone")
@pytest.mark.parametrize("probabilities", [(), ("--probabilities",)], ids=["alone", "soft"])
def test_evaluation_of_one_image_at_a_time_has_predicts_mask_and_more_are_within_a_bound(
    probabilities, workdir, tmp_path
):
    trained = trained_by(workdir)
    data = trained.experiment.eval_data
    data.prepare()
    images = np.stack([data[index]["image"] for index in range(3)])
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    inputs = [str(path) for path in sorted(tmp_path.glob("*.png"))]
    out = tmp_path / "out"
    assert predict.main([str(workdir), *inputs, "--out", str(out), *probabilities]) == 0
    masks = np.stack([read(out / f"{index}.png") for index in range(3)])
    score = scorer(trained.experiment)
    for mask, image in zip(masks, images, strict=True):
        np.testing.assert_array_equal(
            score.predictions(trained.variables, image[None])[0], mask
        )
    together = trained.predict(trained.variables, np.concatenate([images] * 3))[:3]
    alone = [trained.predict(trained.variables, image[None])[0] for image in images]
    np.testing.assert_allclose(together, alone, atol=BOUND)
    assert_equal_but_for_ties(together.argmax(-1), masks, np.stack(alone))


def assert_equal_but_for_ties(found, expected, probabilities, bound=BOUND) -> None:
    """Class ids differ only where two classes are equally likely, up to twice the bound."""
    second, first = np.moveaxis(np.sort(probabilities, axis=-1)[..., -2:], -1, 0)
    assert (found == expected)[first - second > 2 * bound].all()
    assert (first - second > 2 * bound).mean() > 0.95


@pytest.mark.slow_but("folded")
@pytest.mark.parametrize("options", [("--no-fold",), ()], ids=["plain", "folded"])
def test_the_exported_program_has_predicts_probabilities_within_a_bound(
    options, workdir, tmp_path, monkeypatch
):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    file, path = tmp_path / "m.stablehlo", IMAGES["a JPEG that a camera turned"](tmp_path)
    words = (workdir, "--out", file, "--platforms", "cpu", *options)
    assert export.main([str(word) for word in words]) == 0
    run = jax_export.deserialize(bytearray(file.read_bytes())).call
    image = read_image(path, channels=3)[None]
    found = np.asarray(jax.jit(run)(image))[0]
    trained = trained_by(workdir)
    expected = trained.predict(trained.variables, image)[0]
    np.testing.assert_allclose(found, expected, atol=BOUND)
    out = tmp_path / "out"
    assert predict.main([str(workdir), str(path), "--out", str(out)]) == 0
    assert_equal_but_for_ties(found.argmax(-1), read(out / "turned.png"), expected)

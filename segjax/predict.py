"""`python -m segjax.predict WORKDIR INPUT... --out DIR`: masks for images and their folders.

A file gives `DIR/<stem>.png`, a file of a folder `DIR/<path in the folder>/<stem>.png`: palette
PNGs of the image's size whose pixel values are class indices. `--overlay` adds
`<stem>_overlay.png`, the mask over the image.

Images are predicted as the run's own evaluation says, or as `--flip`, `--scales`, `--window`
and `--crf` do, which take its place.
"""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from segjax import parallel
from segjax.data.files import IMAGES
from segjax.data.images import read_image
from segjax.errors import InputError, RunError, guarded
from segjax.evaluate.compiled import HostPredictor
from segjax.evaluate.crf import CRF
from segjax.evaluate.draw import overlay, palette_png, save_png
from segjax.evaluate.windows import SlidingWindow
from segjax.evaluate.wrappers import Flip, MultiScale
from segjax.experiment import Experiment
from segjax.train.checkpoint import Checkpoints
from segjax.train.log import Progress
from segjax.train.plan import evaluated
from segjax.train.workdir import open_run
from segjax.types import Variables


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return guarded(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m segjax.predict",
        description="Write palette PNGs of class indices for images and folders of images.",
    )
    parser.add_argument("workdir", type=pathlib.Path, metavar="WORKDIR", help="a run's folder")
    parser.add_argument("inputs", type=pathlib.Path, nargs="+", metavar="INPUT")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--overlay", action="store_true", help="also <stem>_overlay.png")
    parser.add_argument("--checkpoint", default="best", help="best (default), last or a step")
    parser.add_argument("--flip", action="store_true", help="the mean with the mirror image")
    parser.add_argument(
        "--scales", type=_numbers, metavar="A,B,…", help="the mean over scales, as 0.75,1,1.25"
    )
    parser.add_argument(
        "--window",
        type=int,
        metavar="N",
        help="windows of N × N pixels that overlap: any size of image, bounded memory",
    )
    parser.add_argument("--crf", action="store_true", help="then a fully connected CRF")
    return parser


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of numbers such as 0.75,1,1.25"
        ) from None


def _run(arguments: argparse.Namespace) -> None:
    parallel.tune_cpu()
    experiment = _as_asked(open_run(arguments.workdir), arguments)
    outputs = _outputs(arguments.inputs, arguments.out, overlays=arguments.overlay)
    parallel.describe_devices()
    with Checkpoints(arguments.workdir, read_only=True) as checkpoints:
        step, variables = checkpoints.restore_variables(arguments.checkpoint)
    predict = evaluated(experiment)
    channels = getattr(experiment.eval_data, "channels", 3)
    palette = experiment.eval_data.palette
    progress = Progress("predict", first=0, total=len(outputs), unit="image")
    unread = []
    for done, (source, target) in enumerate(outputs, start=1):
        try:
            image = read_image(source, channels=channels)
            label = _label(predict, variables, image, source)
        except InputError as error:
            unread.append(str(error))
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        save_png(palette_png(label, palette), target)
        if arguments.overlay:
            save_png(Image.fromarray(overlay(image, label, palette)), _overlay_of(target))
        progress.update(done)
    progress.close()
    print(f"{len(outputs) - len(unread)} masks of step {step} in {arguments.out}")
    if unread:
        raise RunError(f"{len(unread)} of {len(outputs)} images have no mask: {unread[0]}")


def _label(
    predict: HostPredictor, variables: Variables, image: np.ndarray, source: pathlib.Path
) -> np.ndarray:
    """Class ids of one image; what refuses it, such as the CRF 16 bits, names its file."""
    try:
        return predict.classes(variables, image[None])[0]
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error


def _as_asked(experiment: Experiment, arguments: argparse.Namespace) -> Experiment:
    """The experiment with the wrappers that the options name, or its own without any."""
    wrappers = []
    if arguments.flip:
        wrappers.append(Flip())
    if arguments.window is not None:
        wrappers.append(SlidingWindow(arguments.window))
    if arguments.scales is not None:
        wrappers.append(MultiScale(arguments.scales))
    if arguments.crf:
        wrappers.append(CRF())
    if not wrappers:
        return experiment
    evaluation = dataclasses.replace(experiment.evaluation, predictor=tuple(wrappers))
    return dataclasses.replace(experiment, evaluation=evaluation)


def _outputs(
    inputs: Sequence[pathlib.Path], out: pathlib.Path, *, overlays: bool
) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """(image, mask to write) of all inputs.

    Raises:
      InputError: an input is missing, is no image, holds none, or two share an output.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder.")
    taken: dict[pathlib.Path, pathlib.Path] = {}
    pairs = []
    for source, relative in (pair for path in inputs for pair in _images(path, out)):
        target = (out / relative).with_suffix(".png")
        for written in (target, _overlay_of(target)) if overlays else (target,):
            if written.exists() and written.resolve().parent == source.resolve().parent:
                raise InputError(
                    f"{written} is there already, beside {source.name}; choose another --out."
                )
            if written in taken:
                raise InputError(
                    f"{taken[written]} and {source} would both be written to {written}; rename "
                    "one, or predict them into different folders."
                )
            taken[written] = source
        pairs.append((source, target))
    return pairs


def _images(
    path: pathlib.Path, out: pathlib.Path
) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """(file, its path below the output folder) for a file, or for each image of a folder."""
    if path.is_file():
        if path.suffix.lower() not in IMAGES:
            raise InputError(f"{path} is no image; known suffixes are {' '.join(IMAGES)}.")
        yield path, pathlib.Path(path.name)
        return
    if not path.is_dir():
        raise InputError(f"There is no file or folder {path}; check the path.")
    if out.resolve().is_relative_to(path.resolve()):
        raise InputError(f"--out {out} lies inside {path}; its masks would become inputs.")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGES and p.is_file())
    if not found:
        raise InputError(f"The folder {path} holds no image ({' '.join(IMAGES)}).")
    yield from ((file, file.relative_to(path)) for file in found)


def _overlay_of(target: pathlib.Path) -> pathlib.Path:
    return target.with_name(f"{target.stem}_overlay.png")


if __name__ == "__main__":
    sys.exit(main())

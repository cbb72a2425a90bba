"""What `segjax.export` does, once its arguments are parsed."""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from segjax.announce import announced
from segjax.atomic import write_bytes, write_text
from segjax.contracts import Dataset
from segjax.data.by_aspect import ungrouped
from segjax.data.cache import cache_root
from segjax.data.prepare import FileDataset
from segjax.data.synthetic import Synthetic
from segjax.description import describe_lines
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.export.onnx_graph import onnx_model
from segjax.export.onnx_nodes import NoNode
from segjax.export.programs import loader
from segjax.export.stablehlo import (
    PLATFORMS,
    REFUSALS,
    SMALLEST,
    frozen,
    image_of,
    parameters,
    reason,
    stablehlo,
)
from segjax.parallel import cluster
from segjax.parallel.programs import keep_programs
from segjax.predictor_options import asked_sources

SUFFIXES = (".stablehlo", ".onnx")


def export_network(arguments: argparse.Namespace) -> None:
    """Writes the file that the arguments ask for and its description.

    Raises:
      InputError: an argument is wrong, or network and file do not go together.
    """
    cluster.tune_cpu()
    keep_programs(cache_root)
    out, size = arguments.out, _size(arguments.size)
    _check_out(out)
    platforms = _platforms(arguments.platforms, out)
    (source,) = asked_sources(arguments)
    experiment = source.experiment()
    program = experiment.task.program(
        experiment.model,
        normalize=experiment.normalize,
        output_stride=experiment.evaluation.output_stride,
        size=size,
        output=arguments.output,
        onnx=out.suffix == ".onnx",
    )
    if out.suffix == ".onnx":
        _check_onnx(out, size)
    _check_images(experiment.eval_data)
    cluster.describe_devices()
    trained = source.load(experiment)
    channels = trained.channels
    with _refusals(size):
        answer = frozen(
            program.run, trained.variables, size=size, channels=channels, fold=arguments.fold
        )
    sides = [1 if out.suffix == ".onnx" else "b", *(size or ("h", "w"))]
    about = _about(experiment, input_shape=[*sides, channels])
    found = jax.eval_shape(answer, image_of(size, channels))
    about["output"] = _output(found, arguments.output, sides)
    about |= program.about
    about |= {"step": trained.step, "weights": trained.weights}
    about |= {"parameters": parameters(trained.variables)}
    about |= {"folded_norms": arguments.fold, "platforms": platforms}
    with announced("Translating the network", after=1):
        if size is not None and out.suffix == ".onnx":
            data = _onnx(answer, size, channels, about, out)
        else:
            data = _stablehlo(answer, size, channels, platforms)
    _write(out, data, about)
    name = type(experiment.model).__name__
    print(f"{name} of {trained.weights} in {out}, {len(data) / 1e6:.2f} MB")
    if wrappers := experiment.evaluation.wrappers:
        left_out = ", ".join(map(repr, wrappers))
        print(
            "The file predicts whole images. It leaves out evaluation.predictor, so its "
            f"answers differ from those of segjax.predict, which applies {left_out}."
        )
    print(f"To run it, without segjax:\n\n{loader(out, about)}", end="")


def _stablehlo(
    answer: Callable, size: tuple[int, int] | None, channels: int, platforms: list[str]
) -> bytes:
    with _refusals(size, remedy="NAME.onnx is for one image"):
        exported = stablehlo(answer, size=size, channels=channels, platforms=platforms)
    return bytes(exported.serialize())


def _onnx(
    answer: Callable, size: tuple[int, int], channels: int, about: dict[str, Any], out: Any
) -> bytes:
    try:
        return onnx_model(
            answer,
            size=size,
            channels=channels,
            name=about["output"]["name"],
            metadata={"segjax": json.dumps(about)},
        )
    except NoNode as error:
        raise InputError(
            f"--out {out}: {error} has no translation; NAME.stablehlo takes every network."
        ) from error


def _check_out(out: pathlib.Path) -> None:
    """Raises InputError unless the file and its description can be written."""
    if out.suffix not in SUFFIXES:
        raise InputError(f"--out {out}: known suffixes are {' '.join(SUFFIXES)}.")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}; make it first.")
    for path in (out, _description(out)):
        if path.exists():
            raise InputError(f"{path} is there already; remove it, or choose another --out.")


def _description(out: pathlib.Path) -> pathlib.Path:
    return out.with_name(f"{out.name}.json")


def _size(text: str | None) -> tuple[int, int] | None:
    """Returns (height, width), or None for any."""
    if text in (None, "any"):
        return None
    sides = re.fullmatch(r"(\d+)x(\d+)", text)
    if not sides or min(map(int, sides.groups())) < 1:
        raise InputError(
            f"--size {text}: give HEIGHTxWIDTH in pixels, such as 513x513, or any."
        )
    return int(sides[1]), int(sides[2])


def _platforms(text: str | None, out: pathlib.Path) -> list[str]:
    """Returns the platforms of a `.stablehlo` file, and none for `.onnx`.

    Raises:
      InputError: a platform is not known, or is given for `.onnx`.
    """
    if out.suffix == ".onnx":
        if text is not None:
            raise InputError(f"--platforms {text} is for .stablehlo; leave it out for {out}.")
        return []
    names = [name.strip() for name in (text or "cpu,cuda,tpu").split(",")]
    unknown = [name for name in names if name not in PLATFORMS]
    if unknown:
        raise InputError(
            f"--platforms {text}: {unknown[0]!r} is none of {', '.join(PLATFORMS)}."
        )
    return list(dict.fromkeys(names))


def _check_onnx(out: pathlib.Path, size: tuple[int, int] | None) -> None:
    """Raises InputError unless there is one size, and the package that writes models."""
    if size is None:
        raise InputError(f"--out {out} needs one size; give --size HxW.")
    if importlib.util.find_spec("onnx") is None:
        raise InputError(f"--out {out} needs onnx; pip install 'segjax[onnx]'.")


def _check_images(data: Dataset) -> None:
    """Raises InputError where a dataset of the user's own does not give uint8 images.

    Normalisation goes by the type: a run on float32 would see other numbers in uint8.
    """
    # The package's own give nothing else, and an export needs none of their files.
    if type(ungrouped(data)).__getitem__ in (FileDataset.__getitem__, Synthetic.__getitem__):
        return
    try:
        data.prepare()
    except InputError as error:
        raise InputError(
            f"export looks at one image of eval_data, for its type: {error}"
        ) from error
    found = data[0]["image"].dtype
    if found != "uint8":
        raise InputError(
            f"eval_data={type(data).__name__} gives {found} images, but the file is for uint8: "
            "let the dataset give uint8 and normalize scale them, and train again."
        )


@contextlib.contextmanager
def _refusals(size: tuple[int, int] | None, *, remedy: str = "") -> Iterator[None]:
    """Turns what a network refuses while it is traced into the one line of an InputError."""
    try:
        yield
    except InputError:
        raise  # It names what is wrong, which is not the size.
    except REFUSALS as error:
        asked = f"--size {size[0]}x{size[1]}" if size else "--size any"
        remedy = remedy if size else "give --size HxW"
        raise InputError(f"{asked}: {reason(error)}{remedy and f'; {remedy}.'}") from error


def _about(experiment: Experiment, *, input_shape: list[Any]) -> dict[str, Any]:
    """Returns the description of the file: input, classes, origin."""
    names, colours = experiment.task.legend(experiment.eval_data)
    return {
        "segjax": _version(),
        "jax": jax.__version__,
        "experiment": experiment.name,
        "input": {"shape": input_shape, "dtype": "uint8"},
        "smallest_side": SMALLEST if input_shape[1] == "h" else None,
        "normalize": [*describe_lines(experiment.normalize, path="normalize")],
        "output": {},
        "class_names": list(names),
        "palette": colours.tolist(),
    }


def _output(found: Any, name: str, sides: Sequence[int | str]) -> dict[str, Any]:
    """Returns name, shape and dtype of the output; of several {name: shape}, {name: dtype}.

    Args:
      found: what one image gives.
      name: of the output, if there is one alone.
      sides: batch, height and width of the input. Maps of any size have them too.
    """
    known = 3 if "h" in sides else 1
    return {
        "name": "outputs" if isinstance(found, Mapping) else name,
        "shape": jax.tree.map(lambda each: [*sides[:known], *each.shape[known:]], found),
        "dtype": jax.tree.map(lambda each: str(each.dtype), found),
    }


def _version() -> str | None:
    """Returns the installed package's; None for a checkout that is not installed."""
    try:
        return importlib.metadata.version("segjax")
    except importlib.metadata.PackageNotFoundError:
        return None


def _write(out: pathlib.Path, data: bytes, about: dict[str, Any]) -> None:
    """Writes both files, each whole or not at all."""
    write_bytes(out, data)
    write_text(_description(out), json.dumps(about, indent=1) + "\n")

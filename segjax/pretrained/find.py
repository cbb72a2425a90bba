"""Finding a weights file: at a path, in our cache, or on the Hugging Face hub."""

import errno
import pathlib
import re
from difflib import get_close_matches

from segjax.data.cache import cache_root
from segjax.errors import InputError

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights files in timm's repositories on the hub, the preferred first."""

SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".bin", ".ckpt", ".pth.tar")
"""Suffixes of weights files, in upper or lower case, the preferred first."""

OTHER_SUFFIXES = (".h5", ".hdf5", ".keras", ".onnx", ".msgpack", ".pkl", ".pb", ".mat", ".zip")
"""Suffixes of other weights files; names for the hub do not end in them."""


def find_weights(path_or_name: str) -> pathlib.Path:
    """Returns the file of a path, or of a name such as "timm/resnet50.tv_in1k".

    It looks for a name in `<cache>/weights/`, then in the hub's own cache, then on the hub.

    Raises:
      InputError: there is no such file; the message says where to put it.
    """
    if "://" in path_or_name:
        raise InputError(f"{path_or_name} is an address; download the file and name its path.")
    path = pathlib.Path(path_or_name).expanduser()
    if path.is_file():
        return path
    placed = cache_root() / "weights" / path_or_name
    if path.is_dir() and (inside := _weights_in(path)):
        raise InputError(
            f"{path} is a folder; name a file in it, such as {path / inside[0].name}."
        )
    if _is_path(path_or_name) or path.with_name(f"{path.name}.index").is_file():
        raise InputError(_absent(path))
    for candidate in _weights_in(placed.parent):
        if candidate.name.casefold() in [f"{placed.name}{s}".casefold() for s in SUFFIXES]:
            return candidate
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path_or_name):
        return _from_hub(path_or_name, placed)
    raise InputError(f"The weights {path_or_name!r} are not here: {_place(placed)}.")


def _is_path(text: str) -> bool:
    """Returns whether a text is a path rather than a name."""
    begins = text.startswith(("/", "./", "../", "~"))
    return begins or text.casefold().endswith((*SUFFIXES, *OTHER_SUFFIXES))


def _absent(path: pathlib.Path) -> str:
    """Returns the error message for a path without a file."""
    if path.with_name(f"{path.name}.index").is_file():
        return (
            f"{path} is a TensorFlow checkpoint, which segjax does not read; save its "
            "arrays as .npz."
        )
    near = get_close_matches(path.name, [p.name for p in _weights_in(path.parent)], n=1)
    hint = f" (near: {near[0]})" if near else ""
    return f"There is no weights file {path}{hint}; check the path."


def _weights_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the weights files in a folder, by their suffixes, the preferred kinds first."""
    order = {suffix: i for i, suffix in enumerate(SUFFIXES)}
    found = [
        (order[suffix], path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        for suffix in SUFFIXES
        if path.name.casefold().endswith(suffix) and path.is_file()
    ]
    return [path for _, path in sorted(found)]


def _from_hub(name: str, placed: pathlib.Path) -> pathlib.Path:
    # Importing the hub's library takes a second, and only names need it.
    import huggingface_hub as hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        cached = [hub.try_to_load_from_cache(name, file) for file in HUB_FILES]
    except ValueError as error:
        raise InputError(f"{name!r} is neither a file nor a hub name: {error}") from error
    for path in cached:
        if isinstance(path, str):
            return pathlib.Path(path)
    reason = f"has neither {' nor '.join(HUB_FILES)} for them"
    for file in HUB_FILES:
        try:
            # A download without an earlier request tries six times to reach the hub.
            hub.get_hf_file_metadata(hub.hf_hub_url(name, file), timeout=10)
            return pathlib.Path(hub.hf_hub_download(name, file))
        # Any error of hub or network: the library's exceptions depend on its version.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            absent = isinstance(error, EntryNotFoundError)
            if not absent or isinstance(error, LocalEntryNotFoundError):
                said = " ".join(str(error).split())[:160]
                reason = f"does not give them ({type(error).__name__}: {said})"
                break
    raise InputError(
        f"The weights {name!r} are not here, and huggingface.co {reason}: {_place(placed)}. "
        f"On the hub it is {name}/{HUB_FILES[0]}."
    )


def _place(placed: pathlib.Path) -> str:
    kinds = ", ".join(SUFFIXES[1:])
    return f"place them as {placed}.safetensors (or {kinds})"

"""Where a weights file lies: a path, our cache, or the Hugging Face hub."""

import errno
import pathlib
import re

from segjax.data.cache import cache_root
from segjax.errors import InputError
from segjax.published.files import READERS

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm's repositories on the hub call their weights, the better first."""


def find_weights(path_or_name: str) -> pathlib.Path:
    """The file of a path, or of a name such as "timm/resnet50.tv_in1k".

    A name is looked for in `<cache>/weights/`, then in the hub's own cache, then on the hub.

    Raises:
      InputError: there is none; the message says which file to place where.
    """
    path = pathlib.Path(path_or_name).expanduser()
    if path.suffix in READERS:
        if not path.is_file():
            raise InputError(
                f"There is no weights file {path}; check the path, or set init=None."
            )
        return path
    if path.is_file():
        raise InputError(f"{path} is none of {', '.join(READERS)}; rename it to what it is.")
    placed = cache_root() / "weights" / path_or_name
    for suffix in READERS:
        if (candidate := placed.with_name(placed.name + suffix)).is_file():
            return candidate
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path_or_name):
        return _from_hub(path_or_name, placed)
    raise InputError(f"The weights {path_or_name!r} are not here: {_place(placed)}.")


def _from_hub(name: str, placed: pathlib.Path) -> pathlib.Path:
    # Importing the hub's library takes a second, and only names need it.
    import huggingface_hub as hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        cached = [hub.try_to_load_from_cache(name, file) for file in HUB_FILES]
    except ValueError as error:
        raise InputError(f"{name!r} is no file and no name for the hub: {error}") from error
    for path in cached:
        if isinstance(path, str):
            return pathlib.Path(path)
    reason = f"has neither {' nor '.join(HUB_FILES)} for them"
    for file in HUB_FILES:
        try:
            # A download that is not asked for first tries six times to reach the hub.
            hub.get_hf_file_metadata(hub.hf_hub_url(name, file), timeout=10)
            return pathlib.Path(hub.hf_hub_download(name, file))
        # Whatever the hub and the network refuse: the library's errors depend on its version.
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
    kinds = ", ".join(list(READERS)[1:])
    return (
        f"place them as {placed}.safetensors (or {kinds}), "
        "or train from scratch with --set init=None"
    )

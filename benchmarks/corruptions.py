"""Ways in which a checkpoint gets damaged, each a function of its folder."""

import json
import pathlib
import random
import shutil
from collections.abc import Callable


def flip_bit(path: pathlib.Path, rng: random.Random) -> None:
    """Flips one bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def array_files(step: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files that hold array data, the largest first."""
    found = [path for path in (step / "state").rglob("d/*") if path.is_file()]
    return sorted(found, key=lambda path: (-path.stat().st_size, path.name))


def flipped_data(step: pathlib.Path, rng: random.Random) -> None:
    """Flips one bit somewhere in the files of array data, each byte as likely."""
    files = array_files(step)
    weights = [path.stat().st_size for path in files]
    flip_bit(rng.choices(files, weights)[0], rng)


def flipped_anywhere(step: pathlib.Path, rng: random.Random) -> None:
    """Flips one bit somewhere in any of the checkpoint's files."""
    files = sorted(path for path in step.rglob("*") if path.is_file())
    flip_bit(rng.choices(files, [path.stat().st_size for path in files])[0], rng)


def _data(change: Callable[[pathlib.Path], None]) -> Callable:
    return lambda step, rng: change(array_files(step)[0])


def _file(name: str, change: Callable[[pathlib.Path], object]) -> Callable:
    return lambda step, rng: change(step / name)


def _halve(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: pathlib.Path) -> None:
    path.write_bytes(b"")


def _zero(path: pathlib.Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _append(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 100)


def _binary(path: pathlib.Path) -> None:
    path.write_bytes(bytes(range(128, 256)))


def _to_folder(path: pathlib.Path) -> None:
    path.unlink()
    path.mkdir()


def _to_file(path: pathlib.Path) -> None:
    shutil.rmtree(path)
    path.write_text("not a folder", encoding="utf-8")


def _empty_folder(path: pathlib.Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def _stray(step: pathlib.Path, rng: random.Random) -> None:
    """Puts a copy of an older checkpoint under a higher number."""
    older = min((path for path in step.parent.iterdir()), key=lambda path: int(path.name))
    shutil.copytree(older, step.with_name("999"))


def _older(step: pathlib.Path, rng: random.Random) -> None:
    """Replaces a checkpoint by an older one under its number."""
    older = min((path for path in step.parent.iterdir()), key=lambda path: int(path.name))
    shutil.rmtree(step)
    shutil.copytree(older, step)


def _swapped(step: pathlib.Path, rng: random.Random) -> None:
    """Replaces the arrays by those of an older checkpoint, and keeps the checksums."""
    older = min((path for path in step.parent.iterdir()), key=lambda path: int(path.name))
    shutil.rmtree(step / "state")
    shutil.copytree(older / "state", step / "state")


def _edited_score(path: pathlib.Path) -> None:
    """Makes the score a higher one."""
    score = json.loads(path.read_text(encoding="utf-8"))
    name = next(iter(score))
    path.write_text(json.dumps({**score, name: 0.99}), encoding="utf-8")


RECORD, SCORE, TREE = "checksums/checksums.json", "metrics/metrics", "state/_METADATA"

OF_STATE: dict[str, Callable[[pathlib.Path, random.Random], object]] = {
    "array files halved": lambda step, rng: [_halve(path) for path in array_files(step)],
    "array file emptied": _data(_empty),
    "array file zeroed": _data(_zero),
    "array file deleted": _data(pathlib.Path.unlink),
    "array file replaced by a folder": _data(_to_folder),
    "array index emptied": _file("state/manifest.ocdbt", _empty),
    "array index deleted": _file("state/manifest.ocdbt", pathlib.Path.unlink),
    "arrays of an older step": _swapped,
    "_METADATA deleted": _file(TREE, pathlib.Path.unlink),
    "_METADATA halved": _file(TREE, _halve),
    "_METADATA binary": _file(TREE, _binary),
    "state deleted": _file("state", shutil.rmtree),
    "state a file": _file("state", _to_file),
    "checksums deleted": _file("checksums", shutil.rmtree),
    "checksums halved": _file(RECORD, _halve),
    "checksums null": _file(RECORD, lambda path: path.write_text("null", encoding="utf-8")),
    "empty folder": _file(".", _empty_folder),
    "a file instead of the folder": _file(".", _to_file),
    "stray step 999, an older copy": _stray,
    "stray step 999, empty": lambda step, rng: step.with_name("999").mkdir(),
    "older copy under its number": _older,
}
"""Damages after which a checkpoint must not be used."""

OF_SCORE: dict[str, Callable[[pathlib.Path, random.Random], None]] = {
    "score halved": _file(SCORE, _halve),
    "score emptied": _file(SCORE, _empty),
    "score binary": _file(SCORE, _binary),
    "score edited": _file(SCORE, _edited_score),
    "score deleted": _file("metrics", shutil.rmtree),
}
"""Damages of the score alone: the state is whole, but the best is not known."""

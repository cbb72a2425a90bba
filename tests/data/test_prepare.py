import os
import pathlib
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from segjax.data import cache, contents, prepare
from segjax.data.folder import Folder
from segjax.errors import InputError

COUNT = 6


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for kind, shape, top in (("images", (5, 4, 3), 255), ("masks", (5, 4), 2)):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for index in range(COUNT):
            array = rng.integers(0, top, shape, np.uint8)
            Image.fromarray(array).save(tmp_path / "data" / kind / f"{index}.png")
    return tmp_path / "data"


def data(root):
    return Folder(directory=str(root), class_names=("a", "b"))


def cached():
    cache = pathlib.Path(os.environ["SEGJAX_CACHE"])
    return sorted(cache.glob("folder-*")) if cache.exists() else []


def listing(root):
    return [(path, path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))]


def test_what_comes_back_is_what_the_files_hold(root):
    for index, example in enumerate(data(root)):
        for key, kind in (("image", "images"), ("label", "masks")):
            expected = np.asarray(Image.open(root / kind / f"{index}.png"))
            np.testing.assert_array_equal(example[key], expected, strict=True)


def test_constructing_touches_nothing_and_prepare_finds_its_own_work_again(root, monkeypatch):
    dataset = data(root)
    assert not cached()
    dataset.prepare()
    (folder,) = cached()
    before = listing(folder)
    monkeypatch.setattr(prepare, "_write", None)
    data(root).prepare()
    assert cached() == [folder] and listing(folder) == before


def test_the_users_folder_is_only_read(root):
    before = listing(root)
    data(root).prepare()
    assert listing(root) == before


def test_a_folder_whose_contents_changed_is_prepared_anew(root):
    old = data(root)[2]["image"]
    new = (255 - old).astype(np.uint8)
    Image.fromarray(new).save(root / "images/2.png")
    assert np.array_equal(data(root)[2]["image"], new)
    assert len(cached()) == 2


def rewritten_unseen(path, contents):
    """Overwrites a file in place; its size, inode and time of modification stay."""
    before = path.stat()
    assert len(contents) == before.st_size
    path.write_bytes(contents)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("settled", [contents.SETTLED, -(10**12)], ids=["young", "old"])
@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_file_rewritten_with_its_size_and_time_is_seen(
    root, monkeypatch, wait_for_tick, kind, settled
):
    monkeypatch.setattr(contents, "SETTLED", settled)
    for index in (0, 1):  # Uncompressed, so that all files have one size.
        path = root / kind / f"{index}.png"
        Image.open(path).save(root / kind / f"{index}.bmp")
        path.unlink()
    first, second = ((root / kind / f"{index}.bmp").read_bytes() for index in (0, 1))
    old = data(root)
    assert first != second and len(old) == COUNT
    wait_for_tick(root / kind / "0.bmp")  # For the case of old files.
    rewritten_unseen(root / kind / "0.bmp", second)
    key = {"images": "image", "masks": "label"}[kind]
    np.testing.assert_array_equal(data(root)[0][key], old[1][key])
    assert not np.array_equal(old[0][key], old[1][key]) and len(cached()) == 2


def test_a_file_put_in_the_place_of_another_is_seen(root):
    old = data(root)[1]["image"]
    before = (root / "images/0.png").stat()
    (root / "images/new").write_bytes((root / "images/1.png").read_bytes())
    os.utime(root / "images/new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(root / "images/new", root / "images/0.png")
    np.testing.assert_array_equal(data(root)[0]["image"], old)


def test_files_that_were_touched_are_not_decoded_again(root, monkeypatch):
    data(root).prepare()
    os.utime(root / "masks/0.png", ns=(1, 1))
    monkeypatch.setattr(prepare, "_write", None)
    assert len(data(root)) == COUNT and len(cached()) == 1


def test_a_copy_of_the_files_has_the_same_prepared_folder(root, tmp_path):
    data(root).prepare()
    shutil.copytree(root, tmp_path / "copy")
    assert len(data(tmp_path / "copy")) == COUNT and len(cached()) == 1


def test_old_files_are_not_read_again_and_young_ones_are(root, monkeypatch):
    read = []
    whole = contents.digests

    def noted(paths):
        read.extend(paths := list(paths))
        return whole(paths)

    monkeypatch.setattr(prepare, "digests", noted)
    data(root).prepare()
    assert not read  # Hashed while they are decoded.
    data(root).prepare()
    assert len(read) == 2 * COUNT
    monkeypatch.setattr(contents, "SETTLED", -(10**12))
    data(root).prepare()
    read.clear()
    data(root).prepare()
    assert not read


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}'])
def test_a_broken_memo_costs_a_preparation_and_no_more(root, text):
    data(root).prepare()
    (memo,) = (pathlib.Path(os.environ["SEGJAX_CACHE"]) / "known").iterdir()
    memo.write_text(text)
    assert len(data(root)) == COUNT and len(cached()) == 1
    assert len(memo.read_text()) > 100


def test_a_file_that_may_not_be_read_is_named(root, monkeypatch):
    read = pathlib.Path.read_bytes

    def refused(path):
        if path.name == "3.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", refused)
    with pytest.raises(InputError, match=r"3\.png cannot be read \(Permission denied\)"):
        data(root).prepare()


def test_options_that_change_the_contents_have_their_own_folders(root):
    for options in ({}, {"channels": 1}, {"label_map": ((0, 255),)}):
        Folder(directory=str(root), class_names=("a", "b"), **options).prepare()
    assert len(cached()) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_killed_preparation_leaves_nothing_behind(root, monkeypatch, error):
    encode = prepare.encode

    def killed(source, recipe):
        if source.name == "3":
            raise error
        return encode(source, recipe)

    monkeypatch.setattr(prepare, "encode", killed)
    with pytest.raises(error):
        data(root).prepare()
    assert not cached()
    monkeypatch.undo()


def test_a_partial_folder_of_a_run_that_was_killed_harms_nobody(root):
    data(root).prepare()
    (folder,) = cached()
    folder.rename(folder.with_suffix(".partial"))
    assert len(data(root)) == COUNT
    assert folder in cached()


def test_two_preparations_at_once_do_not_clash(root, monkeypatch):
    encode = prepare.encode
    started = []

    def meanwhile(source, recipe):
        if not started:
            started.append(True)
            prepare.prepared(dataset._sources(), recipe)
        return encode(source, recipe)

    monkeypatch.setattr(prepare, "encode", meanwhile)
    dataset = data(root)
    assert [example["name"] for example in dataset] == [str(i) for i in range(COUNT)]
    assert len(cached()) == 1


def test_a_prepared_dataset_pickles(root):
    dataset = data(root)
    dataset.prepare()
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy == dataset and np.array_equal(copy[1]["image"], dataset[1]["image"])


def test_a_cache_that_cannot_be_written_is_named(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGJAX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(
        InputError, match=r"cache .*file/cache cannot be written .*SEGJAX_CACHE"
    ):
        data(root).prepare()


def test_the_cache_is_segjax_cache_or_in_the_users_cache_folder(tmp_path, monkeypatch):
    assert cache.cache_root() == tmp_path / "cache"
    monkeypatch.delenv("SEGJAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_root() == tmp_path / "xdg" / "segjax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_root() == pathlib.Path.home().resolve() / ".cache" / "segjax"


def test_progress_is_one_plain_line_without_a_terminal(root, capsys):
    data(root).prepare()
    out, err = capsys.readouterr()
    assert out == "" and err == f"Preparing folder: {COUNT} examples.\n"


def test_an_index_out_of_range_is_an_index_error(root):
    with pytest.raises(IndexError):
        data(root)[COUNT]

import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image

from segjax.contracts import Dataset
from segjax.data import voc
from segjax.data.voc import VOC
from segjax.errors import InputError

STEMS = ("2007_000001", "2007_000002", "2007_000003")


def devkit(root):
    """A VOC2012 folder of three images; the last one has no mask, like most of VOC's."""
    rng = np.random.default_rng(0)
    base = root / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / name).mkdir(parents=True)
    for stem in STEMS:
        pixels = rng.integers(0, 255, (5, 4, 3), np.uint8)
        Image.fromarray(pixels).save(base / "JPEGImages" / f"{stem}.jpg")
    for stem in STEMS[:2]:
        mask = Image.fromarray(rng.choice(np.array([0, 20, 255], np.uint8), (5, 4)))
        mask.putpalette(voc.voc_palette().tobytes())
        mask.save(base / "SegmentationClass" / f"{stem}.png")
    lists = base / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text(f"{STEMS[0]}\n")
    (lists / "val.txt").write_text(f"{STEMS[1]}\n")
    (lists / "trainval.txt").write_text(f"{STEMS[0]}\n{STEMS[1]}\n")
    return base


def names(**fields):
    return [example["name"] for example in VOC(**fields)]


def test_the_folder_may_be_the_devkit_or_the_year_or_hold_the_devkit(tmp_path):
    base = devkit(tmp_path)
    for folder in (base, base.parent, tmp_path):
        assert names(split="trainval", directory=str(folder)) == list(STEMS[:2])
    assert names(split="val", directory=str(base)) == [STEMS[1]]


def test_masks_are_read_by_index_and_255_stays(tmp_path):
    base = devkit(tmp_path)
    dataset = VOC("train", str(base))
    expected = np.asarray(Image.open(base / "SegmentationClass" / f"{STEMS[0]}.png"))
    assert isinstance(dataset, Dataset) and len(dataset.class_names) == 21
    np.testing.assert_array_equal(dataset[0]["label"], expected, strict=True)
    assert set(np.unique(expected)) == {0, 20, 255}


def test_trainaug_says_what_to_put_where_and_reads_it_from_there(tmp_path):
    base = devkit(tmp_path)
    with pytest.raises(InputError) as caught:
        VOC("trainaug", str(base)).prepare()
    listing = base / "ImageSets" / "Segmentation" / "trainaug.txt"
    assert str(base / "SegmentationClassAug") in str(caught.value)
    assert str(listing) in str(caught.value)
    (base / "SegmentationClassAug").mkdir()
    Image.fromarray(np.full((5, 4), 3, np.uint8)).save(
        base / "SegmentationClassAug" / f"{STEMS[2]}.png"
    )
    listing.write_text(f"/JPEGImages/{STEMS[2]}.jpg /SegmentationClassAug/{STEMS[2]}.png\n")
    (example,) = VOC("trainaug", str(base))
    assert example["name"] == STEMS[2] and (example["label"] == 3).all()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "directory=.* --data DIR.* download=True"),
        ({"directory": "/nowhere"}, "directory='/nowhere', which is not a folder.*--data DIR"),
        ({"directory": "."}, "no VOC2012/JPEGImages in directory='.'"),
        ({"split": "test"}, "train, val, trainval, trainaug, got 'test'"),
    ],
    ids=str,
)
def test_what_is_missing_is_named_with_the_remedy(fields, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        VOC(**fields).prepare()


def test_a_missing_list_is_named(tmp_path):
    base = devkit(tmp_path)
    (base / "ImageSets/Segmentation/val.txt").unlink()
    with pytest.raises(InputError, match=r"list .*val\.txt is missing"):
        VOC("val", str(base)).prepare()


@pytest.fixture
def archive(tmp_path):
    """(url, bytes) of a small archive that a server on this machine hands out."""
    base = devkit(tmp_path / "source")
    (base / "Annotations").mkdir()
    (base / "Annotations" / "boxes.xml").write_text("not wanted")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(base.parent, "VOCdevkit")
    data = buffer.getvalue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{voc.ARCHIVE}", data
    server.shutdown()
    server.server_close()


def checksum(data):
    return len(data), hashlib.sha256(data).hexdigest()


def test_the_archive_is_fetched_once_checked_and_unpacked_into_the_cache(archive, tmp_path):
    url, data = archive
    folder = voc.downloaded(url, checksums={url: checksum(data)})
    assert names(split="train", directory=str(folder)) == [STEMS[0]]
    assert not (folder / "Annotations").exists()
    assert voc.downloaded("http://127.0.0.1:1/unreachable") == folder
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_an_archive_that_is_not_the_published_one_is_not_used(archive, tmp_path):
    url, data = archive
    with pytest.raises(InputError, match=r"could not be fetched \(NonMatchingChecksumError\)"):
        voc.downloaded(url, checksums={url: checksum(data + b"x")})
    with pytest.raises(InputError, match="could not be fetched"):
        voc.downloaded(f"{url}?unknown")
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_network_the_line_says_which_file_to_get(tmp_path, monkeypatch):
    monkeypatch.setattr(voc, "URL", f"http://127.0.0.1:1/{voc.ARCHIVE}")
    monkeypatch.setattr(
        voc, "downloaded", lambda url, real=voc.downloaded: real(url, checksums={url: (1, "0")})
    )
    with pytest.raises(InputError) as caught:
        VOC(download=True).prepare()
    assert "VOCtrainval_11-May-2012.tar" in str(caught.value)
    assert "directory=... or --data DIR" in str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


def test_the_published_archives_checksum_is_known():
    import tensorflow_datasets as tfds

    infos = tfds.core.download.checksums.get_all_url_infos()
    assert infos[voc.URL].size == 1_999_639_040


def test_real_voc_has_28_images_to_train_on_and_14_held_out(real_data):
    train, val = (VOC(split, str(real_data / "VOCdevkit")) for split in ("train", "val"))
    assert (len(train), len(val)) == (28, 14)
    present = set(np.unique(np.concatenate([e["label"].ravel() for e in train])))
    assert present <= {*range(21), 255} and len(present) > 15

import importlib
import io
import pickle

import numpy as np
import pytest
from PIL import Image

from segjax.contracts import LabelledDataset
from segjax.data.huggingface import HuggingFace
from segjax.errors import InputError

NAMES = ("ground", "thing", "other")


def png(image):
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def palette_mask(ids):
    mask = Image.fromarray(np.asarray(ids, np.uint8))
    mask.putpalette([255, 0, 0, 0, 255, 0, 9, 9, 9])
    return mask


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    library = pytest.importorskip(
        "datasets",
        reason="the package datasets is not installed: pip install segjax[huggingface]",
    )
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    library.disable_progress_bars()
    return library


@pytest.fixture
def table(datasets):
    """Three rows of images and palette masks, and a column that nobody asks for."""
    rows = {
        "annotation": [palette_mask([[i, 1, 2]] * 2) for i in range(3)],
        "image": [Image.fromarray(np.full((2, 3, 3), 40 * i, np.uint8)) for i in range(3)],
        "caption": ["a", "b", "c"],
    }
    encoded = {
        "annotation": [{"bytes": png(mask), "path": None} for mask in rows["annotation"]],
        "image": [
            {"bytes": png(m), "path": f"x/im{i}.png"} for i, m in enumerate(rows["image"])
        ],
        "caption": rows["caption"],
    }
    features = datasets.Features(
        annotation=datasets.Image(), image=datasets.Image(), caption=datasets.Value("string")
    )
    return datasets.Dataset.from_dict(encoded, features=features)


def check(data):
    data.prepare()
    assert [(e["name"], int(e["image"].max())) for e in data] == [
        ("000000_im0", 0),
        ("000001_im1", 40),
        ("000002_im2", 80),
    ]
    # A palette mask keeps its indices.
    assert [e["label"].tolist() for e in data] == [[[i, 1, 2]] * 2 for i in range(3)]


def test_a_folder_of_parquet_files_is_read_by_two_columns(table, tmp_path):
    (tmp_path / "data").mkdir()
    table.to_parquet(tmp_path / "data/train-00000-of-00001.parquet")
    data = HuggingFace(str(tmp_path / "data"), class_names=NAMES)
    assert isinstance(data, LabelledDataset)
    check(data)
    assert pickle.loads(pickle.dumps(data))[1]["name"] == "000001_im1"
    assert eval(repr(data)) == data


def test_what_save_to_disk_wrote_is_read_with_and_without_splits(table, datasets, tmp_path):
    table.save_to_disk(tmp_path / "one")
    check(HuggingFace(str(tmp_path / "one"), class_names=NAMES))
    datasets.DatasetDict(val=table).save_to_disk(tmp_path / "all")
    check(HuggingFace(str(tmp_path / "all"), "val", class_names=NAMES))


def test_records_are_checked_once(table, tmp_path, capsys):
    table.save_to_disk(tmp_path / "one")
    for said in (True, False):
        HuggingFace(str(tmp_path / "one"), class_names=NAMES).prepare()
        assert ("one, train: 3 examples" in capsys.readouterr().err) == said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask": "caption"}, "has no column of images 'caption': it has annotation, image;"),
        ({"class_names": NAMES[:2]}, "one, train/000000_im0/mask has the label id 2, but"),
        ({"directory": None}, "give directory=... or --data DIR, a folder of Parquet files"),
        ({"directory": "/none/such"}, "'/none/such', which is not a folder"),
    ],
)
def test_what_does_not_fit_is_named(options, words, table, tmp_path):
    table.save_to_disk(tmp_path / "one")
    given = {"directory": str(tmp_path / "one"), "class_names": NAMES, **options}
    with pytest.raises(InputError) as caught:
        HuggingFace(**given).prepare()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_split_that_is_not_there_is_named(table, datasets, tmp_path):
    datasets.DatasetDict(val=table).save_to_disk(tmp_path / "all")
    with pytest.raises(InputError, match="The split 'test' of .*all cannot be loaded"):
        HuggingFace(str(tmp_path / "all"), "test", class_names=NAMES).prepare()


def test_without_the_package_the_line_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'segjax\[huggingface\]'"):
        HuggingFace("here", class_names=NAMES).prepare()

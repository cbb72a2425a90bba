"""What is said of the data before the first step, and what is refused."""

import dataclasses
import pathlib
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from segjax.contracts import Traced
from segjax.data.folder import Folder
from segjax.data.prepare import FileDataset
from segjax.data.voc import VOC
from segjax.errors import InputError
from segjax.experiment import Evaluation, Normalize, load
from segjax.losses import ClassWeightedCrossEntropy
from segjax.models.unet import UNet
from segjax.tasks.semantic import Semantic
from segjax.train import plan
from segjax.train.coverage import check_held_out, data_coverage, uncounted_batches
from segjax.train.optimizer import SGD, Poly
from segjax.train.parts import check_parts
from segjax.train.plan import check_settings, make_plan
from segjax.transforms.geometric import RandomCrop

TINY = load(pathlib.Path(__file__).parents[1] / "commands" / "tiny.py")


@dataclass(frozen=True)
class Own:
    """Images of one value each, from `first` on, whose labels hold `ids` in equal parts."""

    ids: tuple[int, ...] = (0, 1)
    count: int = 4
    first: int = 0
    class_names: tuple[str, ...] = ("background", "object")
    size: int = 32
    channels = 3

    @property
    def palette(self):
        return np.zeros((256, 3), np.uint8)

    def prepare(self):
        pass

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        value = self.first + index
        row = np.resize(np.asarray(self.ids, np.uint8), self.size)
        label = np.tile(row, (self.size, 1))
        image = np.full((self.size, self.size, 3), value % 256, np.uint8)
        image[0, 0, 0] = value // 256
        return {"image": image, "label": label, "name": f"n{value}"}


@dataclass(frozen=True)
class Mapped(Own):
    label_map: tuple[tuple[int, int], ...] = ()


def experiment(train, evaluated_on=Own(first=20_000), **changes):
    changes = {"model": UNet(num_classes=2, depth=1, features=4), **changes}
    return dataclasses.replace(TINY, train_data=train, eval_data=evaluated_on, **changes)


def lines(train, evaluation=Own(first=20_000), transforms=()):
    looked_at = experiment(train, evaluation, transforms=transforms)
    return data_coverage(looked_at, "train_data", "eval_data").lines


def test_data_in_which_every_class_occurs_are_not_talked_about():
    assert lines(Own()) == ()


def test_masks_of_0_and_255_name_the_class_that_is_missing_and_the_remedy():
    (line,) = lines(Mapped(ids=(0, 255)))
    assert line == (
        "warning: class 1 'object' occurs nowhere in the labels of train_data (its 4 "
        "examples); 50.0 % of their pixels are 255, which is ignored. If 255 is 'object', read "
        "it with train_data.label_map=((255, 1),)."
    )


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (Own(ids=(0, 255)), "If 255 is 'object', let Own give 1 in its place."),
        (Own(ids=(1, 255)), "If 255 is 'background', let Own give 0 in its place."),
        (Mapped(ids=(0, 255), label_map=((7, 0),)), "add (255, 1) to train_data.label_map."),
        (Mapped(ids=(0, 255), label_map=((7, 255),)), "which is ignored."),
        (Own(ids=(0,)), "train_data (its 4 examples)."),
    ],
)
def test_the_remedy_is_one_that_the_dataset_has(data, remedy):
    (line,) = lines(data)
    assert line.endswith(remedy)


def test_masks_of_0_and_255_among_many_classes_have_an_example_of_the_remedy():
    names = ("ground", "road", "car")
    (line,) = lines(Mapped(ids=(0, 255), class_names=names), Own((0, 1, 2), 4, 20_000, names))
    assert "classes 1 'road', 2 'car' occur nowhere" in line
    assert line.endswith("If 255 is 'road', read it with train_data.label_map=((255, 1),).")


def test_many_missing_classes_are_listed_shortly_and_evaluation_has_its_own_line():
    names = tuple(f"class{i}" for i in range(30))
    train = Own(ids=(0, 1, 255), class_names=names)
    evaluated = Own(ids=tuple(range(29)), class_names=names, first=100)
    first, second = lines(train, evaluated)
    assert first.startswith("warning: classes 2 'class2', 3 'class3'")
    assert "9 'class9' and 20 more occur nowhere" in first and "If 255" not in first
    assert second.startswith("warning: class 29 'class29' occurs nowhere in the labels of eval")


def test_of_a_long_dataset_it_is_said_that_a_sample_was_looked_at():
    (line,) = lines(Own(ids=(0,), count=10_000))
    assert "(the 200 of 10000 examples looked at)" in line


@pytest.mark.parametrize(
    ("train", "evaluation", "message"),
    [
        (Own(ids=(255,)), Own(), "labels in train_data .* nothing would be learned"),
        (Own(), Own(ids=(255,)), "labels in eval_data .* nothing would be scored"),
        (Mapped(ids=(255,)), Own(), "Check its masks and its label_map"),
    ],
)
def test_labels_that_are_ignored_altogether_are_refused(train, evaluation, message):
    with pytest.raises(InputError, match=message):
        make_plan(experiment(train, evaluation, transforms=()), note=lambda _: None)


@dataclass(frozen=True)
class TakeObject:
    """Makes class 1 of 255, and refuses images without an object."""

    def __call__(self, example, rng):
        label = np.where(example["label"] == 255, 1, example["label"])
        if not label.any():
            raise InputError("No object in the image.")
        return {**example, "label": label}


@pytest.mark.parametrize(("ids", "said"), [((255,), "every pixel"), ((0, 255), "class 1")])
def test_what_transforms_are_yet_to_change_is_said_and_not_refused(ids, said):
    found = lines(Own(ids=ids), transforms=(TakeObject(),))
    assert all("(its 4 examples, before its transforms)" in line for line in found)
    assert [line.startswith(f"warning: {said}") for line in found] == [True]


def test_a_transform_may_refuse_the_made_up_example_for_anything_but_its_channels(tmp_path):
    data = Folder(directory=str(tmp_path), class_names=("background", "object"))
    assert check_settings(experiment(data, data, transforms=(TakeObject(),)))
    check_settings(experiment(data, data, transforms=(RefuseSize(),)))


@dataclass(frozen=True)
class RefuseSize:
    """Refuses all images but those of one size."""

    def __call__(self, example, rng):
        if example["label"].shape != (32, 32):
            raise InputError("Not 32 x 32.")
        return example


@dataclass(frozen=True)
class Held(Own):
    """A dataclass that holds an array, of which two have no one truth value."""

    values: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))


def test_datasets_that_cannot_be_compared_are_told_apart_by_their_images():
    found = data_coverage(experiment(Held(), Held()), "train_data", "eval_data")
    assert found.trained_on == 4


@dataclass(frozen=True)
class Wrapped:
    """A dataset of one's own around another."""

    folder: Folder
    class_names: tuple[str, ...] = ("background", "object")
    channels = 3

    def prepare(self):
        self.folder.prepare()

    def __len__(self):
        return len(self.folder)

    def __getitem__(self, index):
        return self.folder[index]


@pytest.mark.parametrize("wrapped", [True, False])
def test_equal_pixels_are_one_image_however_they_are_stored(wrapped, tmp_path):
    def folder(name, level):
        for part, shape in (("images", (8, 8, 3)), ("masks", (8, 8))):
            (tmp_path / name / part).mkdir(parents=True)
            values = np.arange(np.prod(shape)) % 2
            picture = Image.fromarray(values.astype(np.uint8).reshape(shape))
            picture.save(tmp_path / name / part / "a.png", compress_level=level)
        data = Folder(directory=str(tmp_path / name), class_names=("background", "object"))
        data.prepare()
        return data

    train = folder("one", 0)
    evaluated = Wrapped(train) if wrapped else folder("other", 9)
    found = data_coverage(experiment(train, evaluated), "train_data", "eval_data")
    assert found.trained_on == 1 and "train_data too" in found.lines[-1]


def test_the_data_are_summed_up_and_their_sheets_named_by_the_main_process(
    tmp_path, monkeypatch
):
    for part, shape in (("images", (8, 8, 3)), ("masks", (8, 8))):
        (tmp_path / part).mkdir()
        Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / part / "a.png")
    data = Folder(directory=str(tmp_path), class_names=("background", "object"))
    data.prepare()
    summary = lambda: data_coverage(experiment(data), "train_data", "eval_data").summary
    monkeypatch.setattr("jax.process_index", lambda: 1)
    table = summary()
    assert table.splitlines()[1].split() == ["images", "1", "4"]
    assert table.splitlines()[4].split() == ["background", "100.0", "%", "50.0", "%"]
    assert not list(data.prepared_folder.glob("*.png"))
    monkeypatch.setattr("jax.process_index", lambda: 0)
    (sheet,) = summary().removeprefix(f"{table}\n").splitlines()
    (path,) = data.prepared_folder.glob("*.png")
    assert sheet == f"train_data on one page: {path}"
    path.unlink()
    with monkeypatch.context() as changed:
        changed.setattr("os.access", lambda *_: False)
        assert summary() == f"{table}\ntrain_data has no contact sheet: the cache is read-only"
    full = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    monkeypatch.setattr("segjax.report.data_sheet.save_png", full)
    assert summary().endswith("\ntrain_data has no contact sheet: No space left on device")


def test_several_processes_stop_reading_by_count_alone(monkeypatch):
    monkeypatch.setattr("segjax.train.coverage.SECONDS", 0.0)
    assert "32 of 100 examples" in lines(Own(ids=(0,), count=100))[0]
    monkeypatch.setattr("jax.process_count", lambda: 2)
    assert "its 100 examples" in lines(Own(ids=(0,), count=100))[0]


def test_a_sample_that_is_ignored_altogether_is_only_said():
    (line,) = lines(Own(ids=(255,), count=10_000))
    assert "the 200 of 10000 examples looked at) is 255" in line


def test_evaluation_on_the_training_images_is_said_and_counted():
    found = data_coverage(experiment(Own(), Own()), "train_data", "eval_data")
    assert found.trained_on == 4
    assert found.lines == (
        "warning: all 4 images of eval_data are in train_data too: the scores are of images "
        "that the network is trained on.",
    )
    # The same without reading the training data, as --evaluate does.
    assert data_coverage(experiment(Own(), Own()), "eval_data").trained_on == 4
    assert data_coverage(experiment(Own(), Own(first=9)), "eval_data").trained_on is None


def test_some_training_images_among_the_evaluated_ones_are_named():
    found = data_coverage(experiment(Own(), Own(first=2)), "train_data", "eval_data")
    assert found.trained_on == 2 and "2 of the 4 images" in found.lines[0]
    assert "(n2, n3)" in found.lines[0]
    assert (
        data_coverage(experiment(Own(), Own(first=9)), "train_data", "eval_data").trained_on
        == 0
    )
    sampled = data_coverage(experiment(Own(count=999), Own(first=0)), "train_data", "eval_data")
    assert sampled.trained_on == 1 and "at least 1 of the 4" in sampled.lines[0]


def own(split, held_out, **changes):
    changes = {"directory": "my_data", "class_names": ("background", "object"), **changes}
    return Folder(split, held_out=held_out, **changes)


def refused(train, evaluated):
    try:
        check_held_out({"train_data": train, "eval_data": evaluated})
    except InputError as error:
        return str(error)
    return None


def test_a_share_set_for_one_split_alone_is_refused_before_files_are_read():
    changed = experiment(own("train", 0.2), own("val", 0.3))
    for check in (check_parts, lambda changed: data_coverage(changed, "eval_data")):
        with pytest.raises(InputError, match="divide the images of my_data differently"):
            check(changed)
    assert refused(own("train", 0.2), own("val", 0.3)) == (
        "train_data.held_out=0.2 and eval_data.held_out=0.3 divide the images of my_data "
        "differently, so that an image may be in both splits: set the same held_out in "
        "train_data and eval_data."
    )
    same_place = own("val", 0.3, directory="./my_data/", image="images/{stem}.png")
    assert refused(own("train", 0.2), same_place) and refused(
        own("val", 0.3), own("train", 0.2)
    )


@pytest.mark.parametrize(
    "evaluated",
    [
        own("val", 0.2),
        own("val", 0.1),
        own("val", 0.3, directory="other"),
        own("val", 0.3, images="raw"),
        own("train", 0.3),
        own("val", None),
        Own(),
    ],
    ids=str,
)
def test_shares_that_put_no_image_into_both_splits_are_not_refused(evaluated):
    assert refused(own("train", 0.2), evaluated) is None


def counted(batch) -> bool:
    grid = batch["label"].shape[1:]
    return Semantic().counts(TINY.model, batch, Traced(None, grid))


def test_a_pixel_counts_where_its_label_is_a_class_and_its_weight_is_positive():
    label = np.array([[[0, 255]]])
    assert counted({"label": label})
    assert not counted({"label": label, "weight": np.array([[[0.0, 1.0]]])})
    assert not counted({"label": np.full((1, 2, 2), 255)})


def test_a_later_batch_with_a_pixel_that_counts_is_enough():
    ignored, good = {"label": np.full((1, 2, 2), 255)}, {"label": np.zeros((1, 2, 2))}
    more = lambda *batches: iter(batches).__next__
    assert uncounted_batches(good, more(), counted, most=3) is None
    assert uncounted_batches(ignored, more(ignored, good), counted, most=3) is None
    assert "first 3 batches" in (
        uncounted_batches(ignored, more(ignored, ignored), counted, most=3) or ""
    )


@dataclass(frozen=True)
class HideCentre:
    """Ignores all but a border, which a network of valid convolutions does not answer for."""

    border: int

    def __call__(self, example, rng):
        label = example["label"].copy()
        label[self.border : -self.border, self.border : -self.border] = 255
        return {**example, "label": label}


@pytest.mark.parametrize(("border", "said"), [(1, True), (31, False)])
def test_transforms_that_leave_nothing_where_the_network_answers_are_said(border, said):
    noted = []
    changed = experiment(
        Own(size=76),
        Own(size=76, first=100),
        model=UNet(num_classes=2, depth=1, features=4, valid=True),
        transforms=(HideCentre(border),),
    )
    make_plan(changed, note=noted.append)
    summary, *warnings = noted
    assert "train_data" in summary and "76x76" in summary
    assert [
        line.startswith("warning: no pixel counts in the first 8") for line in warnings
    ] == ([True] if said else [])


WRONG = [
    ({"steps": 1, "optimizer": "warm"}, r"optimizer\.schedule\.warmup_steps=5"),
    ({"batch_size": 3}, "batch_size=3 is not divisible"),
    ({"model": UNet(num_classes=3, depth=1, features=4)}, "model.num_classes=3"),
    ({"optimizer": "pattern"}, "'enc' fits no parameter"),
    ({"evaluation": "stride"}, "UNet has no output stride"),
    ({"model": UNet(num_classes=2, depth=4, features=4, valid=True)}, "must be 188"),
    ({"split": (1, 3)}, "rows times columns"),
    ({"loss": "weights"}, r"loss\.weights has 3 numbers for 2 classes"),
    ({"normalize": "two"}, "2 numbers, the image 3 channel"),
    ({"transforms": (RandomCrop(24, fill=(1, 2)),)}, "fills with 2 numbers"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[text for _, text in WRONG])
def test_what_the_experiment_alone_shows_is_refused_before_data_are_touched(
    changes, message, monkeypatch
):
    def touched(self):
        raise AssertionError("the data were touched")

    monkeypatch.setattr(FileDataset, "prepare", touched)
    data = Folder(directory="/nowhere", class_names=("background", "object"))
    given = {key: _part(key, value) for key, value in changes.items()}
    with pytest.raises(InputError, match=message):
        make_plan(experiment(data, data, **given))


@pytest.mark.parametrize("field", ["train_data", "eval_data"])
def test_a_missing_directory_is_said_before_the_network_is_tried(field, monkeypatch):
    def tried(*_):
        raise AssertionError("the network was tried")

    monkeypatch.setattr(plan, "_traced", tried)
    data = Folder(directory="/nowhere", class_names=("background", "object"))
    given = {"train_data": data, "eval_data": data}
    given[field] = dataclasses.replace(data, directory=None)
    with pytest.raises(InputError, match="Folder does not know where its files are: give dir"):
        make_plan(experiment(*given.values()))


def test_data_that_are_downloaded_need_no_directory_and_nothing_is_looked_for(monkeypatch):
    monkeypatch.setattr(VOC, "_sources", lambda self: pytest.fail("files were looked for"))
    VOC(download=True).check_directory()


def _part(key, value):
    return {
        "warm": SGD(Poly(0.1, warmup_steps=5)),
        "pattern": SGD(Poly(0.1), multipliers=(("enc", 0.1),)),
        "stride": Evaluation(output_stride=8),
        "weights": ClassWeightedCrossEntropy((1.0, 2.0, 3.0)),
        "two": Normalize((1.0, 2.0)),
    }.get(value if isinstance(value, str) else "", value)


def test_classes_that_differ_are_named_where_they_part():
    other = Own(class_names=("background", "thing", "more"))
    with pytest.raises(InputError) as refused:
        make_plan(experiment(Own(), other))
    assert str(refused.value) == (
        "eval_data and train_data must have the same classes: class 1 is 'thing' and 'object' "
        "(of 3 and 2)."
    )


@dataclass(frozen=True)
class Grey(Own):
    """Images of one channel, or of any other number, in the other byte order."""

    channels: int = 1

    def __getitem__(self, index):
        example = super().__getitem__(index)
        image = np.repeat(example["image"][..., :1], self.channels, axis=-1)
        return {**example, "image": image.astype(">f4")}


def test_evaluation_images_of_other_channels_are_refused_in_one_line():
    with pytest.raises(InputError, match="images of eval_data, which have 1 channel: give"):
        any_channels = experiment(Own(), Grey(first=9), normalize=Normalize((0.5,), (0.5,)))
        make_plan(any_channels, note=lambda _: None)
    assert make_plan(experiment(Own(), Grey(channels=3)), note=lambda _: None).channels == 3


def test_a_guess_refuses_nothing_that_the_data_themselves_allow():
    # Without a crop the size is the data's: 76 pixels fit this network, the guess does not.
    valid = UNet(num_classes=2, depth=2, features=4, valid=True)
    sized = experiment(Own(size=76), Own(size=76, first=9), model=valid, transforms=())
    assert make_plan(sized, note=lambda _: None).parameters > 0


def test_the_network_is_traced_once_where_the_guess_is_right(monkeypatch):
    traced, calls = plan._traced, []
    monkeypatch.setattr(plan, "_traced", lambda *a: calls.append(a) or traced(*a))
    make_plan(experiment(Own()), note=lambda _: None)
    assert len(calls) == 1
    assert len(check_settings(experiment(Own()))) == 1

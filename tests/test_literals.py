import dataclasses
import pathlib

import numpy as np
import pytest

from segjax.data.folder import Folder
from segjax.errors import InputError
from segjax.experiment import describe, load, override
from segjax.literals import folded, shortened
from segjax.train.workdir import check_owner, claim

ADE20K = ((0, 255), *((i + 1, i) for i in range(150)))
RANDOM = np.random.default_rng(0)
VALUES = [
    ADE20K,
    tuple(range(100)),
    tuple(range(90, -1, -3)),
    (1.0,) * 100,
    (0.5, *(1,) * 40, *(1.0,) * 40, True, True, True, True, True, True, *(1,) * 40),
    tuple((i, 0) for i in range(60)),
    tuple((i,) for i in range(60)),
    tuple((3 * i, 7, 255 - i) for i in range(60)),
    tuple(RANDOM.integers(0, 3, 400).tolist()),
    tuple(map(tuple, RANDOM.integers(0, 256, (150, 3)).tolist())),
    tuple(f"a, ')' {i}" for i in range(40)),
    ("a)b",) * 40,
    ("a(b", *("a(b",) * 40, "c"),
    (None,) * 40,
    ((),) * 40,
    ((1, (2, 3)),) * 40,
    tuple(tuple(range(100)) for _ in range(2)),
    list(range(100)),
    (-1.5, float(10**40), *range(-50, 50)),
    (b"bytes",) * 30,
    (3, 5),
    (),
    "x" * 300,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_what_is_shortened_or_folded_reads_as_the_same_value(value):
    for width in (20, 96):
        for text in (shortened(value, width=width), folded(value, width=width)):
            assert repr(eval(text)) == repr(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_set_reads_it_too(value):
    @dataclasses.dataclass(frozen=True)
    class Holder:
        value: object = None

    text = folded(value, width=40)
    if isinstance(value, str):
        text = repr(value)
    assert repr(override(Holder(), f"value = {text}").value) == repr(value)


def test_a_label_map_of_150_ids_is_one_short_line():
    assert shortened(ADE20K, width=96) == "((0, 255), *zip(range(1, 151), range(150)))"


def test_what_no_rule_shortens_is_folded_at_the_width():
    names = tuple(f"class {i}" for i in range(150))
    lines = folded(names, width=60).splitlines()
    assert len(lines) > 20 and max(map(len, lines)) <= 60
    assert lines[0] == "(" and lines[1].startswith("    'class 0', ") and lines[-1] == ")"


def test_short_values_stay_as_python_prints_them():
    assert shortened((1, 2, 3, 4, 5, 6), width=96) == "(1, 2, 3, 4, 5, 6)"
    assert folded(0.1, width=2) == "0.1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(*range(10**9),)", "expected"),
        ("(*range(1000000),)", "stands for more than 65536 items"),
        ("(*(1,) * 1000000,)", "stands for more than 65536 items"),
        ("(*zip(range(2), range(3)),)", "zip"),
        ("(*range(1, 2, 0),)", "must not be zero"),
        ("(*open(1),)", "expected"),
        (f"(*range({10**30}),)", "stands for more than 65536 items"),
        ("(*(*(1,) * 60000,) * 60000,)", "stands for more than 65536 items"),
        ("(*(1,) * True,)", "expected"),
    ],
)
def test_rules_that_are_none_or_too_long_are_refused(text, message):
    experiment = load(pathlib.Path(__file__).parent / "commands" / "tiny.py")
    experiment = dataclasses.replace(experiment, train_data=Folder(class_names=("a", "b")))
    with pytest.raises(InputError, match=message) as refused:
        override(experiment, f"train_data.label_map={text}")
    assert len(str(refused.value)) < 300


def test_a_short_description_sets_what_the_whole_one_says():
    experiment = load(pathlib.Path(__file__).parent / "commands" / "tiny.py")
    names = tuple(f"class {i}" for i in range(150))
    data = Folder(class_names=names, label_map=ADE20K)
    long = dataclasses.replace(experiment, train_data=data, eval_data=data)
    text = describe(long, short=True)
    assert max(map(len, text.splitlines())) < 120
    assert max(map(len, describe(long).splitlines())) > 1000
    start = text.index("train_data.label_map")
    line = text[start : text.index("\n", start)]
    plain = Folder(class_names=names)
    short = override(dataclasses.replace(long, train_data=plain), line)
    assert describe(short) == describe(long)


def test_a_workdir_of_another_long_tuple_is_refused_in_a_short_line(tmp_path):
    experiment = load(pathlib.Path(__file__).parent / "commands" / "tiny.py")
    names = tuple(f"class {i}" for i in range(150))
    plain, mapped = Folder(class_names=names), Folder(class_names=names, label_map=ADE20K)
    source = tmp_path / "tiny.py"
    claim(tmp_path / "run", dataclasses.replace(experiment, train_data=plain), source, b"")
    (tmp_path / "run" / "checkpoints" / "4").mkdir(parents=True)
    with pytest.raises(InputError, match="train_data.label_map differs") as refused:
        check_owner(tmp_path / "run", dataclasses.replace(experiment, train_data=mapped))
    assert len(str(refused.value)) < 400
    check_owner(tmp_path / "run", dataclasses.replace(experiment, train_data=plain))

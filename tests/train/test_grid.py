"""Grids of overrides and seeds: how they are read, and what their variants are called."""

import pathlib
import re

import pytest

from segjax import experiment as experiments
from segjax.errors import InputError
from segjax.train.grid import (
    MOST,
    grid_variants,
    parsed_axis,
    parsed_grid,
    split_values,
    value_name,
)
from segjax.train.run import runs_of_file
from segjax.train.seeds import parsed_seeds

QUICKSTART = pathlib.Path(__file__).parents[2] / "experiments/quickstart.py"
RATES = QUICKSTART.with_name("ablations") / "aspp_rates.py"
FOLDER_NAME = re.compile(r"\w[\w .+-]*")


@pytest.fixture(scope="module")
def quickstart():
    return experiments.load(QUICKSTART)


def names(experiment, *grid: str) -> list[str]:
    return [variant.name for variant in grid_variants(experiment, parsed_grid(grid))]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1,0.01", ["0.1", "0.01"]),
        ("(1,1,1), (1,2,4)", ["(1,1,1)", "(1,2,4)"]),
        ("a.b.C(x=(1,2), y=[3,4]),None", ["a.b.C(x=(1,2), y=[3,4])", "None"]),
        ("'a,b',\"c,(\"", ["'a,b'", '"c,("']),
        (r"'it\'s, so',b", [r"'it\'s, so'", "b"]),
        ("one", ["one"]),
    ],
)
def test_values_are_split_at_commas_outside_of_brackets_and_quotes(text, values):
    assert split_values(text, option="--grid") == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.features", "write it as FIELD=VALUE,VALUE"),
        ("=1,2", "write it as FIELD=VALUE,VALUE"),
        ("steps=", "value 1 is empty"),
        ("steps=1,,2", "value 2 is empty"),
        ("steps=1,2,", "value 3 is empty"),
        ("model.rates=(1,2", r"'\(' is not closed"),
        ("model.rates=1,2)", r"'\)' closes nothing"),
        ("model.rates=(1,2]", r"'\]' closes nothing"),
        ("name='a", '"\'" is not closed'),
    ],
)
def test_a_malformed_grid_is_an_error_that_shows_it(text, message):
    with pytest.raises(InputError, match=f"--grid {re.escape(text)}: {message}"):
        parsed_axis(text)


@pytest.mark.parametrize(
    ("grid", "settings", "message"),
    [
        (["seed=1,2"], [], "--grid seed=1,2: use --seeds 1,2"),
        (["name=a,b"], [], "names are made from the values"),
        (["steps=1", "steps=2"], [], "--grid steps: --grid changes this field too"),
        (["steps=1"], ["steps = 2"], "--grid steps: --set changes this field too"),
        (["model=a.B()"], ["model.depth=2"], "replaces what --set model.depth has changed"),
        (["model.depth=2", "model=a.B()"], [], "give --grid model first"),
        ([f"{i}={','.join('ab' * 2**5)}" for i in "xyz"], [], f"the most are {MOST:,}"),
    ],
)
def test_grids_that_cannot_be_carried_out_together_are_errors(grid, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        parsed_grid(grid, settings=settings)


def test_a_field_of_a_value_may_be_varied_too(quickstart):
    unets = "model=segjax.models.unet.UNet(6,depth=1),segjax.models.unet.UNet(6,depth=2)"
    found = names(quickstart, unets, "model.features=4,8")
    assert [name.rpartition("-")[2] for name in found] == ["features_4", "features_8"] * 2


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("model.featurs=1,2", "--grid model.featurs: UNet has no field 'featurs'; near: feat"),
        ("model.features=1,x", "--grid model.features=x: expected int, got 'x'"),
        ("optimizer.schedule.rate=1,2,1.0", "the values 1 and 1.0 are equal"),
        ("transforms=1,2", "put brackets round each tuple: transforms=(…),(…)"),
    ],
)
def test_a_value_that_the_experiment_refuses_is_an_error(quickstart, grid, message):
    with pytest.raises(InputError, match=re.escape(message)):
        names(quickstart, grid)


def test_names_are_made_of_the_fields_last_words_and_the_values(quickstart):
    assert names(quickstart, "model.features=4,8", "optimizer.schedule.rate=0.1,1e-5") == [
        "features_4-rate_0.1",
        "features_4-rate_1e-05",
        "features_8-rate_0.1",
        "features_8-rate_1e-05",
    ]


def test_fields_with_one_last_word_are_told_apart(quickstart):
    assert names(quickstart, "train_data.count=8", "eval_data.count=4") == [
        "train_data.count_8-eval_data.count_4"
    ]
    flip = "transforms.0=segjax.transforms.geometric.RandomFlip()"
    assert names(quickstart, flip)[0].startswith("transforms.0_RandomFlip-")


def test_a_value_that_is_added_renames_no_other(quickstart):
    few = names(quickstart, "model.up=segjax.layers.up.bilinear", "steps=1,2")
    ups = "model.up=segjax.layers.up.transposed,segjax.layers.up.bilinear"
    assert set(few) < set(names(quickstart, ups, "steps=3,1,2"))


def test_values_have_different_names_that_a_folder_can_have():
    values = [1, "1", True, "true", None, "none", "None", (1, 2), "1_2", (1,), ((1, 2),), -1]
    values += [1.5, 1e20, 1e-20, float("inf"), "inf", "a/b", "../a", "", "A", "a", " a", "ä"]
    values += [(1, (2, 3)), ((1, 2), 3), (-1, 2), tuple(range(50)), tuple(range(51)), "x" * 300]
    found = [f"field_{value_name(value, repr(value))}" for value in values]
    assert len({name.lower() for name in found}) == len(values)
    assert all(FOLDER_NAME.fullmatch(name) and len(name) < 80 for name in found)


def test_spaces_in_a_call_do_not_make_another_name():
    one, other = "a.b.C( x = 1 )", "a.b.C(x=1)"
    assert value_name(object(), one) == value_name(object(), other)
    assert value_name(object(), other).startswith("C_x_1-")


def test_a_long_name_is_cut_and_stays_unique(quickstart):
    grid = ["optimizer.schedule.warmup_steps=1,2,3", "optimizer.weight_decay=0.0001,0.0002"]
    grid += ["model.features=16", "checkpoint_every=1000000", "batch_size=8", "log_every=100"]
    grid += ["model.depth=2", "optimizer.schedule.rate=0.000123456"]
    found = names(quickstart, *grid)
    assert len(set(found)) == 6 and {len(name) for name in found} == {100}


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1", [7]), ("3", [7, 8, 9]), ("4,7", [4, 7]), (" 4 , 2 ", [4, 2]), ("0,", [0])],
)
def test_seeds_are_counted_from_the_experiments_own_or_listed(text, seeds):
    assert parsed_seeds(text, first=7) == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "must lie between 1 and"),
        ("100000", "must lie between 1 and"),
        ("-1", "write a number of seeds"),
        ("1.5", "write a number of seeds"),
        ("a", "write a number of seeds"),
        ("", "write a number of seeds"),
        ("1,,2", "write a number of seeds"),
        ("1,2,1", "1 is there twice"),
        ("4294967296,", "must be below"),
    ],
)
def test_other_seeds_are_an_error(text, message):
    with pytest.raises(InputError, match=f"--seeds {re.escape(text)}: .*{message}"):
        parsed_seeds(text, first=0)


def test_each_variant_runs_with_each_seed_in_a_folder_of_its_own(tmp_path):
    runs = runs_of_file(
        QUICKSTART,
        workdir=tmp_path,
        settings=["seed=5"],
        grid=["model.features=4,8"],
        seeds="2",
    )
    assert [str(run.workdir.relative_to(tmp_path)) for run in runs] == [
        "features_4/seed5",
        "features_4/seed6",
        "features_8/seed5",
        "features_8/seed6",
    ]
    last = runs[-1].experiment
    assert (last.name, last.model.features, last.seed) == ("features_8", 8, 6)
    assert all(run.is_compared for run in runs)


def test_seeds_alone_compare_the_runs_of_one_experiment(tmp_path):
    runs = runs_of_file(QUICKSTART, workdir=tmp_path, seeds="4,7")
    assert [run.workdir.name for run in runs] == ["seed4", "seed7"]
    assert {run.workdir.parent.name for run in runs} == {"quickstart"}


def test_a_grid_varies_each_experiment_of_a_list_and_seeds_replace_its_own(tmp_path):
    runs = runs_of_file(RATES, workdir=tmp_path, grid=["steps=5"], seeds="3")
    assert len(runs) == 9 and runs[0].experiment.name == "rates_1_1_1-steps_5"
    assert [run.experiment.seed for run in runs[:4]] == [0, 1, 2, 0]
    assert [run.place for run in runs[::3]] == [0, 2, 4]
    with pytest.raises(InputError, match="rates_1_1_1: --grid model.depth: DeepLabV3 has no"):
        runs_of_file(RATES, workdir=tmp_path, grid=["model.depth=5"])


def test_a_grid_over_what_is_evaluated_is_refused(tmp_path):
    with pytest.raises(InputError, match="'size_96' is evaluated on other images"):
        runs_of_file(QUICKSTART, workdir=tmp_path, grid=["eval_data.size=64,96"])

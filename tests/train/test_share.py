"""How the runs of an ablation are shared out over tasks, hosts and hands."""

import itertools
import pathlib
import re

import pytest

from segjax.errors import InputError
from segjax.train.run import runs_of_file
from segjax.train.share import Share, share_of

QUICKSTART = pathlib.Path(__file__).parents[2] / "experiments/quickstart.py"


@pytest.fixture(scope="module")
def runs():
    grid = ["model.features=4,8,12"]
    return runs_of_file(QUICKSTART, workdir=pathlib.Path("x"), grid=grid, seeds="3")


def array(task: int, *, least: int = 0, count: int = 4, step: int = 1) -> dict[str, str]:
    values = {"ID": task, "MIN": least, "COUNT": count, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": f"{value}" for name, value in values.items()}


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4, 20])
def test_the_shares_have_each_run_exactly_once(runs, count, whole):
    shares = [Share(i, count).of(runs, whole_variants=whole) for i in range(count)]
    assert sorted(run.workdir for share in shares for run in share) == sorted(
        run.workdir for run in runs
    )
    if not whole:
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_whole_variants_keep_their_seeds_together(runs):
    for index in range(2):
        taken = Share(index, 2).of(runs, whole_variants=True)
        seeds = [run.experiment.seed for run in taken]
        assert seeds == [0, 1, 2] * (len(taken) // 3) and taken


def test_without_an_array_or_an_option_a_process_takes_everything():
    assert share_of(None, environment={}) == Share(0, 1)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (array(2), (2, 4)),
        (array(9, least=9, count=1), (0, 1)),
        (array(7, least=1, count=4, step=2), (3, 4)),
    ],
)
def test_a_task_of_a_slurm_array_takes_the_share_of_its_index(environment, expected):
    assert share_of(None, environment=environment)[:2] == expected
    assert share_of("0/1", environment=environment)[:2] == (0, 1)


@pytest.mark.parametrize(
    "environment",
    [array(7, least=1, count=2), array(2, least=1, step=2), {"SLURM_ARRAY_TASK_ID": "3"}],
)
def test_an_array_whose_indices_are_irregular_is_an_error(environment):
    with pytest.raises(InputError, match="has no place in an array .*--array=0-7"):
        share_of(None, environment=environment)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8/8", "--share 8/8: shares are counted from 0; use 0/8 to 7/8"),
        ("0/0", "use 0/1 for all runs"),
        ("2", "write it as INDEX/COUNT"),
        ("-1/4", "write it as INDEX/COUNT"),
        ("1/2/3", "write it as INDEX/COUNT"),
    ],
)
def test_a_share_that_does_not_exist_is_an_error(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        share_of(text, environment={})


@pytest.mark.parametrize(
    "names",
    [
        ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ],
)
def test_by_host_the_processes_have_the_shares_of_their_numbers(names):
    environment = dict(zip(names, ("1", "3"), strict=True))
    assert share_of(None, by_host=True, environment=environment)[:2] == (1, 3)
    for wrong in ("3", "", "x"):
        with pytest.raises(InputError, match=f"--by-host: {names[0]}="):
            share_of(None, by_host=True, environment={**environment, names[0]: wrong})


def test_hosts_divide_the_share_of_their_array_task(runs):
    taken = []
    for task, process in itertools.product(range(2), range(3)):
        environment = {**array(task, count=2), "SLURM_PROCID": f"{process}"}
        environment["SLURM_STEP_NUM_TASKS"] = "3"
        share = share_of(None, by_host=True, environment=environment)
        assert share.why == f"SLURM array task {task} and process {process} of 3"
        taken += share.of(runs)
    assert sorted(run.workdir for run in taken) == sorted(run.workdir for run in runs)


@pytest.mark.parametrize("environment", [{}, {"TPU_WORKER_HOSTNAMES": "a,b"}])
def test_by_host_needs_processes_that_can_work_apart(environment):
    with pytest.raises(InputError, match="--by-host.*--share"):
        share_of(None, by_host=True, environment=environment)

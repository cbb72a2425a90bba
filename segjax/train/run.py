"""A run: an experiment with its overrides and its folder, as a command line names it."""

import contextlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from segjax import experiment as experiments
from segjax.class_weights import WeightRule
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.parallel.cluster import is_main, wait_for_all
from segjax.settings import directory_settings
from segjax.stopping import leaving
from segjax.train.variants import check_variants
from segjax.train.workdir import claim, default_workdir


class Run(NamedTuple):
    """An experiment and where it is carried out.

    Attributes:
      experiment: with its overrides.
      workdir: the folder of everything that the run writes.
      source: the file that defines the experiment.
      contents: of that file, as it was loaded.
      settings: the overrides.
      place: of the experiment in the file's list; None where the file defines one experiment.
    """

    experiment: Experiment
    workdir: pathlib.Path
    source: pathlib.Path
    contents: bytes
    settings: tuple[str, ...] = ()
    place: int | None = None

    def __repr__(self) -> str:
        return f"Run({self.experiment.name} in {self.workdir})"


def runs_of_file(
    path: pathlib.Path,
    *,
    workdir: pathlib.Path | None = None,
    settings: Sequence[str] = (),
    directory: str | None = None,
) -> list[Run]:
    """Returns the runs of an experiment file: one, or those of an ablation's list.

    The runs of a list have the folders `<workdir>/<name>/seed<seed>`.

    Args:
      path: the experiment file.
      workdir: None for `segjax.train.workdir.default_workdir`.
      settings: overrides of every experiment of the file.
      directory: of every dataset, as overrides that come after the others.

    Raises:
      InputError: the file, an override or the list of experiments is wrong.
      UserCodeError: the file itself raised.
    """
    listed, is_list = experiments.load_all(path)
    contents = path.read_bytes()
    name = path.stem if is_list else listed[0].name
    if is_list:
        _check_settings_of_list(settings, path)
    # The settings of the evaluation do not make it another run.
    trained = [s for s in settings if not s.strip().startswith("evaluation")]
    root = workdir or default_workdir(name, trained)
    runs = []
    for place, experiment in enumerate(listed):
        chosen = list(settings)
        if directory:
            chosen += directory_settings(experiment, directory)
        for setting in chosen:
            experiment = experiments.override(experiment, setting)
        experiment = experiments.checked(experiment, "--set")
        folder = root / experiment.name / f"seed{experiment.seed}" if is_list else root
        runs.append(
            Run(experiment, folder, path, contents, tuple(chosen), place if is_list else None)
        )
    if is_list:
        check_variants([run.experiment for run in runs], str(path))
    return runs


def _check_settings_of_list(settings: Sequence[str], path: pathlib.Path) -> None:
    for setting in settings:
        if setting.partition("=")[0].strip() in ("seed", "name"):
            raise InputError(
                f"--set {setting}: the runs of a list are identified by name and seed; "
                f"change them in {path}."
            )


def claim_run(run: Run, *, rules: Mapping[str, WeightRule] | None = None) -> None:
    """Writes the experiment's file and description into the run's folder, for all processes.

    `rules` are those that gave the class weights of the experiment, by path.
    """
    if is_main():
        claim(
            run.workdir,
            run.experiment,
            run.source,
            run.contents,
            settings=run.settings,
            place=run.place,
            rules=rules,
        )
    wait_for_all("claimed")


def leaving_run(run: Run, left: Callable[[], str]) -> contextlib.AbstractContextManager[None]:
    """Turns a request to stop into an `Interrupted` that says what is `left` of the run.

    Raises:
      Interrupted: the process was asked to stop within the block, or another process of the
        run has ended.
    """
    where = "" if run.place is None else f"{run.workdir}: "
    return leaving(lambda: f"{where}{left()}")

"""A run: an experiment with its overrides and its folder, as a command line names it."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from segjax import experiment as experiments
from segjax.class_weights import WeightRule
from segjax.errors import InputError
from segjax.experiment import Experiment
from segjax.parallel.cluster import is_main, wait_for_all
from segjax.settings import directory_settings
from segjax.stopping import leaving
from segjax.train.grid import Axis, grid_variants, parsed_grid
from segjax.train.seeds import parsed_seeds
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
      is_compared: whether it is one of the runs of a list, a grid or several seeds.
    """

    experiment: Experiment
    workdir: pathlib.Path
    source: pathlib.Path
    contents: bytes
    settings: tuple[str, ...] = ()
    place: int | None = None
    is_compared: bool = False

    def __repr__(self) -> str:
        return f"Run({self.experiment.name} in {self.workdir})"


def runs_of_file(
    path: pathlib.Path,
    *,
    workdir: pathlib.Path | None = None,
    settings: Sequence[str] = (),
    directory: str | None = None,
    grid: Sequence[str] = (),
    seeds: str | None = None,
) -> list[Run]:
    """Returns the runs of an experiment file: one, or those of an ablation.

    An ablation is a file's list, a grid, several seeds, or all of them: each experiment of the
    list is varied by the grid, and each variant is trained with each seed. Its runs have the
    folders `<workdir>/<name>/seed<seed>`.

    Args:
      path: the experiment file.
      workdir: None for `segjax.train.workdir.default_workdir`.
      settings: overrides of every experiment of the file.
      directory: of every dataset, as overrides that come after the others.
      grid: for each varied field a text such as "model.features=8,16".
      seeds: "3" for so many from the experiment's own seed on, or "4,7". They replace those of
        a list.

    Raises:
      InputError: the file, an override, the grid, the seeds or the list is wrong.
      UserCodeError: the file itself raised.
    """
    listed, is_list = experiments.load_all(path)
    contents = path.read_bytes()
    if is_list:
        _check_settings_of_list(settings, path)
    axes = parsed_grid(grid, settings=settings)
    is_compared = is_list or bool(axes) or seeds is not None
    # The settings of the evaluation do not make it another run.
    trained = [s for s in settings if not s.strip().startswith("evaluation")]
    root = workdir or default_workdir(path.stem if is_list else listed[0].name, trained)
    runs = []
    for place, experiment in enumerate(listed):
        changed = _overridden(experiment, settings)
        if seeds is not None and changed.name in [each.name for each in listed[:place]]:
            continue  # A list's repetition with another seed, which `seeds` replaces.
        for varied in _varied(changed, axes, seeds, is_list=is_list):
            experiment, chosen = _overridden(changed, varied), [*settings, *varied]
            if directory:
                places = directory_settings(experiment, directory)
                experiment, chosen = _overridden(experiment, places), [*chosen, *places]
            experiment = experiments.checked(experiment, "--set")
            own = root / experiment.name / f"seed{experiment.seed}"
            run = Run(experiment, own if is_compared else root, path, contents, tuple(chosen))
            runs.append(run._replace(place=place if is_list else None, is_compared=is_compared))
    if is_compared:
        check_variants([run.experiment for run in runs], str(path))
    return runs


def _overridden(experiment: Experiment, settings: Sequence[str]) -> Experiment:
    for setting in settings:
        experiment = experiments.override(experiment, setting)
    return experiment


def _varied(
    experiment: Experiment, axes: Sequence[Axis], seeds: str | None, *, is_list: bool
) -> Iterator[tuple[str, ...]]:
    """Yields the overrides of each run of a grid and its seeds; without both, one time none."""
    repeated = [()]
    if seeds is not None:
        repeated = [(f"seed={s}",) for s in parsed_seeds(seeds, first=experiment.seed)]
    try:
        variants = grid_variants(experiment, axes) if axes else []
    except InputError as error:
        raise InputError(f"{experiment.name}: {error}" if is_list else str(error)) from error
    head = f"{experiment.name}-" if is_list else ""
    named = [(*each.settings, f"name={(head + each.name)!r}") for each in variants]
    for variant in named or [()]:
        for seed in repeated:
            yield (*variant, *seed)


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
    where = f"{run.workdir}: " if run.is_compared else ""
    return leaving(lambda: f"{where}{left()}")

"""Trackers: services that show a run's rows while it trains.

An experiment names them in its field `trackers`. A class of your own is a frozen dataclass with
a method `start`, as `segjax.contracts.Tracker` says; it may stand in the experiment file.
"""

import ast
import dataclasses
import importlib
import importlib.util
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from segjax.contracts import Tracked
from segjax.errors import InputError

LONGEST = 6000
"""Characters of a parameter's value that MLflow takes."""

MOST = 100
"""Parameters that MLflow takes at once."""


def _check_installed(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"trackers: {package} is not installed; run pip install 'segjax[{extra}]', or "
            "leave the tracker out."
        )


@dataclasses.dataclass(frozen=True)
class WandB:
    """Weights & Biases. Log in before, by `wandb login` or the variable `WANDB_API_KEY`.

    The package's environment variables work too; a field that is None leaves it to them.

    Attributes:
      project: where the run is listed.
      entity: the user or the team that the project belongs to.
      group: of the run, such as that of all seeds of a variant.
      tags: of the run.
      mode: "offline" writes to `<workdir>/wandb`, which `wandb sync` uploads later.
    """

    project: str = "segjax"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    mode: Literal["online", "offline"] | None = None

    def check(self) -> None:
        """Raises InputError unless the package is installed."""
        _check_installed("wandb", "wandb")

    def start(
        self, name: str, description: Mapping[str, str], *, workdir: str, run_id: str | None
    ) -> Tracked:
        """Returns the run, begun or continued.

        Raises:
          RuntimeError: nobody is logged in.
        """
        wandb = importlib.import_module("wandb")
        mode = self.mode or wandb.setup().settings.mode
        # It would ask on the terminal.
        if mode == "online" and not wandb.login(prompt=False, verify=False):
            raise RuntimeError(
                "nobody is logged in; run `wandb login`, set WANDB_API_KEY, or mode='offline'"
            )
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group,
            tags=self.tags or None,
            mode=mode,
            name=name,
            config={path: _literal(value) for path, value in description.items()},
            dir=workdir,
            id=run_id,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )
        # A run that goes on starts before the step that it had come to, and W&B's own step
        # must not fall.
        run.define_metric("*", step_metric="step")
        return _WandBRun(run)


class _WandBRun:
    """A run of Weights & Biases."""

    def __init__(self, run: Any) -> None:
        self._run, self.run_id = run, str(run.id)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Takes the numbers of one row."""
        self._run.log({**numbers, "step": step})

    def finish(self, status: str) -> None:
        """Ends the run; one that was stopped is shown as preempted."""
        if status == "stopped":
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if status == "done" else 1)


@dataclasses.dataclass(frozen=True)
class MLflow:
    """MLflow: a server or a store of its own.

    Attributes:
      experiment: the name of MLflow's experiment, which lists runs; it is made if need be.
      uri: of the server or store, such as "http://host:5000" or "sqlite:///mlflow.db"; None
        leaves it to the variable `MLFLOW_TRACKING_URI` and MLflow's default.
    """

    experiment: str = "segjax"
    uri: str | None = None

    def check(self) -> None:
        """Raises InputError unless the package is installed."""
        _check_installed("mlflow", "mlflow")

    def start(
        self, name: str, description: Mapping[str, str], *, workdir: str, run_id: str | None
    ) -> Tracked:
        """Returns the run, begun or continued."""
        entities = importlib.import_module("mlflow.entities")
        client = importlib.import_module("mlflow").MlflowClient(tracking_uri=self.uri)
        if run_id is not None:
            client.update_run(run_id, status="RUNNING")
            return _MLflowRun(client, run_id, entities.Metric)
        found = client.get_experiment_by_name(self.experiment)
        experiment_id = (
            client.create_experiment(self.experiment) if found is None else found.experiment_id
        )
        run = client.create_run(experiment_id, run_name=name, tags={"workdir": workdir})
        parameters = [
            entities.Param(path, value[:LONGEST]) for path, value in description.items()
        ]
        for some in _chunks(parameters, MOST):
            client.log_batch(run.info.run_id, params=some)
        return _MLflowRun(client, run.info.run_id, entities.Metric)


class _MLflowRun:
    """A run of MLflow; `metric` is the class of one number."""

    def __init__(self, client: Any, run_id: str, metric: Any) -> None:
        self._client, self.run_id, self._metric = client, run_id, metric

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Takes the numbers of one row."""
        now = int(1000 * time.time())
        metrics = [self._metric(name, value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def finish(self, status: str) -> None:
        """Ends the run; one that was stopped is shown as killed."""
        names = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
        self._client.set_terminated(self.run_id, names[status])


def _literal(text: str) -> Any:
    """Returns the number, text or tuple that is written so; any other text as it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]

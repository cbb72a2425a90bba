"""Class weights that an experiment leaves to its training data: computed, or read back.

Wherever a loss has a `WeightRule` instead of numbers, the run replaces it by numbers when it
starts. They are part of the run's description, so a run resumes only if its data give the same.
A comment in the description says by which rule they were computed.
"""

import ast
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from segjax.class_weights import WeightRule
from segjax.conformity import declares
from segjax.contracts import Model
from segjax.data.class_counts import dataset_counts
from segjax.description import fields, replace
from segjax.errors import first_of
from segjax.experiment import Experiment

RULE = "# {path} by {rule!r}"
"""The line of a run's description that says which rule gave the numbers."""


def rule_lines(rules: Mapping[str, WeightRule]) -> str:
    """Returns a line of a run's description for each rule, by its path."""
    return "".join(RULE.format(path=path, rule=rule) + "\n" for path, rule in rules.items())


def weight_rules(experiment: Experiment) -> dict[str, WeightRule]:
    """Returns {path: rule} of the loss, such as {"loss.weights": MedianFrequency()}."""
    return dict(_rules(experiment.loss, "loss"))


def _rules(value: Any, path: str) -> Iterator[tuple[str, WeightRule]]:
    if isinstance(value, WeightRule):
        yield path, value
        return
    for key, child in _children(value):
        yield from _rules(child, f"{path}.{key}")


def _children(value: Any) -> list[tuple[str, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(name, getattr(value, name)) for name in fields(value)]
    if isinstance(value, tuple | list):
        return [(str(i), item) for i, item in enumerate(value)]
    return []


def _with_weights(value: Any, weights: Callable[[str, WeightRule], Any], path: str) -> Any:
    """Returns a copy in which each rule is replaced; the same object where there is none."""
    if isinstance(value, WeightRule):
        return weights(path, value)
    changed = {
        key: new
        for key, child in _children(value)
        if (new := _with_weights(child, weights, f"{path}.{key}")) is not child
    }
    if not changed:
        return value
    if isinstance(value, tuple | list):
        return type(value)(changed.get(str(i), item) for i, item in enumerate(value))
    return replace(value, **changed)


def _replaced(experiment: Experiment, weights: Callable[[str, WeightRule], Any]) -> Experiment:
    loss = _with_weights(experiment.loss, weights, "loss")
    return experiment if loss is experiment.loss else replace(experiment, loss=loss)


def with_stand_in_weights(experiment: Experiment) -> Experiment:
    """Returns the experiment with the weight 1 for every class in place of each rule.

    Network and loss can be tried on it before any file is read.
    """
    model = experiment.model
    count = model.num_classes if declares(model, Model) else 1
    return _replaced(experiment, lambda path, rule: (1.0,) * count)


def with_computed_weights(experiment: Experiment, *, note: Callable[[str], None]) -> Experiment:
    """Returns the experiment with numbers in place of rules, from its prepared training data.

    `note` takes a line for each rule, and one about classes that get the weight 0.

    Raises:
      InputError: the training data have no classes, or a rule is for other labels.
    """
    if not weight_rules(experiment):
        return experiment
    data = experiment.train_data
    found = dataset_counts(data, title="train_data")

    def computed(path: str, rule: WeightRule) -> tuple[float, ...]:
        """Returns the weights of a rule, and tells where they are from."""
        weights = rule.computed(found.counts)
        part = "its" if found.read == len(data) else f"{found.read:,} of its"
        note(
            f"{path} = {weights}, by {rule!r} from train_data ({part} {len(data):,} examples, "
            "before transforms)"
        )
        if found.absent:
            value = 1 if found.counts.planes else 0
            note(
                f"warning: train_data has no pixel of {first_of(found.absent)}, so the weight "
                f"in {path} is {value}"
            )
        return weights

    return _replaced(experiment, computed)


def with_recorded_weights(experiment: Experiment, description: str) -> Experiment:
    """Returns the experiment with the numbers that a run's description has; no data are read.

    Rules that the description does not have as numbers stay, and so does a rule that is not
    the one that gave the numbers. Descriptions from before rules were noted accept any rule.
    """
    rules, lines = weight_rules(experiment), description.splitlines()
    parts = (line.partition(" = ") for line in lines)
    texts = {path: text for path, _, text in parts if path in rules}

    def recorded(path: str, rule: WeightRule) -> Any:
        """Returns the weights that a run's description holds; the rule if it holds none."""
        start = RULE.partition("{rule")[0].format(path=path)
        noted = [line for line in lines if line.startswith(start)]
        if noted and RULE.format(path=path, rule=rule) not in noted:
            return rule
        try:
            weights = ast.literal_eval(texts.get(path, ""))
        except (ValueError, SyntaxError):
            return rule
        return weights if isinstance(weights, tuple) else rule

    return _replaced(experiment, recorded)

"""The part of a report that shows the extra scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from segjax.report.extra_scores import by_class_table, score_table
from segjax.report.run_page import Section
from segjax.scores.extra_metric import ExtraMetric

NOTE = "Asked for by evaluation.metrics. They do not decide which checkpoint is the best."


def extra_sections(
    metrics: Sequence[ExtraMetric], scores: Mapping[str, Any], class_names: Sequence[str]
) -> list[Section]:
    """Returns the section of all extra scores; none where there are no metrics.

    Args:
      metrics: of the evaluation.
      scores: content of `evaluation.json`.
      class_names: of the evaluation data.
    """
    if not metrics:
        return []
    rows = [
        (score, scores.get(name), metric.definition if place == 0 else "")
        for metric in metrics
        for place, (name, score) in enumerate(metric.shown.items())
    ]
    by_class = {
        score: scores[name] for metric in metrics for name, score in metric.by_class.items()
    }
    parts = [score_table(rows)] if rows else []
    parts += [by_class_table(by_class, class_names)] if by_class else []
    tables = f'<div class="extra">{"".join(parts)}</div>' if parts else ""
    figures = "".join(metric.figures(scores) for metric in metrics)
    charts = f'<div class="charts">{figures}</div>' if figures else ""
    return [Section("Other scores", NOTE, tables + charts)]

"""A plan as text for people, and as the numbers of `plan.json`."""

import math
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from segjax.parallel import cluster
from segjax.planning.remedies import Remedy
from segjax.planning.requirements import Requirements
from segjax.planning.search import MOST

MINUTE, HOUR, DAY = 60, 3600, 86_400

Row = tuple[str, ...]


def plan_text(found: Requirements, *, price: float | None = None) -> str:
    """Returns a plan in lines: memory, the batch that fits, time, cost, and what went wrong."""
    parts = [
        _heading(found),
        "\n".join(_aligned(memory_rows(found))),
        "\n".join(_folded([*fit_rows(found), *time_rows(found), *_cost_rows(found, price)])),
        "\n".join(remarks(found)),
    ]
    return "\n\n".join(part for part in parts if part)


def _heading(found: Requirements) -> str:
    experiment = found.experiment
    height, width = found.step.batch["image"].shape[1:3]
    parts = experiment.accumulate
    micro = f" in {parts} micro-batches" if parts > 1 else ""
    images = f"{experiment.batch_size} images of {width}x{height}{micro}"
    return (
        f"{experiment.name}: {type(experiment.model).__name__} with "
        f"{found.step.plan.parameters:,} parameters on {cluster.describe_devices()}; "
        f"{experiment.steps:,} steps of {images}"
    )


def memory_rows(found: Requirements) -> list[Row]:
    """Returns a row for each part of a device's memory, a column for each phase of the run."""
    step, training, evaluation = found.step, found.training, found.evaluation
    held = step.held_bytes(training)
    state = sum(step.state.values())
    # A state that is spread over devices takes only a share of each part.
    part = lambda size: size * min(held / state, 1.0) if state else 0
    rows = [("memory of each device", "training", "evaluation")]
    for name, size in step.state.items():
        if size:
            rows.append((name, bytes_text(part(size)), bytes_text(part(size))))
    batch = training.argument_bytes - held
    rest = found.training_peak - held - 2 * batch - step.beside_bytes(step.share)
    predicted = images = "–"
    if evaluation is not None:
        again = min(evaluation.argument_bytes, step.state["parameters"])
        images = bytes_text(evaluation.argument_bytes - again)
        predicted = bytes_text(evaluation.peak_bytes - evaluation.argument_bytes + again)
    rows.append(("batch" + " and the next one", bytes_text(2 * batch), images))
    rows.append(("activations and temporaries", bytes_text(rest), predicted))
    if beside := step.beside_bytes(step.share):
        shown = bytes_text(beside)
        rows.append(("batches read ahead, state saved", shown, shown))
    peak = found.evaluation_peak
    told = lambda number: "–" if number is None else bytes_text(number)
    rows.append(("peak", told(found.training_peak), told(peak)))
    measured = found.measured_peaks
    if any(measured):
        rows.append(("peak, measured here", told(measured[0]), told(measured[1])))
    return rows


def fit_rows(found: Requirements) -> Iterator[Row]:
    """Yields what the device has, whether the run fits, and the largest batch that does."""
    limit, experiment = found.limit, found.experiment
    if limit.bytes is None:
        yield ("limit", "unknown: the device does not tell; give --memory GIB")
        return
    process = f"; the process takes {bytes_text(limit.process)} more" if limit.process else ""
    yield ("limit", f"{_exactly(limit.bytes)}, {limit.source}{process}")
    yield ("fits", "yes" if found.fits else "no")
    if (largest := found.largest) is None:
        return
    if largest.size == 0:
        yield ("largest batch", "none: not even one image on each device fits")
    elif largest.size == MOST:
        yield ("largest batch", f"{found.largest_batch:,} images or more")
    else:
        fitting, next_one = (_exactly(largest.peaks[largest.size + i]) for i in (0, 1))
        yield (
            "largest batch",
            f"{found.largest_batch:,} images: peak {fitting}; "
            f"{(largest.size + 1) * found.unit:,} images need {next_one}",
        )
    for remedy in found.remedies:
        yield ("to fit" if remedy.fits else "not enough", _remedy(remedy))
    if largest.size == 0:
        yield ("to fit", "take smaller images or a smaller network")
    elif found.largest_batch and found.largest_batch < experiment.batch_size:
        yield ("to fit", f"--set batch_size={found.largest_batch}, which trains differently")
    yield from _evaluation_rows(found)


def _evaluation_rows(found: Requirements) -> Iterator[Row]:
    """Yields that an evaluation does not fit, and what makes it fit."""
    if found.evaluation_fits is not False:
        return
    yield ("evaluation", "does not fit beside the state of training")
    for remedy in found.evaluation_remedies:
        yield ("to fit" if remedy.fits else "not enough", _remedy(remedy))
    if not any(remedy.fits for remedy in found.evaluation_remedies):
        yield ("to fit", "evaluate smaller images, in windows or by --set split=ROWS,COLUMNS")


def _remedy(remedy: Remedy) -> str:
    settings = " ".join(f"--set {shlex.quote(setting)}" for setting in remedy.settings)
    return f"{settings}: peak {bytes_text(remedy.peak_bytes)}"


def time_rows(found: Requirements) -> Iterator[Row]:
    """Yields FLOPs, and the times that were measured and what they come to."""
    batch = found.experiment.batch_size
    if found.flops:
        yield (
            "FLOPs",
            f"{amount(found.flops)} a step, {amount(found.flops / batch)} an image",
        )
    compiling = f"{found.training.seconds:.0f} s for the training step"
    if found.evaluation is not None:
        compiling += f", {found.evaluation.seconds:.0f} s for an evaluation"
    yield ("compiling", compiling)
    if (step := found.step_time) is not None:
        speed = f"{step.seconds:.3g} s, {batch / step.seconds:.3g} images a second"
        if step.whole is None:
            speed += " without reading data"
        else:
            speed += (
                f"; {step.device:.3g} s with data at hand; "
                f"waiting for data {step.waiting or 0:.0%}"
            )
        yield ("a step", f"{speed} ({step.steps} steps timed)")
    if (times := found.evaluation_time) is not None and found.images is not None:
        yield (
            "an evaluation",
            f"{duration(times.image_seconds * found.images.count)}, {found.images.count:,} "
            f"images; {found.evaluations:,} of them in the run",
        )
    if (hours := found.hours) is not None:
        left_out = " without evaluations" if found.evaluation_time is None else ""
        left_out += ", or less: it has early stopping" if found.experiment.stop else ""
        yield ("whole run", f"{duration(hours * HOUR)} ({hours:.3g} hours){left_out}")


def _cost_rows(found: Requirements, price: float | None) -> Iterator[Row]:
    cost = None if price is None else found.price_of_run(price)
    if cost is not None:
        count = cluster.device_count()
        devices = "1 device" if count == 1 else f"{count} devices"
        yield ("cost", f"{cost:,.2f}: {devices} at {price:g} an hour each")


def remarks(found: Requirements) -> Iterator[str]:
    """Yields what the reader must know of the numbers."""
    if found.without_data:
        yield f"The data were not read: {found.without_data}"
    yield from (f"error: {problem}" for problem in found.problems)


def bytes_text(number: float) -> str:
    """Returns a number of bytes with a unit.

    >>> bytes_text(1536 * 2**20), bytes_text(20 * 2**20), bytes_text(300)
    ('1.50 GiB', '20.0 MiB', '0.3 KiB')
    """
    if math.isinf(number):
        return "more than the device has"
    for power, unit, digits in ((30, "GiB", 2), (20, "MiB", 1)):
        if number >= 2**power:
            return f"{number / 2**power:,.{digits}f} {unit}"
    return f"{number / 2**10:.1f} KiB"


def _exactly(number: float) -> str:
    """Returns bytes with enough digits to tell what fits from what does not."""
    return bytes_text(number) if math.isinf(number) else f"{number / 2**20:,.1f} MiB"


def amount(flops: float) -> str:
    """Returns a number of FLOPs with a unit.

    >>> amount(1.5e12), amount(3e9), amount(20)
    ('1.50 TFLOP', '3.00 GFLOP', '0.00 MFLOP')
    """
    for power, unit in ((15, "PFLOP"), (12, "TFLOP"), (9, "GFLOP")):
        if flops >= 10**power:
            return f"{flops / 10**power:.2f} {unit}"
    return f"{flops / 10**6:.2f} MFLOP"


def duration(seconds: float) -> str:
    """Returns a time in two units at most.

    >>> duration(3.2), duration(600), duration(7_500), duration(200_000)
    ('3.2 s', '10 min', '2 h 5 min', '2 d 8 h')
    """
    for unit, word, less, small in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min")):
        if seconds >= unit:
            whole, rest = divmod(round(seconds / less), unit // less)
            return f"{whole} {word} {rest} {small}"
    return f"{seconds / MINUTE:.0f} min" if seconds >= 100 else f"{seconds:.2g} s"


def _aligned(rows: Sequence[Row]) -> Iterator[str]:
    """Returns lines of a table: the first column is aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (cell.rjust(n) for cell, n in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *cells])


def _folded(rows: Sequence[Row]) -> Iterator[str]:
    """Returns a line for each (name, text), the texts one below the other."""
    width = max(len(name) for name, _ in rows)
    return (f"{name.ljust(width)}  {text}" for name, text in rows)


def plan_record(found: Requirements, *, price: float | None = None) -> dict[str, Any]:
    """Returns the plan as JSON holds it; bytes are of each device, seconds are of a step."""
    experiment, limit, largest = found.experiment, found.limit, found.largest
    return {
        "name": experiment.name,
        "devices": cluster.describe_devices(),
        "batch_size": experiment.batch_size,
        "accumulate": experiment.accumulate,
        "split": list(experiment.split),
        "steps": experiment.steps,
        "parameters": found.step.plan.parameters,
        "state_bytes": found.step.state,
        "training": {**found.training.record(), "peak_bytes": found.training_peak},
        "evaluation": found.evaluation
        and {**found.evaluation.record(), "peak_bytes": found.evaluation_peak},
        "flops": found.flops,
        "limit": {"bytes": limit.bytes, "source": limit.source, "process": limit.process},
        "fits": found.fits,
        "largest_batch": largest
        and {
            "batch_size": found.largest_batch,
            "at_once_on_each_device": largest.size,
            "is_bound": largest.size == MOST,
            "peaks": {str(n): _finite(peak) for n, peak in largest.peaks.items()},
        },
        "remedies": [*map(_remedy_record, found.remedies)],
        "evaluation_remedies": [*map(_remedy_record, found.evaluation_remedies)],
        "step_time": found.step_time and found.step_time._asdict(),
        "evaluation_time": found.evaluation_time and found.evaluation_time._asdict(),
        "evaluations": found.evaluations,
        "hours": found.hours,
        "cost": None if price is None else found.price_of_run(price),
        "without_data": found.without_data,
        "problems": found.problems,
    }


def _remedy_record(remedy: Remedy) -> dict[str, Any]:
    return {
        "settings": list(remedy.settings),
        "peak_bytes": _finite(remedy.peak_bytes),
        "fits": remedy.fits,
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def list_text(plans: Sequence[tuple[Requirements, int]], *, price: float | None = None) -> str:
    """Returns a table of plans, each with its number of seeds, and what all of them take."""
    head = ("", "seeds", "parameters", "peak", "largest batch", "hours")
    rows: list[Row] = [(*head, "cost") if price is not None else head]
    total, least = 0.0, ""
    for found, seeds in plans:
        hours = None if found.hours is None else found.hours * seeds
        total += hours or 0.0
        least = "at least " if hours is None else least  # Its step was not timed.
        row = (
            found.experiment.name,
            str(seeds),
            f"{found.step.plan.parameters:,}",
            bytes_text(found.peak) + ("" if found.fits is not False else ", too much"),
            "–" if found.largest_batch is None else f"{found.largest_batch:,}",
            "–" if hours is None else f"{hours:.3g}",
        )
        rows.append((*row, _list_cost(hours, price)) if price is not None else row)
    last = ("all runs, one after another", "", "", "", "", f"{least}{total:.3g}")
    cost = f"{least}{_list_cost(total, price)}"
    rows.append((*last, cost) if price is not None else last)
    return "\n".join(_aligned(rows))


def _list_cost(hours: float | None, price: float | None) -> str:
    if hours is None or price is None:
        return "–"
    return f"{hours * price * cluster.device_count():,.2f}"

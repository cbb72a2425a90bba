"""What a run needs: memory of each device, FLOPs, time, and the batch that fits."""

import dataclasses

import jax

from segjax.errors import RunError, is_out_of_memory
from segjax.experiment import Experiment
from segjax.parallel.cluster import device_count, is_alone, is_cpu, process_share
from segjax.planning.checked import checked
from segjax.planning.cost import Cost
from segjax.planning.evaluating import (
    EvaluationTime,
    Images,
    evaluation_cost,
    evaluation_images,
    evaluation_time,
)
from segjax.planning.limit import Limit, memory_limit, of_processes
from segjax.planning.probe import StepTime, step_time
from segjax.planning.remedies import (
    Remedy,
    accumulation,
    of_evaluation,
    of_network,
    of_split,
)
from segjax.planning.search import Largest, largest_that_fits
from segjax.planning.training import TrainingStep

HOUR = 3600.0


@dataclasses.dataclass
class Requirements:
    """What a run needs. Parts that are None are not known.

    Attributes:
      step: the training step, with the bytes of each part of its state.
      training: cost of the step on each device.
      flops: of a step over all devices, as the network is written.
      limit: the memory of a device.
      without_data: why the data were not read; "" where they were.
      images: of the evaluation data.
      evaluation: cost of predicting a batch on each device.
      largest: how many examples a device, or a group that shares images, can take at once.
      remedies: what would make a batch fit that does not.
      evaluation_remedies: what would make an evaluation fit that does not.
      step_time, evaluation_time: measured on the devices of this machine.
      problems: what went wrong while the plan was made, a line each.
    """

    step: TrainingStep
    training: Cost
    flops: float
    limit: Limit
    without_data: str = ""
    images: Images | None = None
    evaluation: Cost | None = None
    largest: Largest | None = None
    remedies: list[Remedy] = dataclasses.field(default_factory=list)
    evaluation_remedies: list[Remedy] = dataclasses.field(default_factory=list)
    step_time: StepTime | None = None
    evaluation_time: EvaluationTime | None = None
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def experiment(self) -> Experiment:
        """The experiment that is planned."""
        return self.step.plan.experiment

    @property
    def training_peak(self) -> float:
        """The most bytes of a device while training, as XLA plans it."""
        return self.step.peak_of(self.training, self.step.share)

    @property
    def evaluation_peak(self) -> float | None:
        """The same while evaluating: the state of training stays on the device."""
        if self.evaluation is None:
            return None
        held = self.step.held_bytes(self.training) + self.step.beside_bytes(self.step.share)
        return held + self.evaluation.peak_bytes

    @property
    def evaluation_fits(self) -> bool | None:
        """Whether an evaluation fits beside the state of training; None if not known."""
        known = [peak for peak in (self.evaluation_peak, self.measured_peaks[1]) if peak]
        return max(known) <= self.limit.bytes if known and self.limit.bytes else None

    @property
    def unplanned(self) -> float:
        """Bytes that single operations of a step took beside XLA's plan, where measured."""
        measured = self.step_time and self.step_time.peak
        return max(measured - self.training.peak_bytes, 0.0) if measured else 0.0

    @property
    def measured_peaks(self) -> tuple[float | None, float | None]:
        """The most bytes a device held in training and evaluation; None if not measured.

        What is held beside the arrays of a step is added as for the planned ones.
        """
        training = evaluation = None
        if self.step_time is not None and self.step_time.peak is not None:
            beside = self.training_peak - self.training.peak_bytes
            training = self.step_time.peak + beside
        if self.evaluation_time is not None and self.evaluation_time.peak is not None:
            beside = self.step.beside_bytes(self.step.share)
            evaluation = self.evaluation_time.peak + beside
        return training, evaluation

    @property
    def peak(self) -> float:
        """The most bytes of a device during the run, planned or measured."""
        known = (self.training_peak, self.evaluation_peak, *self.measured_peaks)
        return max(bytes_ for bytes_ in known if bytes_ is not None)

    @property
    def fits(self) -> bool | None:
        """Whether the run fits on its devices; None where their memory is not known."""
        return None if self.limit.bytes is None else self.peak <= self.limit.bytes

    @property
    def largest_batch(self) -> int | None:
        """The largest `batch_size` that fits, over all devices and processes."""
        if self.largest is None:
            return None
        return self.largest.size * self.unit

    @property
    def unit(self) -> int:
        """Examples of the whole batch for each example that a device takes at once."""
        return self.experiment.accumulate * self.step.groups * process_share()[1]

    @property
    def evaluations(self) -> int:
        """How often the run evaluates all images."""
        experiment = self.experiment
        every = experiment.evaluation.every or experiment.checkpoint_every
        return -(-experiment.steps // every)

    @property
    def hours(self) -> float | None:
        """How long the run takes with its evaluations; None where no step was timed."""
        if self.step_time is None:
            return None
        seconds = self.step_time.seconds * self.experiment.steps + self.training.seconds
        if self.evaluation_time and self.images:
            once = self.evaluation_time.image_seconds * self.images.count
            compiling = self.evaluation_time.compile_seconds * self.images.sizes
            # The processes share the images.
            seconds += (once * self.evaluations) / process_share()[1] + compiling
        return seconds / HOUR

    def price_of_run(self, price: float) -> float | None:
        """Returns what the run costs at a price of one device for an hour."""
        return None if self.hours is None else self.hours * price * device_count()


def requirements(experiment: Experiment, *, memory: float | None = None) -> Requirements:
    """Returns what a run of the experiment needs on the devices of this machine.

    Nothing is written but the caches of data and compiled programs.

    Args:
      experiment: of the run.
      memory: GiB of a device to plan for; None for what the devices have.

    Raises:
      InputError: the experiment or its data are wrong.
      RunError: of several processes, this one ran out of memory while something was timed.
    """
    plan, batch, without_data = checked(experiment)
    on_host = memory is None and is_cpu()
    step = TrainingStep(plan, batch, on_host=on_host)
    training = step.cost()
    found = Requirements(step, training, step.flops(), memory_limit(gib=memory), without_data)
    if not without_data:
        found.images = evaluation_images(plan.experiment)
        found.evaluation = evaluation_cost(plan, found.images)
    _probe(found)
    if found.limit.bytes is not None:
        find_largest(found, found.limit.bytes)
        find_evaluation(found, found.limit.bytes)
    return found


def find_largest(found: Requirements, limit: float) -> None:
    """Finds the largest batch, and remedies where the experiment's own does not fit.

    Other steps need as much beside XLA's plan as the one that was measured.
    """
    step, parts, more = found.step, found.experiment.accumulate, found.unplanned
    own = step.share // parts
    planned = lambda size: found.training_peak if size == own else step.peak(size * parts)
    found.largest = largest_that_fits(
        lambda size: planned(size) + more,
        limit,
        start=own,
        fixed=step.held_bytes(found.training) + more,
    )
    if found.largest.size >= own:
        return
    if found.largest.size and (remedy := accumulation(step, limit - more, found.largest.size)):
        found.remedies.append(remedy)
    found.remedies += of_network(step, limit - more)
    if not found.largest.size or found.experiment.split != (1, 1):
        found.remedies += of_split(step, limit - more)
    found.remedies = [
        each._replace(peak_bytes=each.peak_bytes + more) for each in found.remedies
    ]


def find_evaluation(found: Requirements, limit: float) -> None:
    """Finds what makes an evaluation fit that does not, unless the state alone is too large.

    Others need as much beside XLA's plan as the one that was measured.
    """
    peak, images, cost = found.evaluation_peak, found.images, found.evaluation
    if found.evaluation_fits is not False or images is None or cost is None or peak is None:
        return
    beside = max(peak, found.measured_peaks[1] or 0) - cost.peak_bytes
    if beside < limit:
        tried = of_evaluation(found.step.plan, images, limit, beside=beside)
        found.evaluation_remedies = list(tried)


def _probe(found: Requirements) -> None:
    """Times a step and an evaluation, if this machine's devices can hold them.

    Raises:
      RunError: this one of several processes has too little memory. The others wait for its
        share of the step, so it must end.
    """
    here = memory_limit().bytes
    if here is not None and found.training_peak > here:
        found.problems.append(
            "The step was not timed, since it does not fit on the devices of this machine: set "
            "a batch_size or accumulate that fits, and plan again."
        )
        return
    plan, with_data = found.step.plan, not found.without_data
    try:
        found.step_time, state = step_time(found.step, with_loader=with_data)
        if with_data and not _has_room_for_evaluation(found, here):
            found.problems.append(
                "The evaluation was not timed, since it does not fit on the devices of this "
                "machine."
            )
        elif with_data:
            found.evaluation_time = evaluation_time(plan, jax.device_get(state.variables))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        found.problems.append(_out_of_memory(error, is_step=found.step_time is None))
        if not is_alone():
            raise RunError(found.problems[-1]) from error


def _has_room_for_evaluation(found: Requirements, here: float | None) -> bool:
    """Returns whether no process would run out of memory; all of them must call this."""
    peak = of_processes(max, found.evaluation_peak or 0)
    return here is None or peak <= here


def _out_of_memory(error: Exception, *, is_step: bool) -> str:
    what, field = ("a step", "") if is_step else ("the evaluation", "evaluation.")
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return (
        f"The devices ran out of memory when {what} was timed ({reason}): end other programs "
        f"on them, or lower {field}batch_size."
    )

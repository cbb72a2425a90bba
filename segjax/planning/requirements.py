"""What a run needs: memory of each device, FLOPs, time, and the batch that fits."""

import dataclasses

import jax

from segjax.experiment import Experiment
from segjax.parallel.cluster import device_count, is_cpu, process_share
from segjax.planning.checked import checked
from segjax.planning.cost import Cost
from segjax.planning.evaluating import (
    EvaluationTime,
    Images,
    evaluation_cost,
    evaluation_images,
    evaluation_time,
)
from segjax.planning.limit import Limit, memory_limit
from segjax.planning.probe import StepTime, step_time
from segjax.planning.remedies import Remedy, accumulation, of_network, of_split
from segjax.planning.search import Largest, largest_that_fits
from segjax.planning.training import TrainingStep, is_out_of_memory

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
      largest: how many examples fit on a device, or on a group that shares images.
      remedies: what would make a batch fit that does not.
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
    step_time: StepTime | None = None
    evaluation_time: EvaluationTime | None = None
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def experiment(self) -> Experiment:
        """The experiment that is planned."""
        return self.step.plan.experiment

    @property
    def training_peak(self) -> float:
        """The most bytes of a device while training."""
        return self.step.peak_of(self.training, self.step.share)

    @property
    def evaluation_peak(self) -> float | None:
        """The most bytes of a device while evaluating: the state of training stays there."""
        if self.evaluation is None:
            return None
        held = self.step.held_bytes(self.training) + self.step.beside_bytes(self.step.share)
        return held + self.evaluation.peak_bytes

    @property
    def peak(self) -> float:
        """The most bytes of a device during the run."""
        return max(self.training_peak, self.evaluation_peak or 0)

    @property
    def fits(self) -> bool | None:
        """Whether the run fits on its devices; None where their memory is not known."""
        return None if self.limit.bytes is None else self.peak <= self.limit.bytes

    @property
    def largest_batch(self) -> int | None:
        """The largest `batch_size` that fits, over all devices and processes."""
        if self.largest is None:
            return None
        return self.largest.size * self.step.groups * process_share()[1]

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
    """
    plan, batch, without_data = checked(experiment)
    on_host = memory is None and is_cpu()
    step = TrainingStep(plan, batch, on_host=on_host)
    training = step.cost()
    found = Requirements(step, training, step.flops(), memory_limit(gib=memory), without_data)
    if not without_data:
        found.images = evaluation_images(plan.experiment)
        found.evaluation = evaluation_cost(plan, found.images)
    if found.limit.bytes is not None:
        _search(found, found.limit.bytes)
    _probe(found)
    return found


def _search(found: Requirements, limit: float) -> None:
    """Finds the largest batch, and remedies where the experiment's own does not fit."""
    step, own = found.step, found.step.share
    peak = lambda share: found.training_peak if share == own else step.peak(share)
    fixed = step.held_bytes(found.training)
    found.largest = largest_that_fits(peak, limit, start=own, fixed=fixed)
    if found.largest.size >= own:
        return
    if found.largest.size and (remedy := accumulation(step, limit, found.largest.size)):
        found.remedies.append(remedy)
    found.remedies += of_network(step, limit)
    if not found.largest.size or found.experiment.split != (1, 1):
        found.remedies += of_split(step, limit)


def _probe(found: Requirements) -> None:
    """Times a step and an evaluation, if this machine's devices can hold them."""
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
        if with_data:
            found.evaluation_time = evaluation_time(plan, jax.device_get(state.variables))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        what = "a step" if found.step_time is None else "the evaluation"
        found.problems.append(
            f"The devices ran out of memory when {what} was timed "
            f"({str(error).splitlines()[0]}): end other programs on them, or lower "
            f"{'batch_size' if found.step_time is None else 'evaluation.batch_size'}."
        )

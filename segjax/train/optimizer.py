"""Optimizers and learning-rate schedules as printable descriptions that build optax's own.

    optimizer=SGD(Poly(0.007), weight_decay=1e-4, multipliers=(("backbone/", 0.1),))

A multiplier belongs to a regular expression that is searched for in the parameter's path, such
as `backbone/layer4_0/conv1/kernel`; the first that is found counts, the others are 1.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import optax

from segjax.errors import InputError
from segjax.train.ranges import below_one, check, not_negative, positive


class Schedule(Protocol):
    """A learning rate by step."""

    def build(self, steps: int) -> Callable:
        """Returns the optax schedule of a run of so many steps."""
        ...


@dataclasses.dataclass(frozen=True)
class _Warmed:
    """A schedule whose first `warmup_steps` rise linearly from `warmup_factor` · rate."""

    rate: float
    warmup_steps: int = dataclasses.field(default=0, kw_only=True)
    warmup_factor: float = dataclasses.field(default=1e-3, kw_only=True)

    def __post_init__(self) -> None:
        check(self, "positive", positive, "rate")
        check(self, "at least 0", not_negative, "warmup_factor")

    def after_warmup(self, steps: int) -> Callable:
        """Returns the schedule of the `steps` that follow the warm-up."""
        raise NotImplementedError

    def build(self, steps: int) -> Callable:
        """Returns the optax schedule of a run of so many steps, warm-up included."""
        if not 0 <= self.warmup_steps < steps:
            raise InputError(
                f"optimizer.schedule.warmup_steps={self.warmup_steps} must be at least 0 and "
                f"below steps={steps}: choose warmup_steps below steps."
            )
        rest = self.after_warmup(steps - self.warmup_steps)
        if not self.warmup_steps:
            return rest
        first = optax.linear_schedule(
            self.rate * self.warmup_factor, self.rate, self.warmup_steps
        )
        return optax.join_schedules([first, rest], [self.warmup_steps])


@dataclasses.dataclass(frozen=True)
class Poly(_Warmed):
    """rate · (1 − step / steps)^power, down to `end`: DeepLab's (Liu et al. 2015, ParseNet)."""

    power: float = 0.9
    end: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "at least 0", not_negative, "power", "end")

    def after_warmup(self, steps: int) -> Callable:
        """Returns the polynomial from `rate` to `end`."""
        return optax.polynomial_schedule(self.rate, self.end, self.power, steps)


@dataclasses.dataclass(frozen=True)
class Constant(_Warmed):
    """One rate throughout."""

    def after_warmup(self, steps: int) -> Callable:
        """Returns the constant."""
        return optax.constant_schedule(self.rate)


@dataclasses.dataclass(frozen=True)
class Cosine(_Warmed):
    """Half a cosine from rate to rate · `end_fraction` (Loshchilov and Hutter, 2017)."""

    end_fraction: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "0 to 1", lambda value: 0 <= value <= 1, "end_fraction")

    def after_warmup(self, steps: int) -> Callable:
        """Returns the half cosine."""
        return optax.cosine_decay_schedule(self.rate, steps, self.end_fraction)


@dataclasses.dataclass(frozen=True)
class Staircase(_Warmed):
    """The rate times `factor` at each of `boundaries`, steps counted after the warm-up."""

    boundaries: tuple[int, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "positive", positive, "factor")
        ascending = list(self.boundaries) == sorted({*self.boundaries})
        if not ascending or min(self.boundaries, default=0) < 0:
            raise InputError(
                f"Staircase: boundaries={self.boundaries} must be steps of at least 0, in "
                "ascending order, each given once."
            )

    def after_warmup(self, steps: int) -> Callable:
        """Returns the staircase."""
        drops = dict.fromkeys(self.boundaries, self.factor)
        return optax.piecewise_constant_schedule(self.rate, drops)


@dataclasses.dataclass(frozen=True)
class Exponential(_Warmed):
    """rate · factor^(step / every), steps counted after the warm-up."""

    factor: float = 0.995
    every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "positive", positive, "factor")
        check(self, "at least 1 step", lambda value: value >= 1, "every")

    def after_warmup(self, steps: int) -> Callable:
        """Returns the falling exponential."""
        return optax.exponential_decay(self.rate, self.every, self.factor)


Patterns = tuple[tuple[str, float], ...]
NO_DECAY = (r"/bias$", r"bn\d*/", r"norm", r"downsample_bn/")
"""Paths that a caller may exclude from weight decay: biases and normalisation."""


@dataclasses.dataclass(frozen=True)
class SGD:
    """Gradient descent with momentum; L2 decay is added to the gradient, as torch does.

    Attributes:
      schedule: the learning rate.
      momentum: 0.9 in DeepLab, 0.99 in FCN and U-Net.
      weight_decay: factor of the parameters in the gradient.
      nesterov: look ahead by the momentum.
      decay_exclude: patterns of paths that are not decayed; none in the papers' recipes.
      multipliers: (pattern, factor of the learning rate).
      clip_norm: largest norm of the whole gradient, or None.
    """

    schedule: Schedule
    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False
    decay_exclude: tuple[str, ...] = ()
    multipliers: Patterns = ()
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        check(self, "at least 0 and below 1", below_one, "momentum")
        _check_common(self)

    def build(self, steps: int, params: Mapping[str, Any]) -> optax.GradientTransformation:
        """Returns the optax transformation.

        Raises:
          InputError: a pattern fits no parameter.
        """
        return optax.chain(
            _clip(self.clip_norm),
            _decay(self.weight_decay, self.decay_exclude, params),
            optax.trace(self.momentum, self.nesterov) if self.momentum else optax.identity(),
            optax.scale_by_learning_rate(self.schedule.build(steps)),
            _multiply(self.multipliers, params),
        )


@dataclasses.dataclass(frozen=True)
class RMSProp:
    """The gradient over the root of its own mean square (Tieleman and Hinton, 2012).

    As in Lasagne and TensorFlow `eps` stands under the root (PyTorch adds it to the root).
    L2 decay is added to the gradient.

    Attributes:
      schedule: the learning rate.
      decay: of the running mean of the squares.
      eps: added to that mean.
      weight_decay: factor of the parameters in the gradient.
      decay_exclude: patterns of paths that are not decayed.
      multipliers: (pattern, factor of the learning rate).
      clip_norm: largest norm of the whole gradient, or None.
    """

    schedule: Schedule
    decay: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0
    decay_exclude: tuple[str, ...] = ()
    multipliers: Patterns = ()
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        check(self, "at least 0 and below 1", below_one, "decay")
        check(self, "positive", positive, "eps")
        _check_common(self)

    def build(self, steps: int, params: Mapping[str, Any]) -> optax.GradientTransformation:
        """Returns the optax transformation.

        Raises:
          InputError: a pattern fits no parameter.
        """
        return optax.chain(
            _clip(self.clip_norm),
            _decay(self.weight_decay, self.decay_exclude, params),
            optax.scale_by_rms(self.decay, self.eps, eps_in_sqrt=True),
            optax.scale_by_learning_rate(self.schedule.build(steps)),
            _multiply(self.multipliers, params),
        )


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Attributes:
      schedule: the learning rate.
      weight_decay: times the learning rate, subtracted from the parameters.
      decay_exclude: patterns of paths that are not decayed.
      b1, b2, eps: Adam's own.
      multipliers: (pattern, factor of the learning rate).
      clip_norm: largest norm of the whole gradient, or None.
    """

    schedule: Schedule
    weight_decay: float = 1e-2
    decay_exclude: tuple[str, ...] = NO_DECAY
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    multipliers: Patterns = ()
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        check(self, "at least 0 and below 1", below_one, "b1", "b2")
        check(self, "positive", positive, "eps")
        _check_common(self)

    def build(self, steps: int, params: Mapping[str, Any]) -> optax.GradientTransformation:
        """Returns the optax transformation.

        Raises:
          InputError: a pattern fits no parameter, be it a multiplier's or one of your own.
        """
        # The default patterns serve networks without biases or norms too.
        strict = self.decay_exclude != NO_DECAY
        return optax.chain(
            _clip(self.clip_norm),
            optax.scale_by_adam(self.b1, self.b2, self.eps),
            _decay(self.weight_decay, self.decay_exclude, params, strict=strict),
            optax.scale_by_learning_rate(self.schedule.build(steps)),
            _multiply(self.multipliers, params),
        )


def paths(params: Mapping[str, Any]) -> Any:
    """Returns `params` with each leaf replaced by its path, `backbone/conv1/kernel`."""
    named = lambda keys, _: "/".join(str(key.key) for key in keys)
    return jax.tree_util.tree_map_with_path(named, params)


def _check_common(optimizer: Any) -> None:
    """Raises InputError for what every optimizer has: decay, clipping and patterns."""
    name = type(optimizer).__name__
    check(optimizer, "at least 0", not_negative, "weight_decay")
    check(optimizer, "positive, or None", positive, "clip_norm")
    factors = [pair for pair in optimizer.multipliers if len(pair) == 2]
    for pattern in (*optimizer.decay_exclude, *(pattern for pattern, _ in factors)):
        try:
            re.compile(pattern)
        except re.error as error:
            raise InputError(
                f"{name}: the pattern {pattern!r} is not a regular expression ({error})."
            ) from error
    for pattern, factor in factors:
        if isinstance(factor, (int, float)) and not not_negative(factor):
            raise InputError(
                f"{name}: multipliers has {factor} for {pattern!r}; it must be at least 0."
            )


def _clip(norm: float | None) -> optax.GradientTransformation:
    return optax.clip_by_global_norm(norm) if norm else optax.identity()


def _decay(
    rate: float, exclude: tuple[str, ...], params: Mapping[str, Any], *, strict: bool = True
) -> optax.GradientTransformation:
    if not rate:
        return optax.identity()
    if strict:
        _check_patterns("decay_exclude", exclude, params)
    kept = lambda path: not any(re.search(pattern, path) for pattern in exclude)
    return optax.add_decayed_weights(rate, jax.tree.map(kept, paths(params)))


def _multiply(multipliers: Patterns, params: Mapping[str, Any]) -> optax.GradientTransformation:
    if not multipliers:
        return optax.identity()
    _check_patterns("multipliers", [pattern for pattern, _ in multipliers], params)
    factors = jax.tree.map(lambda path: _factor(path, multipliers), paths(params))
    scaled = lambda updates: jax.tree.map(lambda u, f: u * f, updates, factors)
    return optax.stateless(lambda updates, _: scaled(updates))


def _factor(path: str, multipliers: Patterns) -> float:
    return next((f for pattern, f in multipliers if re.search(pattern, path)), 1.0)


def _check_patterns(field: str, patterns, params: Mapping[str, Any]) -> None:
    every = jax.tree.leaves(paths(params))
    for pattern in patterns:
        if not any(re.search(pattern, path) for path in every):
            roots = sorted({path.split("/")[0] for path in every})
            raise InputError(
                f"optimizer.{field}: {pattern!r} fits no parameter; "
                f"paths begin with {', '.join(roots)}."
            )

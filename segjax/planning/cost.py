"""Memory and FLOPs of compiled programs, as XLA plans them without a run."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from jax.stages import Lowered

from segjax.errors import RunError


class Cost(NamedTuple):
    """What a program takes on each device.

    Attributes:
      flops: of the program that XLA made, as XLA counts them.
      argument_bytes, output_bytes, temporary_bytes: what is held while it runs.
      shared_bytes: of outputs that take the place of arguments.
      seconds: of compiling.
    """

    flops: float
    argument_bytes: int
    output_bytes: int
    temporary_bytes: int
    shared_bytes: int
    seconds: float

    @property
    def peak_bytes(self) -> int:
        """The most that is held at once: arguments, outputs and temporaries.

        XLA allocates all temporaries of a program as one block, which is held while it runs.
        XLA's own `peak_memory_in_bytes` leaves that block out on a CPU.
        """
        held = self.argument_bytes + self.output_bytes + self.temporary_bytes
        return held - self.shared_bytes

    def record(self) -> dict[str, float]:
        """Returns the numbers and the peak as JSON holds them."""
        numbers = self._asdict()
        del numbers["shared_bytes"]
        return {**numbers, "peak_bytes": self.peak_bytes, "seconds": round(self.seconds, 1)}


def cost_of(program: Lowered) -> Cost:
    """Returns the cost of a program, which it compiles.

    Raises:
      RunError: the platform does not tell.
      RuntimeError: XLA cannot compile it, for want of memory say.
    """
    began = time.monotonic()
    compiled = program.compile()
    seconds = time.monotonic() - began
    if (memory := compiled.memory_analysis()) is None:
        raise RunError(
            "XLA does not tell how much memory a program takes on these devices; plan on "
            "others, such as JAX_PLATFORMS=cpu, with --memory."
        )
    return Cost(
        flops=_flops(compiled),
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        shared_bytes=memory.alias_size_in_bytes,
        seconds=seconds,
    )


def largest_cost(programs: Sequence[Lowered]) -> Cost:
    """Returns the cost of the program with the highest peak."""
    return max(map(cost_of, programs), key=lambda each: each.peak_bytes)


def _flops(program: Any) -> float:
    # Some platforms count nothing.
    return max(float((program.cost_analysis() or {}).get("flops", 0.0)), 0.0)

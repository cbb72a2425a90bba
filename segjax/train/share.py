"""Which runs of an ablation this process carries out, where several share them out."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from segjax.errors import InputError
from segjax.train.run import Run


class Share(NamedTuple):
    """One of `count` equal shares, counted from 0; `why` says what gave it."""

    index: int = 0
    count: int = 1
    why: str = ""

    def of(self, runs: Sequence[Run], *, whole_variants: bool = False) -> list[Run]:
        """Returns the runs of this share: every `count`-th of all.

        Together the shares have each run once. With `whole_variants`, all seeds of a variant
        are in one share.
        """
        units: dict[object, list[Run]] = {}
        for run in runs:
            key = run.experiment.name if whole_variants else run.workdir
            units.setdefault(key, []).append(run)
        return [run for unit in [*units.values()][self.index :: self.count] for run in unit]

    def within(self, outer: "Share") -> "Share":
        """Returns this share of another one's runs."""
        why = " and ".join(filter(None, (outer.why, self.why)))
        return Share(outer.index * self.count + self.index, outer.count * self.count, why)


def share_of(
    given: str | None, *, by_host: bool = False, environment: Mapping[str, str] = os.environ
) -> Share:
    """Returns the share of this process.

    Args:
      given: "2/8", counted from 0; None takes the index of a SLURM array's task, if there is
        one, and everything otherwise.
      by_host: each process of a cluster has its own share of that.
      environment: the process's variables.

    Raises:
      InputError: the text is not a share, the indices of the array are irregular, or the
        processes cannot work apart.
    """
    share = _array_share(environment) if given is None else _parsed(given)
    return _host_share(environment).within(share) if by_host else share


def _parsed(text: str) -> Share:
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text, flags=re.ASCII)
    if not found:
        raise InputError(f"--share {text}: write it as INDEX/COUNT, for example 0/8 to 7/8.")
    index, count = map(int, found.groups())
    if index >= count:
        raise InputError(
            f"--share {text}: shares are counted from 0; "
            + (f"use 0/{count} to {count - 1}/{count}." if count else "use 0/1 for all runs.")
        )
    return Share(index, count, f"--share {index}/{count}")


def _array_share(environment: Mapping[str, str]) -> Share:
    """Returns the share of a task of a SLURM array; everything outside of one."""
    names = ("ID", "MIN", "COUNT", "STEP")
    task, least, count, step = (environment.get(f"SLURM_ARRAY_TASK_{n}", "") for n in names)
    if not task:
        return Share()
    why = f"SLURM array task {task}"
    try:
        size = int(count)
        index, rest = divmod(int(task) - int(least), int(step or 1))
    except ValueError:
        size, index, rest = 0, 0, 0
    if rest or not 0 <= index < size:
        raise InputError(
            f"{why} has no place in an array of {count or 'unknown'} tasks from "
            f"{least or 'unknown'} on; use an array of neighbours, such as --array=0-7, or "
            "name the share with --share 2/8."
        )
    return Share(index, size, why)


def _host_share(environment: Mapping[str, str]) -> Share:
    """Returns the share of this process among those of its cluster."""
    for index, count in (
        ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ):
        if count in environment:
            found = environment.get(index, ""), environment[count]
            if not all(map(str.isdigit, found)) or int(found[0]) >= int(found[1]):
                raise InputError(
                    f"--by-host: {index}={found[0] or 'unset'} and {count}={found[1]} name no "
                    f"process; {index} must lie between 0 and {count} - 1."
                )
            return Share(int(found[0]), int(found[1]), f"process {found[0]} of {found[1]}")
    if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        raise InputError(
            "--by-host: the hosts of a TPU pod find each other by themselves, and cannot train "
            "different runs; use one TPU VM for each share, with --share."
        )
    raise InputError(
        "--by-host needs several processes: start it with srun or mpirun, or set "
        "JAX_NUM_PROCESSES and JAX_PROCESS_ID in each; or use --share."
    )

"""The devices of a run: how many there are, of what kind, and how full their memory is."""

import jax


def device_kind() -> str:
    """Returns JAX's name of the devices' kind, such as "NVIDIA H100 80GB HBM3"."""
    return jax.devices()[0].device_kind


def device_count() -> int:
    """Returns the number of devices of all processes."""
    return jax.device_count()


def fullest_memory() -> dict[str, int]:
    """Returns the bytes in use and their peak on the fullest device of this process.

    Nothing where the backend does not say it, as on a CPU.
    """
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    return {
        name: max(each[name] for each in stats)
        for name in ("bytes_in_use", "peak_bytes_in_use")
        if all(name in each for each in stats)
    }

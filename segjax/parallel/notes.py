"""Short notes that the processes of a cluster leave for each other; nobody waits for any."""

import jax


def leave_note(topic: str, text: str) -> None:
    """Leaves this process's note on a topic, in the place of its last one.

    It is sent to the coordinator of the cluster, past the devices: a collective would have to
    wait for the steps that are under way. Without a cluster nothing is done.
    """
    if (client := _client()) is not None:
        key = f"{_folder(topic)}/{jax.process_index()}"
        client.key_value_set(key, text, allow_overwrite=True)


def read_notes(topic: str) -> dict[int, str]:
    """Returns the latest note of each process that has left one, by the process's index."""
    client = _client()
    notes = [] if client is None else client.key_value_dir_get(f"{_folder(topic)}/")
    return {int(key.rpartition("/")[2]): text for key, text in notes}


def _folder(topic: str) -> str:
    return f"segjax/{topic}"


def _client():
    # JAX has no public name for it; Orbax takes it from here too.
    from jax._src import distributed

    return distributed.global_state.client

"""What `segjax.serve` does, once its arguments are parsed."""

import argparse
import os
import sys

from segjax.data.cache import cache_root
from segjax.errors import InputError
from segjax.page.limits import Limits
from segjax.page.runs import load_runs
from segjax.page.server import PageServer
from segjax.page.service import Service
from segjax.parallel import cluster
from segjax.parallel.programs import keep_programs
from segjax.predictor_options import (
    asked_side,
    asked_sources,
    asked_way,
)


def serve_page(arguments: argparse.Namespace) -> None:
    """Serves the page until Ctrl-C.

    Raises:
      InputError: an argument is wrong, or the address cannot be had.
    """
    cluster.tune_cpu(keeps_memory=False)  # Requests have threads of their own.
    keep_programs(cache_root)
    limits = _limits(arguments)
    sources = asked_sources(arguments)
    runs = [(source, asked_way(source.experiment(), arguments)) for source in sources]
    with _bound(arguments.host, arguments.port) as server:
        cluster.describe_devices()
        service = Service(load_runs(runs), limits)
        _listen(server)
        for run in service.runs:
            print(f"{run.name}: {run.weights}, {len(run.class_names)} classes")
        if not server.is_local:
            print(
                f"warning: --host {arguments.host} lets other machines in: anyone who can "
                f"reach port {server.port} can send images, without a password or encryption.",
                file=sys.stderr,
            )
        print(f"Open {server.url} (Ctrl-C stops the server)", flush=True)
        try:
            server.serve(service)
        except KeyboardInterrupt:
            _end(service)


def _limits(arguments: argparse.Namespace) -> Limits:
    """Returns the limits that the options name.

    Raises:
      InputError: one of them, or the port, is out of range.
    """
    ranges = {
        "max_upload": (0.001, 100_000),
        "max_megapixels": (0.001, 100_000),
    }
    for name, (smallest, largest) in ranges.items():
        value = getattr(arguments, name)
        if not smallest <= value <= largest:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} {value:g} must be {smallest} to {largest}.")
    if not 0 <= arguments.port <= 65535:
        raise InputError(f"--port {arguments.port} must be 0 to 65535; 0 takes any free one.")
    return Limits(
        upload=round(arguments.max_upload * 2**20),
        pixels=round(arguments.max_megapixels * 1e6),
        side=asked_side(arguments),
    )


def _bound(host: str, port: int) -> PageServer:
    """Returns a server that has its address, before runs are loaded for it."""
    try:
        return PageServer(host, port)
    except (OSError, UnicodeError) as error:
        raise _no_address(host, port, error) from error


def _listen(server: PageServer) -> None:
    try:
        server.server_activate()
    except OSError as error:
        raise _no_address(server.host, server.port, error) from error


def _no_address(host: str, port: int, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(
        f"--host {host} --port {port} cannot be had ({reason}): take another --port (0: any "
        "free one) or an address of this machine."
    )


def _end(service: Service) -> None:
    """Says that it is over; a prediction that cannot be stopped gets a moment to end."""
    print("\nStopped.", flush=True)
    if not service.idle(seconds=2):
        # Compiled code does not hear of the end, and would be torn from under its feet.
        sys.stderr.flush()
        os._exit(0)

"""`python -m segjax.serve RUN [RUN2 …]`: a local page to try a trained network, or several.

RUN is the folder of a run; or an experiment file, with `--weights FILE_OR_NAME` for weights
that need no training here. The page shows what the networks make of an image: masks, overlays,
areas, a blurred background, and where several networks differ. Only this machine can reach it
unless `--host` says otherwise. Its masks are those of `segjax.predict` with the same options.
Images longer than `--side` pixels are made smaller first, as `segjax.predict --side` does.
Images are never written to the disk; the last few are held in memory.
"""

import argparse
import sys
from collections.abc import Sequence

from segjax.console import program
from segjax.errors import run_command
from segjax.network_arguments import add_source, add_ways
from segjax.page.limits import Limits
from segjax.restart import restart_as_needed


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    if arguments is None:
        restart_as_needed()
    return run_command(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    default = Limits()
    parser = argparse.ArgumentParser(
        prog=program("serve"),
        description="Serve a local page that shows the masks that trained networks predict.",
        epilog="Example: python -m segjax.serve runs/quickstart",
    )
    add_source(parser, several=True)
    parser.add_argument(
        "--host", default="127.0.0.1", help="default 127.0.0.1: only this machine"
    )
    parser.add_argument("--port", type=int, default=8000, help="default 8000; 0: any free port")
    add_ways(parser, side=default.side)
    parser.add_argument(
        "--max-upload",
        type=float,
        default=default.upload / 2**20,
        metavar="MIB",
        help="refuse larger files (default 20)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=default.pixels / 1e6,
        metavar="N",
        help="refuse larger images (default 50)",
    )
    return parser


def _run(arguments: argparse.Namespace) -> None:
    # Imported only now: --help should appear at once, without loading JAX.
    from segjax.served_page import serve_page

    serve_page(arguments)


if __name__ == "__main__":
    sys.exit(main())

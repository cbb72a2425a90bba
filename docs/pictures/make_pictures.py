"""Draws the pictures of the tutorials: figures of `segjax.explain`, nothing else.

python docs/pictures/make_pictures.py
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
COMMANDS = {
    "rates.png": ["rates", "1", "2", "5", "--versus", "2 2 2"],
    "transposed.png": [
        *("conv", "--transposed", "--input", "2 3; 1 3"),
        *("--kernel-values", "0 1 1; 0 1 0; 1 0 1"),
    ],
    "upsampling.png": ["upsampling"],
}


def main() -> None:
    for name, words in COMMANDS.items():
        command = [sys.executable, "-m", "segjax.explain", *words, "--out", str(HERE / name)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

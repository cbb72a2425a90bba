"""The steps of a page: what is run of its blocks, and how their output is compared.

`runpy.run_path` reads this file.
"""

import pathlib
import re
import shlex

COMMAND = re.compile(r"^(?:python3? -m segjax[. ]|segjax[- ])(?P<name>\w+)\b(?P<rest>.*)$")
LAUNCH = re.compile(
    r"segjax[-. ]launch\s+(?P<file>\S+\.py)\b(?P<rest>.*?)(?=\s+#|\s*$)", re.MULTILINE
)

NUMBER = r"\b\d+(,\d+)*(\\\.\d+)?(\\s\+%)?"
"""A number in an escaped line of output: 7, 28,550, 0.9056 or 97.85 %."""
ANY_NUMBER = r"(\d[\d,]*(\.\d+)?(\s*%)?|–)"


def commands(text: str) -> list[str]:
    """Returns the commands of a shell block: one a line, without comments, lines joined."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return [c for line in joined.splitlines() if (c := _without_comment(line)).strip()]


def segjax_arguments(command: str) -> tuple[str, list[str]] | None:
    """Returns the name and arguments of a command of segjax; None for any other command."""
    found = COMMAND.match(command.strip())
    if found is None:
        return None
    words = shlex.split(re.split(r"\s(?:[|&>]|2>)", found["rest"])[0])
    return found["name"], words


def step(block, data: pathlib.Path | None, scenes: dict[str, str]) -> dict:
    """Returns what `run_page.py` does for a block of Python or of a shell."""
    text = block.text
    if block.options.get("needs"):
        text = text.replace("/data/", f"{data}/")
    settings = shlex.split(block.options.get("set", ""))
    change = smaller_python if block.language == "python" else smaller_bash
    return {
        "language": block.language,
        "text": change(text, settings, block.place) if settings else text,
        "page": block.page,
        "line": block.line,
        "exit": int(block.options.get("exit", 0)),
        "save": block.options.get("save"),
        "scenes": [scenes[name] for name in block.names("fixture")],
    }


def smaller_bash(text: str, settings: list[str], place: str) -> str:
    """Returns a shell block whose `segjax.launch` takes these settings too.

    The run keeps its folder, `runs/<name>`, so that the page's later commands find it.
    """
    options = " ".join(f"--set {shlex.quote(setting)}" for setting in settings)

    def smaller(found: re.Match[str]) -> str:
        own = re.search(r" --(workdir|set) ", found["rest"])
        file = pathlib.Path(found["file"])
        # What convert writes is always experiment.py, and bears the name of its folder.
        name = file.parent.name if file.name == "experiment.py" else file.stem
        folder = "" if own else f" --workdir runs/{name}"
        return f"{found[0]}{folder} {options}"

    joined = re.sub(r"\s*\\\n\s*", " ", text)
    changed, times = LAUNCH.subn(smaller, joined)
    if not times:
        raise ValueError(
            f"{place}: `set` is for `segjax.launch`, which this block does not call."
        )
    return changed


def smaller_python(text: str, settings: list[str], place: str) -> str:
    """Returns a Python block whose keyword arguments have these values."""
    for setting in settings:
        name, _, value = setting.partition("=")
        text, times = re.subn(rf"\b{name}=[^,()\n]+", f"{name}={value}", text)
        if not times:
            raise ValueError(f"{place}: this block has no keyword argument {name}= to set.")
    return text


def missing_line(expected: str, output: str, *, numbers: bool = False) -> str | None:
    """Returns the first line of `expected` that `output` lacks; None if it has all, in order.

    `…` stands for anything: in a line, or between lines by itself. Spaces at ends do not count.
    With `numbers`, a number stands for any number or –, and spaces for one or more.
    """
    rest = [line.strip() for line in output.splitlines()]
    for line in (line.strip() for line in expected.splitlines()):
        if line in ("", "…"):
            continue
        pattern = ".*".join(map(re.escape, line.split("…")))
        if numbers:
            pattern = re.sub(r"(\\ )+", r"\\s+", pattern)
            pattern = re.sub(NUMBER, lambda _: ANY_NUMBER, pattern)
        matches = [i for i, have in enumerate(rest) if re.fullmatch(pattern, have)]
        if not matches:
            return line
        rest = rest[matches[0] + 1 :]
    return None


def _without_comment(line: str) -> str:
    """Returns a line of a shell without the comment that ends it."""
    return re.sub(r"(^|\s)#.*$", "", line).rstrip()

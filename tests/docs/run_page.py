"""Runs the steps of a page in this process, in order, in the current folder.

    python run_page.py STEPS.json RESULTS.json

Blocks of Python share one namespace; blocks of a shell are run by bash. What each printed goes
to RESULTS.json. The first block that fails ends the page; its line is printed.
"""

import contextlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import traceback


def main(source: str, target: str) -> int:
    steps, outputs, namespace = json.loads(pathlib.Path(source).read_text()), [], {}
    namespace["__name__"] = "__main__"
    for step in steps:
        for scene in step["scenes"]:
            shutil.copytree(scene, ".", dirs_exist_ok=True)
        if step["save"] is not None:
            pathlib.Path(step["save"]).write_text(step["text"], encoding="utf-8")
            outputs.append("")
            continue
        run = _python if step["language"] == "python" else _bash
        failure, output = run(step, namespace)
        outputs.append(output)
        if failure:
            print(f"{step['page']}:{step['line']}: {failure}\n{output}")
            return 1
    pathlib.Path(target).write_text(json.dumps(outputs))
    return 0


def _python(step: dict, namespace: dict) -> tuple[str, str]:
    # A traceback then names the page and its line.
    source = "\n" * (step["line"] - 1) + step["text"]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(source, step["page"], "exec"), namespace)
    except Exception:
        return "the block raised", printed.getvalue() + traceback.format_exc()
    return "", printed.getvalue()


def _bash(step: dict, _: dict) -> tuple[str, str]:
    command = ["bash", "-euo", "pipefail", "-c", step["text"]]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    failure = f"exit status {done.returncode} instead of {step['exit']}"
    return ("" if done.returncode == step["exit"] else failure), done.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Damaged files of a run: each is said in one line, and nothing whole is lost."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import optax
import pytest

from segjax import weights
from segjax.announce import LOGGER
from segjax.atomic import WriteError, write_text
from segjax.data.cache import partial_folder
from segjax.errors import InputError, RunError, run_command
from segjax.experiment import load
from segjax.train import predictions
from segjax.train.checkpoint import Checkpoints
from segjax.train.log import RunLog, read_metrics
from segjax.train.metrics_rows import read_rows
from segjax.train.run import Run
from segjax.train.step import init_state
from segjax.train.verify import verify_runs
from segjax.train.workdir import check_owner, claim, open_run, read_evaluation

SOURCE = pathlib.Path(__file__).parents[2] / "experiments" / "quickstart.py"
ROWS = [{"step": step, "loss": 1.0 / step} for step in range(1, 6)]


@pytest.fixture
def workdir(tmp_path) -> pathlib.Path:
    """A finished run's folder: every file that `--verify` looks at."""
    workdir = tmp_path / "run"
    claim(workdir, load(SOURCE), SOURCE, SOURCE.read_bytes())
    state = init_state({"params": {"w": np.ones((3, 2), np.float32)}}, optax.adam(0.1))
    state = dataclasses.replace(state, step=np.array(5, np.int32))
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(state, score={"mean_iou": 0.5})
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (workdir / "metrics.jsonl").write_text(text, encoding="utf-8")
    scores = {"step": 5, "images": 4, "mean_iou": 0.5}
    (workdir / "evaluation.json").write_text(json.dumps(scores), encoding="utf-8")
    weights.save(workdir / "model.safetensors", {"params": {"w": np.ones((3, 2))}})
    np.savez(workdir / "predictions.npz", description=np.array("name = 1"), a=np.ones(3))
    return workdir


@pytest.fixture
def said(capsys):
    level = LOGGER.level
    LOGGER.setLevel("INFO")
    yield lambda: capsys.readouterr().err.splitlines()
    LOGGER.setLevel(level)


def verified(workdir: pathlib.Path) -> tuple[list[str], str]:
    """Returns the lines of `--verify` about the files, and its error."""
    lines: list[str] = []
    try:
        run = Run(load(SOURCE), workdir, SOURCE, SOURCE.read_bytes())
        verify_runs([run], note=lines.append)
    except RunError as error:
        return lines[1:], str(error)
    return lines[1:], ""


BAD_LINES = {
    "null": b"null",
    "a number": b"17",
    "a list": b"[1, 2]",
    "binary": b"\xff\xfe\x00\x9d",
    "cut": b'{"step": 3, "lo',
    "no step": b'{"loss": 1.0}',
    "a step that is text": b'{"step": "3"}',
    "a step that is true": b'{"step": true}',
    "values in values": b'{"step": 3, "loss": {"a": 1}}',
    "very deep": b"[" * 100_000,
    "a very long number": b"1" * 5000,
    "empty": b"",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_damaged_line_of_metrics_costs_that_line_and_is_named(name, workdir, said):
    lines = (workdir / "metrics.jsonl").read_bytes().split(b"\n")
    lines[2] = BAD_LINES[name]
    (workdir / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert read_metrics(workdir) == [row for row in ROWS if row["step"] != 3]
    assert said() == [
        f"{workdir / 'metrics.jsonl'} is damaged: line 3 left out, 4 rows are whole."
    ]
    findings, error = verified(workdir)
    assert "  metrics.jsonl: DAMAGED: line 3; 4 rows are whole" in findings
    assert error.startswith("1 of 7 files are damaged")


def test_a_last_line_that_a_kill_cut_short_is_left_out_without_a_word(workdir, said):
    with (workdir / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 6, "lo')
    assert read_metrics(workdir) == ROWS and said() == []
    assert read_rows(workdir / "metrics.jsonl").torn
    findings, error = verified(workdir)
    assert "  metrics.jsonl: 5 rows; the last line was cut short, as by a kill" in findings
    assert not error


def test_a_run_that_resumes_writes_the_whole_rows_again(workdir):
    (workdir / "metrics.jsonl").write_bytes(
        b'{"step": 1}\nnull\n{"step": 2, "loss": NaN}\n{"step": 9}\n{"st'
    )
    with RunLog(workdir, first_step=2) as log:
        log.write(3, {"loss": 1.0})
    rows = read_rows(workdir / "metrics.jsonl")
    assert [row["step"] for row in rows.rows] == [1, 2, 3]
    assert not rows.damaged and not rows.torn


DESCRIPTIONS = {
    "binary": bytes(range(256)),
    "empty": b"",
    "foreign": b"Dear diary,\nnothing happened.\n",
    "null": b"null",
}


@pytest.mark.parametrize("name", [*DESCRIPTIONS, "one letter", "cut"])
def test_a_damaged_description_is_refused_in_a_line_with_the_remedy(name, workdir):
    path = workdir / "experiment.txt"
    content = path.read_bytes()
    changed = {
        "one letter": content.replace(b"steps = ", b"stept = "),
        "cut": b"\n".join(content.split(b"\n")[3:]),
    }
    path.write_bytes({**DESCRIPTIONS, **changed}[name])
    experiment = load(SOURCE)
    for use in (open_run, lambda folder: check_owner(folder, experiment)):
        with pytest.raises(InputError, match="experiment.txt is damaged: .* Delete it and run"):
            use(workdir)
    findings, error = verified(workdir)
    assert any(line.startswith("  experiment.txt: DAMAGED: ") for line in findings) and error
    # The remedy works, and is said.
    path.unlink()
    check_owner(workdir, experiment)
    claim(workdir, experiment, SOURCE, SOURCE.read_bytes())
    assert path.read_bytes() == content


def test_a_missing_description_of_a_trained_run_is_said_when_it_is_written_again(workdir, said):
    (workdir / "experiment.txt").unlink()
    with pytest.raises(InputError, match="it has no experiment.txt"):
        open_run(workdir)
    assert "  experiment.txt: DAMAGED: it is missing" in verified(workdir)[0]
    claim(workdir, load(SOURCE), SOURCE, SOURCE.read_bytes())
    (line,) = said()
    assert "no experiment.txt" in line and not verified(workdir)[1]


def test_a_description_of_an_older_segjax_has_no_checksum_and_is_read(workdir):
    path = workdir / "experiment.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert open_run(workdir).name == "quickstart"
    assert "  experiment.txt: readable, no checksum" in verified(workdir)[0]


def test_a_missing_copy_of_the_experiment_is_said_in_a_line(workdir):
    (workdir / "experiment.py").unlink()
    with pytest.raises(InputError, match="experiment.py"):
        open_run(workdir)
    assert "  experiment.py: DAMAGED: it is missing" in verified(workdir)[0]


@pytest.mark.parametrize("content", [b"{", b"null", b"17", b"\xff\xfe", b"", b"{}"])
def test_damaged_scores_are_refused_in_a_line_and_the_run_is_not_finished(content, workdir):
    (workdir / "evaluation.json").write_bytes(content)
    with pytest.raises(InputError, match="evaluation.json is damaged: .* --evaluate"):
        read_evaluation(workdir)
    assert not predictions.is_finished(workdir, load(SOURCE))
    assert any("evaluation.json: DAMAGED: " in line for line in verified(workdir)[0])


@pytest.mark.parametrize("content", [b"", b"PK", b"null"])
def test_damaged_predictions_make_the_run_be_evaluated_again(content, workdir):
    (workdir / "predictions.npz").write_bytes(content)
    assert not predictions.is_finished(workdir, load(SOURCE))
    assert any("predictions.npz: DAMAGED: " in line for line in verified(workdir)[0])


def test_verify_finds_a_flipped_bit_in_the_weights_and_changes_nothing(workdir):
    assert verified(workdir) == (
        [
            "  checkpoints/5: 5 arrays verified, mean_iou 0.5000",
            "  experiment.py: readable",
            "  experiment.txt: verified",
            "  metrics.jsonl: 5 rows",
            "  evaluation.json: step 5, 4 images",
            "  model.safetensors: 1 arrays verified",
            "  predictions.npz: readable",
        ],
        "",
    )
    path = workdir / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(content)
    listed = sorted(workdir.rglob("*"))
    findings, error = verified(workdir)
    assert any("model.safetensors: DAMAGED: " in line for line in findings)
    assert error == "1 of 7 files are damaged, see above."
    assert sorted(workdir.rglob("*")) == listed


def test_verify_takes_a_relative_path_as_users_type_it(workdir, monkeypatch):
    monkeypatch.chdir(workdir.parent)
    findings, error = verified(pathlib.Path(workdir.name))
    assert findings == verified(workdir)[0] and not error


def test_verify_of_a_run_that_never_began_is_refused(tmp_path):
    with pytest.raises(InputError, match="train the run first"):
        verified(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no run; check --workdir"):
        verified(tmp_path / "empty")


@pytest.mark.parametrize(
    "name", ["evaluation.json", "experiment.txt", "model.safetensors", "metrics.jsonl"]
)
def test_a_folder_in_the_place_of_a_file_is_one_line(name, workdir, capsys):
    (workdir / name).unlink()
    (workdir / name).mkdir()
    assert any(f"  {name}: DAMAGED: " in line for line in verified(workdir)[0])

    def write():
        if name == "metrics.jsonl":
            RunLog(workdir, first_step=1)
        write_text(workdir / name, "text")

    assert run_command(write) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{workdir / name} cannot be written: Is a directory." in line


def test_a_tensorboard_folder_that_cannot_be_made_is_one_line(workdir):
    (workdir / "tensorboard").write_text("a file", encoding="utf-8")
    with pytest.raises(RunError, match="tensorboard cannot be written: File exists. Make"):
        RunLog(workdir, first_step=1)


def test_an_error_of_writing_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(WriteError, match="a.txt cannot be written: No space left on device"):
        write_text(tmp_path / "a.txt", "text")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("number", [28, 122, 30])
def test_a_full_cache_is_one_line_whichever_library_notices(number, tmp_path):
    reason = os.strerror(number)
    for error in (
        OSError(number, reason),
        RuntimeError(f"Failed to finalize: write() failed: {reason}; writing /x"),
    ):
        with pytest.raises(InputError, match=f"{reason}.*SEGJAX_CACHE"):
            with partial_folder(tmp_path):
                raise error
    with pytest.raises(RuntimeError, match="something else"):
        with partial_folder(tmp_path):
            raise RuntimeError("something else")

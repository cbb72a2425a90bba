"""The line of progress fits every terminal, and never cuts a number."""

import io

import pytest

from segjax.train.log import Progress
from segjax.train.progress_bar import NARROWEST, ProgressBar, bar_line

OTHERS = ("[1:02:03<2:03:04]", "loss 0.5123", "123 images/s", "learning rate 0.00123")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("name", ["voc", "deeplab_v3_plus_separable_cityscapes"])
def test_the_bar_keeps_its_room_and_parts_are_whole_or_left_out(columns, name):
    line = bar_line(name, done=12345, total=30000, others=OTHERS, columns=columns)
    _, bar, tail = line.split("|")
    assert len(line) <= columns and len(bar) >= NARROWEST
    parts = (
        tail.strip().replace(", ", ",").replace("] ", "],").replace("00 [", "00,[").split(",")
    )
    assert parts == ["12345/30000", *OTHERS][: len(parts)]
    assert columns < 200 or len(parts) == 5


def test_wider_terminals_show_more_and_100_columns_show_the_loss():
    line = lambda columns: bar_line(
        "deeplab_voc", done=7, total=30000, others=OTHERS, columns=columns
    )
    assert "loss" not in line(60) and "loss 0.5123" in line(100)
    assert "images/s" in line(100) and "learning" not in line(100)
    assert "learning rate 0.00123" in line(120)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (20, "voc   0% 1/30000"),
        (10, "1/30000"),
        (7, "1/30000"),
        (5, "0%"),
        (2, "0%"),
        (1, ""),
        (0, ""),
        (-1, ""),
    ],
)
def test_where_even_the_bar_has_no_room_the_count_or_the_share_stays(columns, line):
    assert bar_line("voc", done=1, total=30000, others=OTHERS, columns=columns) == line


def test_a_terminal_shows_the_latest_values_beside_the_bar(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(ProgressBar, "monitor_interval", 0)  # A thread that outlives the test.
    progress = Progress("voc", first=0, total=4)
    progress.update(2, {"loss": 0.25, "images_per_second": 8.0})
    progress.update(4)
    progress.close()
    last = screen.getvalue().rstrip().split("\r")[-1]
    assert last.startswith("voc 100% |") and " 4/4 [" in last and "loss 0.25" in last


def test_elsewhere_the_last_step_is_a_plain_line(capsys):
    progress = Progress("voc", first=0, total=4)
    progress.update(2, {"loss": 0.5})
    progress.update(4, {"loss": 0.25, "learning_rate": 0.1})
    assert capsys.readouterr().err == "voc: step 4/4 loss 0.25, learning rate 0.1\n"

"""Every page works: its blocks run in order, as a reader would run them."""

import os
import pathlib
import runpy

import pytest

HERE = pathlib.Path(__file__).parent
blocks, steps = (runpy.run_path(str(HERE / f"{name}.py")) for name in ("blocks", "steps"))
ROOT = blocks["ROOT"]
RUN = ("bash", "python")
PAGES = {path.relative_to(ROOT).as_posix(): path for path in blocks["pages"]()}


def to_run(found: list) -> list:
    """The blocks that run here, each before the text that is its output."""
    data = os.environ.get("SEGJAX_DATA")
    kept = [b for b in found if b.language in RUN and "parse" not in b.flags]
    return [b for b in kept if data or not b.names("needs")]


def with_work() -> list[str]:
    """The pages that have something to run, with real data or without."""
    return [page for page, path in PAGES.items() if to_run(blocks["read"](path))]


def check(found: list, scene, run_steps) -> None:
    """Runs the blocks of a page and compares what they print with what the page shows."""
    data = os.environ.get("SEGJAX_DATA")
    folder = pathlib.Path(data).resolve() if data else None
    running = to_run(found)
    scenes = {name: str(scene(name)) for b in running for name in b.names("fixture")}
    printed = run_steps([steps["step"](block, folder, scenes) for block in running])
    outputs = dict(zip(map(id, running), printed, strict=True))
    last = None
    for block in found:
        if block.language in RUN:
            last = block
        elif "output" in block.flags and id(last) in outputs:
            numbers = "numbers" in block.flags
            lacks = steps["missing_line"](block.text, outputs[id(last)], numbers=numbers)
            assert lacks is None, f"{block.place}: not printed:\n{lacks}\n\n{outputs[id(last)]}"


@pytest.mark.slow
@pytest.mark.parametrize("page", with_work())
def test_the_blocks_of_a_page_run_and_print_what_it_shows(page, scene, run_steps):
    check(blocks["read"](PAGES[page]), scene, run_steps)


@pytest.fixture
def written(tmp_path):
    """The blocks of a page with this text."""

    def read(text: str) -> list:
        page = tmp_path / "docs" / "page.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding="utf-8")
        return blocks["read"](page, tmp_path)

    return read


PAGE = """
```python
number = 3
```

<!-- test: fixture=photos -->
```bash
python -c 'print("from a shell")' && ls photos/street0.jpg
```

```python
print("It was", number, "of", len(__import__("os").listdir("photos")))
```

<!-- test: output -->
```text
It was … of 4
```
"""


def test_python_keeps_its_names_through_a_page_and_shells_share_the_folder(
    written, scene, run_steps
):
    check(written(PAGE), scene, run_steps)


FILES = {
    "photos": "photos/holiday/beach.jpg",
    "my_data": "my_data/masks/019.png",
    "my_binary_data": "my_data/masks/019.png",
    "split_data": "my_split_data/images/val/003.jpg",
    "run": "runs/quickstart/report.html",
    "weights": "deeplabv3_resnet50_coco-cd0a2569.pth",
}


@pytest.mark.slow_but("photos", "my_data", "my_binary_data", "split_data")
@pytest.mark.parametrize("name", FILES)
def test_each_scene_has_what_pages_name(name, scene):
    assert (scene(name) / FILES[name]).is_file()


def test_a_file_that_the_reader_writes_is_saved_and_not_run(written, run_steps):
    text = "<!-- test: save=mine.py -->\n```python\nprint('mine')\n```\n"
    found = written(text + "```bash\npython mine.py\n```\n")
    saved, ran = run_steps([steps["step"](block, None, {}) for block in found])
    assert (saved, ran) == ("", "mine\n")


def test_output_that_a_page_no_longer_prints_is_found(written, scene, run_steps):
    with pytest.raises(AssertionError, match=r"page.md:17: not printed:\n\s*It was 4"):
        check(written(PAGE.replace("It was …", "It was 4")), scene, run_steps)


@pytest.mark.parametrize("flags", ["output", "output numbers"])
def test_of_an_output_with_numbers_only_the_numbers_may_differ(
    flags, written, scene, run_steps
):
    page = PAGE.replace("It was … of 4", "It was 1,234 of 0.5 %").replace("output", flags)
    if "numbers" in flags:
        check(written(page), scene, run_steps)
    else:
        with pytest.raises(AssertionError, match="It was 1,234"):
            check(written(page), scene, run_steps)


@pytest.mark.parametrize(
    ("line", "printed", "same"),
    [
        ("mean_iou 0.9056  accuracy 0.9720", "mean_iou 1 accuracy 0.1", True),
        ("0 disk  97.85 %  2077", "0 disk        –  9", True),
        ("450,566 parameters, …", "7 parameters, 1 cpu device", True),
        ("step 400/800", "step 13/26", True),
        ("step 400/800", "step 13", False),
        ("mean_iou 0.9", "mean_dice 0.9", False),
        ("mean_iou 0.9", "mean_iou nan", False),
        ("runs/one", "runs/two", False),
    ],
)
def test_a_number_stands_for_any_number_and_a_word_for_itself(line, printed, same):
    assert (steps["missing_line"](line, printed, numbers=True) is None) == same


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("```python\n1 / 0\n```", r"page.md:2: the block raised(.|\n)*page.md\", line 2"),
        ("```bash\nfalse\n```", "page.md:2: exit status 1 instead of 0"),
        ("<!-- test: exit=2 -->\n```bash\ntrue\n```", "exit status 0 instead of 2"),
    ],
)
def test_a_block_that_fails_is_named_by_its_line(block, says, written, scene, run_steps):
    with pytest.raises(pytest.fail.Exception, match=says):
        check(written(block), scene, run_steps)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "```\ncode\n```",
            "the language of a block is one of bash, json, python, text, not ''",
        ),
        ("```console\n$ ls\n```", "not 'console'"),
        (
            "<!-- test: fast -->\n```bash\nls\n```",
            "do not know 'fast'; they know numbers, output, parse, shown",
        ),
        (
            "<!-- test: seed=1 -->\n```bash\nls\n```",
            "do not know 'seed=1'; they know exit, fix",
        ),
        ("<!-- test: parse -->\n\nWords.", "must stand right before a block"),
        ("<!-- test: parse -->\n", "at the end stands before no block"),
        (
            "<!-- test: needs=Mars -->\n```bash\nls\n```",
            "needs=Mars is none of VOC, CamVid, ISBI",
        ),
        ("<!-- test: output -->\n```bash\nls\n```", "only a text block can be the output"),
        ("<!-- test: shown -->\n```bash\nls\n```", "only a text block can be the output"),
        ("```bash\nls\n```\n```text\na\n```", "page.md:5: say `test: output`"),
        ("<!-- test: shown output -->\n```text\na\n```", "page.md:3: say `test: output`"),
        ("<!-- test: shown numbers -->\n```text\na\n```", "how an `output` is compared"),
        ("<!-- test: output -->\n```text\na\n```", "no block that runs stands before"),
        (
            "<!-- test: parse -->\n```bash\nls\n```\n<!-- test: output -->\n```text\na\n```",
            "page.md:7: no block that runs stands before",
        ),
    ],
)
def test_a_page_that_the_tests_cannot_read_is_refused(text, says, written):
    with pytest.raises(ValueError, match=says):
        written(text)


def test_indented_code_is_found_and_text_of_a_list_is_not(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Words:\n\n    code\n\n* one\n\n    two\n\nWords.\n\n```text\n\n    kept\n```\n"
    )
    assert blocks["indented_code"](page) == [3]


@pytest.mark.parametrize(
    ("text", "smaller"),
    [
        ("python -m segjax.launch a.py", " --workdir runs/a --set steps=2"),
        ("segjax launch dir/a.py  # go", " --workdir runs/a --set steps=2  # go"),
        ("segjax-launch a.py \\\n  --table", " --table --workdir runs/a --set steps=2"),
        ("segjax launch a.py --set b=1", " --set b=1 --set steps=2"),
        ("segjax launch a.py --workdir b", " --workdir b --set steps=2"),
    ],
)
def test_a_launch_is_made_small_and_keeps_its_folder(text, smaller):
    squeezed = steps["smaller_bash"](text + "\nls\n", ["steps=2"], "here")
    assert squeezed.partition("a.py")[2] == smaller + "\nls\n"


def test_keyword_arguments_of_python_are_made_small():
    text = "Experiment(steps=1000, rates=(1, 2))\n"
    assert (
        steps["smaller_python"](text, ["steps=2"], "") == "Experiment(steps=2, rates=(1, 2))\n"
    )
    with pytest.raises(ValueError, match="no keyword argument crop= to set"):
        steps["smaller_python"](text, ["crop=2"], "here")

"""What the import contract cannot say about the source."""

import ast
import pathlib
import re
import sys

import pytest

import segjax

ROOT = pathlib.Path(segjax.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def imported(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(path: pathlib.Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def test_torch_and_tensorflow_are_nowhere_in_the_package():
    assert not [p for p in FILES if roots(p) & {"torch", "torchvision", "tensorflow", "keras"}]


def test_ops_know_no_flax():
    assert not [p for p in FILES if p.parent.name == "ops" and "flax" in roots(p)]


def users(words: set[str], *, of: str | None = None) -> set[str]:
    """The packages, or files above them, where a name or an attribute `of.word` occurs."""
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in words:
                named = of is None or getattr(node.value, "id", "") == of
            elif isinstance(node, ast.ImportFrom):
                named = node.module == of and bool({a.name for a in node.names} & words)
            else:
                named = of is None and isinstance(node, ast.Name) and node.id in words
            if named:
                found.add(path.relative_to(ROOT).parts[0])
    return found


def test_devices_are_mapped_over_in_one_package_only():
    assert users({"pmap", "shard_map", "Mesh", "make_mesh"}) == {"parallel"}


def test_one_package_alone_asks_jax_for_devices_and_processes():
    counts = {"process_count", "device_count", "local_device_count"}
    assert users({"process_index", "devices", "local_devices"} | counts, of="jax") == {
        "parallel"
    }


ROOMS = [p for p in FILES if p.name == "__init__.py" and p.parent.name != "losses"]


# The room of losses has names of its own, which descriptions print: losses/test_contract.py.
@pytest.mark.parametrize("path", ROOMS, ids=str)
def test_init_files_hold_a_docstring_and_nothing_else(path):
    (node,) = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_options_of_public_functions_are_keyword_only():
    positional = []
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                if node.args.defaults and node.name != "main":
                    positional.append(f"{path.name}:{node.name}")
    assert not positional


def opens_text(call: ast.Call) -> bool:
    """Whether a call reads or writes text: `Path.open`'s first argument is a mode, if any."""
    function = call.func
    if isinstance(function, ast.Name):
        mode = call.args[1:2]
        named = function.id == "open"
    else:
        mode = call.args[:1]
        named = isinstance(function, ast.Attribute) and function.attr == "open"
        if isinstance(function, ast.Attribute) and function.attr in ("read_text", "write_text"):
            return True
    mode = mode or [word.value for word in call.keywords if word.arg == "mode"]
    literal = mode[0].value if mode and isinstance(mode[0], ast.Constant) else None
    return named and ("b" not in literal if isinstance(literal, str) else not mode)


def test_text_is_read_and_written_in_a_named_encoding():
    calls = [
        (path.name, node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and opens_text(node)
    ]
    assert len(calls) > 5
    unnamed = [
        f"{name}:{call.lineno}"
        for name, call in calls
        if "encoding" not in {word.arg for word in call.keywords}
    ]
    assert not unnamed


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("open(p)", True),
        ("open(p, 'w')", True),
        ("open(p, mode='a')", True),
        ("p.open()", True),
        ("p.open('w', newline='')", True),
        ("p.read_text()", True),
        ("p.write_text(t)", True),
        ("open(p, 'rb')", False),
        ("p.open('wb')", False),
        ("Image.open(p)", False),
        ("tarfile.open(name)", False),
        ("write_text(p, t)", False),
    ],
)
def test_a_call_that_opens_text_is_known(code, text):
    (node,) = ast.parse(code).body
    assert opens_text(node.value) == text


def test_no_file_is_called_after_nothing():
    refused = {"utils", "common", "helpers", "base", "misc"}
    assert not [p for p in FILES if p.stem in refused]


def docstrings(tree: ast.AST) -> set[int]:
    lines = (node for node in ast.walk(tree) if isinstance(node, ast.Expr))
    return {id(line.value) for line in lines if isinstance(line.value, ast.Constant)}


def words(path: pathlib.Path) -> set[str]:
    """Every name and every text of a module's code, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped, found = docstrings(tree), set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.alias(name=word):
                found.add(word)
            case ast.arg(arg=word) | ast.keyword(arg=str(word)):
                found.add(word)
            case ast.Constant(value=str(word)) if id(node) not in skipped:
                found.add(word)
    return found


def test_training_knows_no_task():
    tasks = re.compile("softmax|sigmoid|confusion|label|class_name|palette|iou|argmax")
    users = {
        path.name: sorted(filter(tasks.search, words(path)))
        for path in FILES
        if path.parent.name == "train"
    }
    assert len(users) > 15
    assert not {name: found for name, found in users.items() if found}


def test_no_module_hides_one_of_pythons_own():
    # Python looks for modules in the folder where it is started: here, in the package's own.
    names = {path.stem if path.is_file() else path.name for path in ROOT.iterdir()}
    assert not names & sys.stdlib_module_names


DOCUMENTED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module
NOUNS = re.compile(
    "(Always|As|Bytes|Classes|Colours|Examples|Files|Ids|Images|Indices|Its|Labels|Lines|"
    "Logits|Masks|Names|Pixels|Rows|Scores|Shapes|Sides|Sums|This|Thus|Values|Weights)"
)


def leaves_the_dialect(node: DOCUMENTED) -> str:
    """Returns what is wrong with a docstring's first line, or ""."""
    summary = (ast.get_docstring(node) or "").split("\n\n")[0]
    if not summary:
        return ""
    word = summary.split()[0].strip(",:.;")
    is_verb = bool(re.fullmatch("[A-Z][a-z]+s", word)) and not NOUNS.fullmatch(word)
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    if is_function and any("property" in ast.unparse(d) for d in node.decorator_list):
        is_function = False
    if "\n" in summary or not summary.endswith((".", ":")):
        return "is not one line that ends in a full stop"
    if is_function and not is_verb:
        return "does not begin with a verb in the third person"
    if not is_function and word in ("Returns", "Gives", "Yields", "Raises", "Writes"):
        return "is not a noun phrase"
    return ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_docstring_begins_with_a_verb_or_a_noun_phrase_on_one_line(path):
    documented = [
        ((ast.get_docstring(node) or "").splitlines()[:2], node)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, DOCUMENTED)
    ]
    assert not [
        f"{first}: {why}" for first, node in documented if (why := leaves_the_dialect(node))
    ]


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ('def f():\n  """Returns the sum."""', ""),
        ('def f():\n  """Raises ValueError unless x is a class."""', ""),
        ('def f():\n  """Pixels of the sum."""', "verb"),
        ('def f():\n  """The sum."""', "verb"),
        ('def f():\n  """Return the sum."""', "verb"),
        ('def f():\n  """Returns the sum\n  of all."""', "one line"),
        ('def f():\n  """Returns the sum"""', "one line"),
        ('@property\ndef f(self):\n  """The sum."""', ""),
        ('@property\ndef f(self):\n  """Returns the sum."""', "noun"),
        ('class A:\n  """Returns the sum."""', "noun"),
        ('class A:\n  """A sum.\n\n  Returns nothing\n  else."""', ""),
    ],
)
def test_the_dialect_of_docstrings_is_known(code, wrong):
    (node,) = ast.parse(code).body
    assert wrong in leaves_the_dialect(node) and bool(wrong) == bool(leaves_the_dialect(node))


EXPERIMENTS = sorted((ROOT.parent / "experiments").rglob("*.py"))
OWN_DATA = {path for path in EXPERIMENTS if path.stem.startswith("folder")}
"""Experiments on the user's data, for which there is no paper's score and none of ours."""


def missing_from(docstring: str, command: str) -> list[str]:
    """Returns the parts that an experiment's docstring lacks, and what breaks off in it."""
    text, paragraphs = " ".join(docstring.split()), docstring.strip().split("\n\n")
    needed = {
        "a paper": r"arXiv:\d{4}\.\d{4,5}",
        "what it measured": r"Measured here(:|, [^:]*:) (not yet|(Dice )?\d+\.\d+)",
        "its cost": r"Cost: .*(not measured|minutes?|hours?|days?)",
    }
    lacks = [part for part, pattern in needed.items() if not re.search(pattern, text)]
    prose = [paragraph for paragraph in paragraphs if not paragraph.startswith("    ")]
    lacks += [f"an end: {p[-40:]!r}" for p in prose if not p.endswith((".", ":"))]
    starts = "Cost|Differences|Each|Here|It|Measured|The|This|To|Training"
    broken = re.compile(rf"[^.:;?)\"'`\s]\s+({starts})\s[^.]*")
    lacks += [f"an end before {found[0][2:42]!r}" for p in prose if (found := broken.search(p))]
    lacks += ["a source"] if re.search("remember|from memory", text) else []
    last = paragraphs[-1].split()
    lacks += ["its command at the end"] if " ".join(last[:4]) != command else []
    return lacks


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiments_docstring_is_complete(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    name = path.relative_to(ROOT.parent).as_posix()
    lacks = missing_from(docstring, f"python -m segjax.launch {name}")
    allowed = {"a paper"} if path.parent.name == "tutorials" else set()
    allowed |= {"a paper", "what it measured"} if path in OWN_DATA else set()
    assert not set(lacks) - allowed


def test_a_docstring_that_breaks_off_is_noticed():
    docstring = """DeepLab (arXiv:1706.05587) on VOC.

{}

Measured here: 0.50 mIoU. Cost: 3 hours.

    python -m segjax.launch experiments/a.py --data /data
"""
    command = "python -m segjax.launch experiments/a.py"
    lacks = lambda text: missing_from(docstring.format(text), command)
    assert not lacks("Differences: BatchNorm decays by 0.9. Here it trains on `train`.")
    assert "an end before" in lacks("It decays by 0.9, and\nHere on the images of `train`.")[0]
    assert "an end: " in lacks("It decays by 0.9, and")[0]
    assert lacks("0.873, as remembered.") == ["a source"]
    assert missing_from("On VOC.", command) == [
        *("a paper", "what it measured", "its cost", "its command at the end")
    ]

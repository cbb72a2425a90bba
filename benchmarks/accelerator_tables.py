"""Writes the rows of `accelerator.py` as Markdown tables.

python benchmarks/accelerator_tables.py FILE.jsonl [...]
"""

import argparse
import collections
import pathlib
from collections.abc import Callable, Iterable

from accelerator_rows import Row, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=pathlib.Path, nargs="+", metavar="FILE.jsonl")
    arguments = parser.parse_args()
    rows = [row for file in arguments.files for row in read(file)]
    print("\n\n".join(tables(rows)))


def tables(rows: Iterable[Row]) -> list[str]:
    """Returns a table for each card and stage, in the order of the rows."""
    groups: dict[tuple[str, str], list[Row]] = collections.defaultdict(list)
    for row in rows:
        card = f"{row['card']}, jax {row['jax']}"
        if row["tiny"]:
            card += ", tiny settings"
        groups[card, row["stage"]].append(row)
    return [
        "\n".join([f"### {stage}: {card}", "", *STAGES[stage](found)])
        for (card, stage), found in groups.items()
    ]


def table(head: Iterable[str], body: Iterable[Iterable[str]]) -> list[str]:
    """Returns the lines of a table."""
    lines = [list(head), *map(list, body)]
    lines.insert(1, ["---"] * len(lines[0]))
    return [f"| {' | '.join(line)} |" for line in lines]


def smoke(rows: list[Row]) -> list[str]:
    def line(row: Row) -> list[str]:
        cells = [row["name"], "yes" if row["ok"] else "NO"]
        if "f32" not in row:
            said = [row["error"]] if "error" in row else []
            if "difference" in row:
                said.append(f"{row['difference']:.1e}")
            if "two_steps_equal" in row:
                said.append(f"equal bits: {'yes' if row['two_steps_equal'] else 'no'}")
            return [*cells, ", ".join(said), *[""] * 5]
        for dtype in ("f32", "bf16"):
            values = row[dtype]
            equal = "yes" if values["two_steps_equal"] else "no"
            cells += [f"{values['scores']:.1e}", f"{values['gradients']:.1e}", equal]
        return cells

    columns = ("scores", "gradients", "two steps equal")
    titles = [f"{column}, {dtype}" for dtype in ("f32", "bf16") for column in columns]
    return table(["", "within bounds", *titles], map(line, rows))


def speed(rows: list[Row]) -> list[str]:
    sides = ("torch eager", "torch compiled", "segjax")
    peaks = [row for row in rows if "tflops" in row]
    peak = {row["name"].split()[-1]: max(row["tflops"].values()) for row in peaks}
    lines = [
        f"Matrix product of {row['size']}²: "
        + ", ".join(f"{side} {rate:.0f} TFLOP/s" for side, rate in row["tflops"].items())
        + f" ({row['name'].split()[-1]})."
        for row in peaks
    ]

    def line(row: Row) -> list[str]:
        cells = [row["name"]]
        for side in sides:
            answer = row.get(side) or {"error": row.get("error") or row.get("skipped", "–")}
            cells.append(_rate(answer))
        cells += [_number(row.get(side, {}).get("torch_over_segjax"), 2) for side in sides[:2]]
        ours = row.get("segjax", {})
        best = peak.get(row["name"].split(", ")[2])
        share = ours["tflops"] / best if best and "tflops" in ours else None
        cells += [f"{share:.1%}" if share is not None else "–"]
        return cells + [_number(ours.get("compile_s"), 0)]

    head = (
        *("", *(f"{side}: images/s, GiB" for side in sides)),
        *(
            "eager ÷ segjax",
            "compiled ÷ segjax",
            "segjax's share of the peak",
            "compiled in, s",
        ),
    )
    body = [line(row) for row in rows if "tflops" not in row]
    return [*lines, "", *table(head, body)] if body else lines


def _rate(answer: Row) -> str:
    if "images_per_second" not in answer:
        return answer.get("error", "–")
    gib = answer.get("memory_bytes", answer.get("planned_bytes"))
    memory = f", {gib / 2**30:.1f}" if gib is not None else ""
    return f"{answer['images_per_second']:.1f}{memory}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def operations(rows: list[Row]) -> list[str]:
    known = {"stage", "name", "at", "wall_s", "card", "devices", "jax", "python", "tiny"}
    lead = ("torch", "segjax")
    others = dict.fromkeys(key for row in rows for key in row if key not in {*known, *lead})
    titles = (*lead, *(key for key in others if key != "error"))

    def cell(answer: Row | None) -> str:
        if answer is None:
            return ""
        return f"{answer['ms']:.3f}" if "ms" in answer else answer.get("error", "–")

    def line(row: Row) -> list[str]:
        if isinstance(row.get("error"), str):
            return [row["name"], row["error"], *[""] * len(titles)]
        ms = {key: row[key]["ms"] for key in titles if "ms" in row.get(key, {})}
        best = min(ms, key=ms.__getitem__) if ms else "–"
        return [row["name"], best, *(cell(row.get(key)) for key in titles)]

    return table(["ms", "fastest", *titles], map(line, rows))


def train(rows: list[Row]) -> list[str]:
    def line(row: Row) -> list[str]:
        if "error" in row:
            return [row["name"], row["error"], *[""] * 6]
        cells = [row["name"], str(row["steps"]), f"{row['images_per_second']:.0f}"]
        cells.append(f"{row['launch_s'] / 60:.1f}")
        for split in ("val", "test"):
            scores = row.get(split)
            cells += [
                "–" if scores is None or scores[name] is None else f"{scores[name]:.4f}"
                for name in ("mean_iou", "pixel_accuracy")
            ]
        return cells

    splits = [f"{split}: {what}" for split in ("val", "test") for what in ("mIoU", "accuracy")]
    return table(["", "steps", "images/s", "minutes", *splits], map(line, rows))


STAGES: dict[str, Callable[[list[Row]], list[str]]] = {
    "smoke": smoke,
    "speed": speed,
    "operations": operations,
    "train": train,
}

if __name__ == "__main__":
    main()

"""Success in results of evaluateSuite.py, with 95 % intervals (Wilson): table.py RESULTS... [--by task]"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))

from evaluate import wilson

COLUMNS = ("suite", "scenes", "sentences", "policy", "control", "replan", "full")


def row(lines: list[dict[str, Any]]) -> str:
    count, good = len(lines), [line for line in lines if line["success"]]
    low, high = wilson(len(good), count)
    other = sum(line["inside"] not in (None, line["named"]) for line in lines)
    steps = f"{median(line['steps'] for line in good):.0f}" if good else ""
    return f"{len(good)} of {count} | {low:.3f} to {high:.3f} | {other} | {steps}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--by", choices=("task",))
    given = parser.parse_args()
    columns = (*COLUMNS, given.by) if given.by else COLUMNS
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for file in given.results:
        for text in file.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if "skipped" not in line:
                groups.setdefault(tuple(str(line["episode"][column]) for column in columns), []).append(line)
    print(f"| {' | '.join(columns)} | success | interval | another object inside | median steps |")
    print(f"|{' --- |' * (len(columns) + 4)}")
    for key, lines in groups.items():
        print(f"| {' | '.join(key)} | {row(lines)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

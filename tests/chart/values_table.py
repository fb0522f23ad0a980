"""The table of values in the chart's README, from the comments in values.yaml. `--write` writes it."""

import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parents[2] / "charts/kubehealer"
README = CHART / "README.md"
BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->\n"


def rows():
    """(path, default, description) of each documented value, in the order of the file."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    path, comment, out = [], [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        if found := re.match(r" *# -- (.*)", line):
            comment = [found[1]]
        elif comment and (found := re.match(r" *# (.*)", line)):
            comment.append(found[1])
        elif found := re.match(r"( *)([A-Za-z]+):", line):
            path = [*path[: len(found[1]) // 2], found[2]]
            if comment:
                default = values
                for key in path:
                    default = default[key]
                out.append((".".join(path), default, " ".join(comment)))
            comment = []
    return out


def table():
    lines = ["| Value | Default | Meaning |", "|---|---|---|"]
    for path, default, text in rows():
        lines.append(f"| `{path}` | `{json.dumps(default)}` | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def readme_with_table():
    before, rest = README.read_text().split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        README.write_text(readme_with_table())
    else:
        print(table(), end="")

#!/usr/bin/env python3
"""Makes the pictures of the README from the real program: `docs/images/make.py target/release/kubehealer`.

terminal.svg is what two commands print (a test compares it); status-page.png is the demo in Chromium, which must be installed
($CHROMIUM, or chromium on the PATH). Look at both before you keep them.
"""

import html
import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLUMNS, ROWS = 100, 30
CELL, LINE = 8.4, 19
# What is typed, and how many lines of the answer are shown.
SCENES = [
    ["diagnose", "-f", "dump", "-n", "shop", "deployment/cart"],
    ["explain", "CrashLoopBackOff"],
]
SECONDS = 12  # for a scene
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "34": "#79c0ff", "35": "#d2a8ff", "36": "#76e3ea"}


def run(binary, words):
    """What a command prints in a terminal of this width, about a dump."""
    with tempfile.TemporaryDirectory() as folder:
        # Without what diagnose says on standard error that it skips.
        skipped = shutil.ignore_patterns("*.err", "version.json")
        shutil.copytree(ROOT / "tests/data/recordings/final", pathlib.Path(folder) / "dump", ignore=skipped)
        environment = {"PATH": os.environ["PATH"], "COLUMNS": str(COLUMNS)}
        command = [binary, "--color", "always", *words]
        return subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False).stdout


def rows(text):
    """What is printed as rows of cells, a character and its style each; a terminal breaks what is longer than a row."""
    for line in text.split("\n"):
        cells, style = [], frozenset()
        for code, part in re.findall(r"(?:\x1b\[([0-9;]*)m)?([^\x1b]*)", line):
            for number in code.split(";") if code else []:
                style = frozenset() if number in ("", "0") else style | {number}
            cells += [(character, style) for character in part]
        yield from [cells[at : at + COLUMNS] for at in range(0, len(cells) or 1, COLUMNS)]


def drawn(cells, y):
    """A row as SVG."""
    out, column = [], 0
    for style, group in itertools.groupby(cells, key=lambda cell: cell[1]):
        text = "".join(character for character, _ in group)
        marks = 'font-weight="bold" ' if "1" in style else ""
        marks += 'text-decoration="underline" ' if "4" in style else ""
        marks += 'opacity="0.65" ' if "2" in style else ""
        marks += "".join(f'fill="{COLOURS[number]}" ' for number in sorted(style) if number in COLOURS)
        if text.strip():
            x, length = 16 + column * CELL, len(text) * CELL
            out.append(f'<text {marks}x="{x:.1f}" y="{y}" textLength="{length:.1f}">{html.escape(text, quote=False)}</text>')
        column += len(text)
    return "".join(out)


def terminal(binary):
    """The recording: the scenes one after the other, for ever."""
    width, height = COLUMNS * CELL + 32, (ROWS + 2) * LINE + 40
    total = SECONDS * len(SCENES)
    share = 100 / len(SCENES)
    style = "".join(
        f".s{n}{{animation:s{n} {total}s step-end infinite;opacity:{int(n == 0)}}}"
        f"@keyframes s{n}{{0%{{opacity:{int(n == 0)}}}{n * share:.2f}%{{opacity:1}}{(n + 1) * share:.2f}%{{opacity:0}}}}"
        for n in range(len(SCENES))
    )
    # The answer comes when the command has been typed.
    typed, answered = 1.5 / total * 100, 2.0 / total * 100
    style += "".join(
        f".o{n}{{animation:o{n} {total}s step-end infinite}}@keyframes o{n}{{0%{{opacity:0}}{n * share + answered:.2f}%{{opacity:1}}}}"
        f".t{n}{{animation:t{n} {total}s steps(40) infinite;transform-origin:16px 0}}"
        f"@keyframes t{n}{{0%,{n * share:.2f}%{{transform:scaleX(0)}}{n * share + typed:.2f}%,100%{{transform:scaleX(1)}}}}"
        for n in range(len(SCENES))
    )
    # It begins with the first answer on the screen, for viewers that show a still.
    style += "text{white-space:pre}[class]{animation-delay:-3s!important}"
    scenes = []
    for n, words in enumerate(SCENES):
        command = "kubehealer " + " ".join(words)
        lines = run(binary, words).rstrip("\n").split("\n")
        # As many lines as fit.
        shown = next(n for n in range(len(lines), 0, -1) if len(list(rows("\n".join(lines[:n])))) <= ROWS)
        command += f" | head -{shown}" if shown < len(lines) else ""
        answer = "".join(drawn(cells, 56 + (row + 1) * LINE) for row, cells in enumerate(rows("\n".join(lines[:shown]))))
        prompt = drawn(next(rows(f"\x1b[32m$\x1b[0m {command}")), 56)
        scenes.append(
            f'<g class="s{n}"><clipPath id="c{n}"><rect class="t{n}" x="16" y="36" width="{width - 32:.0f}" height="{LINE + 8}"/></clipPath>'
            f'<g clip-path="url(#c{n})">{prompt}</g>'
            f'<g class="o{n}">{answer}</g></g>\n'
        )
    dots = "".join(f'<circle cx="{20 + 18 * i}" cy="18" r="5.5" fill="{c}"/>' for i, c in enumerate(["#ff5f57", "#febc2e", "#28c840"]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" '
        f'font-size="14" fill="#e6edf3">\n<style>{style}</style>\n'
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>{dots}\n{"".join(scenes)}</svg>\n'
    )


def status_page(binary, picture):
    """The status page of the demo, a minute after its start: ten minutes of its own time."""
    address = "127.0.0.1:8099"
    demo = subprocess.Popen([binary, "demo", "--listen", address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(60)
        urllib.request.urlopen(f"http://{address}/readyz", timeout=10).read()
        with tempfile.TemporaryDirectory() as profile:
            subprocess.run(
                [os.environ.get("CHROMIUM", "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}",
                 "--force-device-scale-factor=1.25", "--window-size=1280,1000",
                 f"--screenshot={picture}", f"http://{address}/"],
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
            )
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(timeout=20)


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    (HERE / "terminal.svg").write_text(terminal(binary))
    status_page(binary, HERE / "status-page.png")


if __name__ == "__main__":
    main()

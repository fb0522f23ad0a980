"""The recording of a terminal in the README shows what the program prints."""

import importlib.util
import os
import pathlib

IMAGES = pathlib.Path(__file__).parents[2] / "docs/images"


def test_the_terminal_of_the_readme_is_fresh():
    spec = importlib.util.spec_from_file_location("make", IMAGES / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    wanted = make.terminal(os.environ["KUBEHEALER_BIN"] + "/kubehealer")
    assert (IMAGES / "terminal.svg").read_text() == wanted, "docs/images/make.py writes it; look at it"

"""CONTRIBUTING's method of three files, added as printed to a copy of the project."""

import os
import re
import subprocess
import sys

import pytest

from copied import ROOT, copy_project

CODE = re.compile(r"^```(?:python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def printed(name):
    """The first block of code after a file's name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = CODE.search(text, text.index(f"`{name}`"))
    assert found is not None, name
    return found[1]


@pytest.mark.slow
def test_a_method_of_three_files_is_tested_and_runs(tmp_path):
    copy_project(tmp_path)
    files = [f"{place}.{kind}" for place, kind in (("methods/{}", "py"), ("conf/method/{}", "yaml"))]
    for name in (file.format(method) for method in ("alternate_ffn", "late_attention") for file in files):
        (tmp_path / name).write_text(printed(name), encoding="utf-8")
    table, row = tmp_path / "tests/methods/contract.py", printed("TABLE` of `tests/methods/contract.py")
    words = "TABLE: dict[str, Row] = {\n"
    before, after = table.read_text(encoding="utf-8").split(words)
    (other,) = re.findall(
        r'`("late_attention": Row\(.*),`', (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    )
    table.write_text(f"{before}{words}{row}    {other},\n{after}", encoding="utf-8")

    tests = ["tests/methods/test_contract.py", "tests/test_conf.py", "tests/test_architecture.py"]
    said = output_of(tmp_path, "-m", "pytest", "-vv", "-p", "no:cacheprovider", *tests)
    for test in re.findall(r"^def (test_\w+)", (ROOT / tests[0]).read_text(encoding="utf-8"), re.MULTILINE):
        if "lossless" not in test:
            assert test in said
    assert said.count("alternate_ffn") >= 7 and said.count("late_attention") >= 7
    for name in ("alternate_ffn", "late_attention"):
        assert f"{name} keeps its promises" in output_of(tmp_path, "run.py", "check", f"method={name}")
    said = output_of(
        tmp_path,
        *("run.py", "method=alternate_ffn", "task=factoidqa", "model=hub", "limit=1", "max_new_tokens=4"),
        *("logger=none", f"model.path={tiny(tmp_path)}"),
    )
    assert "alternate_ffn" in said


def tiny(folder):
    """A random model on disk."""
    words = "import pathlib, sys, tiny_model; tiny_model.save_model(pathlib.Path(sys.argv[1]))"
    output_of(folder, "-c", words, folder / "tiny", PYTHONPATH=f"{folder / 'tests/runners'}")
    return folder / "tiny"


def output_of(folder, *arguments, **variables):
    """What Python says in a folder, where it has to succeed."""
    environment = {"PYTHONPATH": str(folder), **os.environ, **variables}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout

"""Who may know whom, and how large things may grow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("models", "methods", "tasks", "runners", "analysis")
# What a room may import of the others; the entry point may import the runners, and lists the methods.
ALLOWED = {
    "models": set(),
    "methods": {"models"},
    "tasks": set(),
    "runners": {"models", "methods", "tasks"},
    "analysis": {
        *("runners.notices", "runners.schema", "runners.significance", "runners.statistics"),
        "runners.streams",
        "runners.wandb_logger",
    },
}
FILES = [file for room in (*ROOMS, "scripts") for file in sorted((ROOT / room).rglob("*.py"))] + [
    ROOT / "run.py"
]


def imports(file):
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room_of(module):
    return module.partition(".")[0]


def test_imports_are_found(tmp_path):
    file = tmp_path / "some.py"
    file.write_text("import a.b\ndef f():\n    from c.d import e\n    if f:\n        import g as h\n")
    assert imports(file) == {"a.b", "c.d", "c.d.e", "g"}


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / room).is_dir()])
def test_arrows(room):
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        for module in imports(file):
            if room_of(module) in ROOMS and room_of(module) != room:
                allowed = room_of(module) in ALLOWED[room] or any(
                    module == one or module.startswith(f"{one}.") for one in ALLOWED[room]
                )
                # `from runners import schema` names the package as well.
                assert allowed or module == "runners", f"{file.relative_to(ROOT)} imports {module}"
            assert module != "run", f"{file.relative_to(ROOT)} imports the entry point"


def test_the_entry_point_knows_the_runners_alone():
    rooms = {room_of(module) for module in imports(ROOT / "run.py")} & set(ROOMS)
    assert rooms == {"runners"}


def test_what_is_shared_with_the_analysis_stands_alone():
    for name in ("schema", "statistics"):
        assert not {module for module in imports(ROOT / f"runners/{name}.py") if room_of(module) in ROOMS}
    assert (ROOT / "runners/__init__.py").read_text() == ""


def test_the_engine_and_the_methods_import_with_torch_and_transformers_alone():
    code = """
import importlib, pkgutil, sys
import models, methods
for package in (models, methods):
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(info.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"models", "methods", "torch", "transformers"} <= loaded
    assert not loaded & {"hydra", "omegaconf", "tasks", "runners", "analysis"}
    # What of the rest is loaded is up to transformers, which takes what it finds; what these two name is not.
    theirs = {
        "torch",
        "transformers",
        "safetensors",
        "huggingface_hub",
        "numpy",
        "jinja2",
        "filelock",
        "tokenizers",
        "gguf",
    }
    # For a search, and for several GPUs: where they are asked for.
    theirs |= {"sklearn", "accelerate"}
    files = [file for room in ("models", "methods") for file in (ROOT / room).rglob("*.py")]
    named = {room_of(module) for file in files for module in imports(file)}
    assert named <= {*sys.stdlib_module_names, *theirs, "models", "methods"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_stay_small(file):
    lines = len(file.read_text().splitlines())
    relative = file.relative_to(ROOT)
    if relative == Path("run.py"):
        assert lines <= 100
    elif relative.parts[0] == "methods" and len(relative.parts) == 2:
        assert lines <= 150
    else:
        assert lines <= 400


def test_no_copies_of_model_code():
    assert not [file for file in FILES if file.stem.startswith(("modeling_", "modelling_"))]


def isinstance_classes(file):
    """Names of the classes that a file tests for with isinstance or issubclass."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            for part in ast.walk(node.args[1]):
                if isinstance(part, ast.Name | ast.Attribute):
                    yield part.id if isinstance(part, ast.Name) else part.attr


def test_no_method_is_recognised_outside_its_room():
    """What a method needs it declares, and what it is called nobody else asks."""
    classes = {
        node.name
        for file in (ROOT / "methods").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert {"Full", "FFNSkip"} <= classes
    for file in FILES:
        if file.relative_to(ROOT).parts[0] != "methods":
            asked = classes & set(isinstance_classes(file))
            assert not asked, f"{file.relative_to(ROOT)} asks for {asked}"


def test_no_family_is_recognised_outside_the_engine():
    for file in FILES:
        if file.relative_to(ROOT).parts[0] != "models":
            assert not {module for module in imports(file) if module.startswith("transformers.models.")}

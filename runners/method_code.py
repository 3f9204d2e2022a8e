"""The code of a method: whether it has changed since something was computed with it."""

import ast
import hashlib
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_ROOM = "methods"


def method_code(name: str) -> str:
    """Sixteen hex digits for the file of a method and all that it imports, directly or not, from its room."""
    return _hashed(tuple((file, file.stat().st_mtime_ns) for file in _files(name)))


@cache
def _hashed(files: tuple[tuple[Path, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, _ in files:
        digest.update(f"{file.relative_to(_ROOT)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _files(name: str) -> list[Path]:
    found: set[Path] = set()
    waiting = [_ROOT / _ROOM / f"{name}.py"]
    while waiting:
        file = waiting.pop()
        if file not in found and file.is_file():
            found.add(file)
            waiting += _imported(file, file.stat().st_mtime_ns)
    return sorted(found)


@cache
def _imported(file: Path, changed: int) -> list[Path]:
    """Files of the room that a file names in its imports."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from methods.shared import registry` names a module too.
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    paths = [_ROOT.joinpath(*module.split(".")) for module in modules if module.split(".")[0] == _ROOM]
    return [path.with_suffix(".py") for path in paths]

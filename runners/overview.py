"""What there is to choose and to set, a line each; read from files alone, so that it is there at once."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

_METHODS = Path(__file__).resolve().parents[1] / "methods"
# A key of the first level, its value, and what is said of it.
_KEY = re.compile(r"(\w+): +([^#\n]*?) *(?:# (.*))?\n")
# They do not name a choice, and are not for the command line.
_ASIDE = ("defaults", "hydra", "name")
USAGE = """python run.py method=ffnskip task=factoidqa       one combination
python run.py -m method=full,ffnskip task=...      several
python run.py -m +experiment=...                   a study
python run.py rescore results/<run_id> [...]       new scores from stored outputs
python run.py judge results/<run_id> judge=openai judge.model=...    grades for stored outputs
python run.py status results/.sweep/<study>        how the jobs of a study stand
python run.py check method=mine                    whether a method of yours keeps what all methods keep
python run.py --list                               methods, tasks, models and studies
python run.py method=ffnskip --help                its keys, and all others"""


def names(conf: Path) -> str:
    """Methods, tasks, models and studies, each with what it is."""
    lines = []
    for group in ("method", "task", "model", "experiment"):
        lines.append(f"{'+' if group == 'experiment' else ''}{group}=")
        lines += _rows((file.stem, _summary(group, file)) for file in sorted((conf / group).glob("*.yaml")))
    return "\n".join(lines)


def keys(conf: Path, arguments: list[str]) -> str:
    """The shared keys, and those of the groups as a command line chooses them."""
    chosen = dict(word.split("=", 1) for word in arguments if "=" in word)
    lines = ["", "Keys, with their defaults:"]
    lines += _rows(_keys(conf / "config.yaml", ""))
    groups = {"method": "ffnskip", "task": "factoidqa", "model": "smollm2-135m"}
    groups |= {"engine": "default", "runner": "default", "logger": "wandb", "judge": "none"}
    for group, usual in groups.items():
        file = conf / group / f"{chosen.get(group, usual)}.yaml"
        if file.parent == conf / group and file.is_file():
            more = " --help shows another's" if group in ("method", "task") else ""
            lines += ["", f"{group}={file.stem}{'; ' + group + '=...' + more if more else ''}"]
            lines += _rows(_with_base(file, f"{group}."))
    return "\n".join(lines)


def _with_base(file: Path, prefix: str) -> list[tuple[str, str]]:
    """The keys of a file after those of the files that it begins with."""
    found = {}
    based = re.search(r"^defaults: \[([\w-]+), _self_\]", file.read_text(encoding="utf-8"), re.MULTILINE)
    if based:
        inherited = _with_base(file.with_stem(based[1]), prefix)
        found = {key.partition("=")[0]: (key, said) for key, said in inherited}
    for key, said in _keys(file, prefix):
        name = key.partition("=")[0]
        found[name] = (key, said or found.get(name, ("", ""))[1])
    return list(found.values())


def _keys(file: Path, prefix: str) -> Iterator[tuple[str, str]]:
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        found = _KEY.fullmatch(line)
        if found and found[1] not in _ASIDE and found[2]:
            yield f"{prefix}{found[1]}={found[2]}", found[3] or ""


def _summary(group: str, file: Path) -> str:
    if group == "method":
        module = ast.parse((_METHODS / f"{file.stem}.py").read_text(encoding="utf-8"))
        return " ".join((ast.get_docstring(module) or "").partition("\n\n")[0].split())
    lines = file.read_text(encoding="utf-8").splitlines()
    said = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    words = [line for line in said if not line.startswith(("@package", "python run.py"))]
    # As much as a sentence, without the command that follows it.
    text = " ".join(words[:2] if group == "experiment" else words[:1])
    return re.split(r":  |(?<=[a-z0-9)])\. |[.:]$", text)[0]


def _rows(pairs: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> list[str]:
    pairs = list(pairs)
    width = min(40, max((len(name) for name, _ in pairs), default=0))
    return [f"  {name:<{width}}  {said}".rstrip() for name, said in pairs]


def overview(conf: Path, arguments: list[str]) -> str | None:
    """Return what `--list` and `--help` show; None: the command line asks for something else."""
    if arguments and not {"-h", "--help", "--list"} & set(arguments):
        return None
    if "--list" in arguments:
        return names(conf)
    return USAGE + (f"\n{keys(conf, arguments)}" if arguments else "")

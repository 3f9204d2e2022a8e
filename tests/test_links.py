"""The documents: every link leads somewhere, and what is listed in them is complete."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def prose(page):
    """A page without its blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    """Names of a page's headings, as GitHub makes them."""
    shown = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower().strip()).replace(" ", "-") for heading in shown}


def broken(page):
    """Links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# Weights & Biases\n```\n# no heading\n```\n## `a_b`, c\n")
    page = tmp_path / "page.md"
    good = "[a](other.md) [b](other.md#weights--biases) [c](other.md#a_b-c) [d](https://x.org) [e](#here)"
    page.write_text(f"## Here\n{good}\n[f](none.md) [g](other.md#no-heading) ![h](none.svg) [i](#there)\n")
    assert broken(page) == ["none.md", "other.md#no-heading", "none.svg", "#there"]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160


def test_the_index_names_every_page():
    listed = {link.partition("#")[0] for link in LINK.findall(prose(ROOT / "docs/README.md"))}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= listed


def test_the_readme_names_every_method():
    rows = re.findall(r"^\| `(\w+)` (?:\|[^|]*){6}\|$", prose(ROOT / "README.md"), re.MULTILINE)
    assert set(rows) == {file.stem for file in (ROOT / "conf/method").glob("*.yaml")}


def test_every_key_is_listed():
    config = yaml.safe_load((ROOT / "conf/config.yaml").read_text(encoding="utf-8"))
    keys = set(config) - {"defaults", "hydra"}
    for group in ("engine/default", "runner/default", "logger/wandb", "model/hub"):
        name = group.partition("/")[0]
        found = yaml.safe_load((ROOT / f"conf/{group}.yaml").read_text(encoding="utf-8"))
        keys |= {f"{name}.{key}" for key in found if (name, key) != ("logger", "name")}
    rows = re.findall(r"^\|([^|]*)\|", prose(ROOT / "docs/keys.md"), re.MULTILINE)
    assert keys <= set(re.findall(r"`([^`]+)`", " ".join(rows)))

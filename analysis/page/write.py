"""The page as one file: template, style and scripts around the data, which is never markup."""

import base64
import hashlib
import json
import re
from pathlib import Path
from string import Template
from typing import Any

from analysis.page.data import Study

_FOLDER = Path(__file__).parent
STYLES = ("base.css", "plot.css", "table.css", "answers.css", "media.css")
SCRIPTS = ("text.js", "diff.js", "pareto.js", "plot.js", "table.js", "answers.js", "main.js")
# Inside a script element: what could end it or open a comment, what ends a line in old JavaScript, what hides
# or reorders text in an editor, and halves of surrogate pairs, which UTF-8 cannot hold. JSON has all of them
# only in strings, where an escape means the same.
_UNSAFE = re.compile(
    "[<>&\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def write_page(study: Study, path: Path) -> None:
    """Write a study as one HTML file.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    path.write_text(page(study), encoding="utf-8")


def page(study: Study) -> str:
    """Return the HTML of a study: no request leaves it, and only its own script and style run."""
    style, script = (
        "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)
        for names in (STYLES, SCRIPTS)
    )
    data: dict[str, Any] = {"summary": study.summary, "texts": study.texts}
    data |= {f"answers-{number}": rows for number, rows in enumerate(study.answers)}
    template = Template((_FOLDER / "template.html").read_text(encoding="utf-8"))
    return template.substitute(
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data="\n".join(
            f'<script type="application/json" id="{name}">{embedded(value)}</script>'
            for name, value in data.items()
        ),
    )


def embedded(value: Any) -> str:
    """Return a value as JSON that can stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _hash(text: str) -> str:
    """What a Content-Security-Policy knows an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

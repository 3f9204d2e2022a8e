r"""Tables for LaTeX; they need `\usepackage{booktabs}`."""

import pandas as pd

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{one: "\\" + one for one in "&%$#_{}"},
    "<": r"$<$",
    ">": r"$>$",
    "|": r"\textbar{}",
    "–": "--",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
}
_TABLE = str.maketrans(_SPECIAL)


def escaped(text: str) -> str:
    """Text as LaTeX prints it: what would be a command, or is outside the usual fonts, is written out."""
    return " ".join(text.translate(_TABLE).split())


def latex(frame: pd.DataFrame, caption: str) -> str:
    """A frame of text as a `table` with rules of booktabs: the first column to the left, the others right."""
    lines = [frame.columns.tolist(), *frame.to_numpy().tolist()]
    # A row that begins with [ would be read as the length of the line break before it.
    head, *body = (
        " & ".join(escaped(cell) if cell[:1] != "[" else f"{{{escaped(cell)}}}" for cell in line)
        for line in lines
    )
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(frame.columns) - 1)}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *(rf"{row} \\" for row in body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )

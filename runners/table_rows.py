"""The rows of the table: what each is called, and how its numbers are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runners.schema import method_parameters, settings_apart
from runners.significance import said_p

UNKNOWN = "–"
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One quantity.

    Parameters
    ----------
    title
        Its label; `{metric}` stands for the name of the quality metric.
    field
        The metric; its interval is in `<field>_lo` and `<field>_hi`, where there is one.
    form
        How it is written, as a format of the value.
    scale
        Factor from the metric to what is written (100 for per cent).
    full
        The metric that holds the full model's value, or the text to show for it.
    optional
        Left out where no run knows it.
    """

    title: str
    field: str
    form: str
    scale: float = 1.0
    full: str = ""
    optional: bool = False

    @property
    def own_baseline(self) -> "Row":
        """The full model's value beside each run, as a row of its own."""
        return replace(self, title="  full model beside it", field=self.full, full="")

    def label(self, record: Record) -> str:
        """Return the label."""
        return self.title.format(metric=record.get("quality_metric") or "score")

    def cell(self, record: Record) -> list[str]:
        """Return the lines for a run: the value, its interval, and a p-value for a difference in quality."""
        lines = [self._text(record.get(self.field))]
        lo, hi = record.get(f"{self.field}_lo"), record.get(f"{self.field}_hi")
        if lo is not None and hi is not None:
            lines.append(f"[{self._bare(lo)}, {self._bare(hi)}]")
        if self.field == "quality_delta" and (p := record.get("quality_p")) is not None:
            lines.append(f"p {said_p(p)}")
        return lines

    def full_cell(self, record: Record) -> list[str]:
        """Return the lines for the full model beside that run."""
        return [self._text(record.get(self.full))] if self.full.startswith("full_") else [self.full]

    def _text(self, value: Any) -> str:
        return (
            UNKNOWN if value is None else self.form.format(value if self.scale == 1 else value * self.scale)
        )

    def _bare(self, value: float) -> str:
        return self._text(value).rstrip("× %")


ROWS = (
    Row("quality ({metric})", "quality", "{:.3f}", full="full_quality"),
    Row("  difference to full", "quality_delta", "{:+.3f}"),
    Row("  detectable from", "quality_mde", "{:.3f}"),
    Row("judge's grade, 1 to 10", "judge_score", "{:.2f}", full="full_judge_score", optional=True),
    Row("  difference to full", "judge_delta", "{:+.2f}", optional=True),
    Row("judge prefers it", "judge_win_rate", "{:.1f} %", 100, optional=True),
    Row("  prefers the full model", "judge_loss_rate", "{:.1f} %", 100, optional=True),
    Row("new hallucinations", "new_hallucination_rate", "{:.1f} %", 100),
    Row("repaired hallucinations", "repaired_rate", "{:.1f} %", 100),
    Row("wrong ÷ attempted", "hallucination_rate", "{:.1f} %", 100, full="full_hallucination_rate"),
    Row("  difference to full", "hallucination_delta", "{:+.1f} %", 100, optional=True),
    Row("collapsed", "collapse_rate", "{:.1f} %", 100, full="full_collapse_rate"),
    Row("cut off by length limit", "length_stop_rate", "{:.1f} %", 100),
    Row("  while still thinking", "cut_off_rate", "{:.1f} %", 100, full="full_cut_off_rate", optional=True),
    Row(
        "thoughts, of the tokens", "thought_share", "{:.1f} %", 100, full="full_thought_share", optional=True
    ),
    Row("tokens an answer", "output_tokens_mean", "{:.1f}", full="full_output_tokens_mean"),
    Row("decode tokens/s", "tokens_per_s", "{:,.1f}", full="full_tokens_per_s"),
    Row("  GB/s read", "gb_per_s", "{:,.1f}", full="full_gb_per_s", optional=True),
    Row("decode speedup", "speedup", "{:.2f}×", full="1×"),
    Row("end-to-end speedup", "speedup_end_to_end", "{:.2f}×", full="1×"),
    Row("  against hf_generate", "speedup_vs_hf", "{:.2f}×", optional=True),
    Row("  against it, compiled", "speedup_vs_hf_static", "{:.2f}×", optional=True),
    Row("ideal speedup", "ideal_speedup", "{:.2f}×", full="1×"),
    Row("efficiency", "efficiency", "{:.0f} %", 100),
    Row("deciding ÷ bytes read", "decision_bytes_share", "{:.1f} %", 100, optional=True),
    Row("replay: tokens that agree", "replay_agreement", "{:.1f} %", 100, optional=True),
    Row("  KL divergence, nats", "replay_kl", "{:.3f}", optional=True),
    Row("  speedup, same tokens", "replay_speedup", "{:.2f}×", full="1×", optional=True),
    Row("realised skip, FFN", "realised_skip_ffn", "{:.1f} %", 100),
    Row("realised skip, attention", "realised_skip_attention", "{:.1f} %", 100),
    Row("realised skip, weighted", "realised_skip_weighted", "{:.1f} %", 100),
    Row("  skip asked for", "target_skip", "{:.1f} %", 100),
    Row("drafted tokens accepted", "acceptance", "{:.1f} %", 100, optional=True),
    Row("tokens a pass", "mean_accepted", "{:.2f}", optional=True),
    Row("draft skip", "draft_skip", "{:.1f} %", 100, optional=True),
    Row("  drafting, of the time", "draft_time_share", "{:.1f} %", 100, optional=True),
    Row("  searching, of the time", "search_time_share", "{:.1f} %", 100, optional=True),
    Row("drafting paused, of passes", "paused_share", "{:.1f} %", 100, optional=True),
    Row("examples", "examples", "{:,}"),
)


def title(record: Record, among: Sequence[Record]) -> str:
    """Return the title of a record's table; it names what only some settings among the records have."""
    names = ("model", "task", "source", "dtype", "device", "batch_size")
    said = "{} · {} ({}) · {} on {} · batch {}".format(*(record.get(name) or UNKNOWN for name in names))
    return " · ".join([said, *(f"{name} {record.get(name)}" for name in settings_apart(among, names))])


def heading(record: Record, among: Sequence[Record]) -> list[str]:
    """Return the method and what tells the run from the others.

    That is the parameter which the target solves, those in which it differs from other runs of the method,
    and where these leave two alike, seed and limit.
    """
    parameters = method_parameters(record)
    alike = [other for other in among if other.get("method") == record.get("method")]
    others = [method_parameters(other) for other in alike]
    solved, value = record.get("solved_parameter"), record.get("solved_value")
    if solved and value is not None:
        parameters[solved] = value
    changed = [key for key in parameters if any(other.get(key) != parameters[key] for other in others)]
    told = {key: parameters[key] for key in dict.fromkeys((solved, *changed)) if key in parameters}
    if not changed:
        told = {key: value for key, value in told.items() if value is not None}
    same = [other for other in alike if method_parameters(other) == method_parameters(record)]
    told |= {
        key: record.get(key)
        for key in ("seed", "limit")
        if any(other.get(key) != record.get(key) for other in same)
    }
    return [str(record.get("method") or UNKNOWN), *(f"{key}={_said(value)}" for key, value in told.items())]


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_said, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

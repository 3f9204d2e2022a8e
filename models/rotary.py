"""Rotary embeddings that change with the length of a sequence.

Longrope (Ding et al., "LongRoPE", ICML 2024) divides frequencies by one list of factors up to the length that
a model was first trained on, by another beyond. transformers chooses by the longest row of a pass; here each
row has its own, so that it decodes in a batch as it does alone.
"""

from typing import Any

import torch
from torch import Tensor

from models.step import Step


def switch_length(config: Any) -> int | None:
    """Tokens up to which a sequence is turned by the short factors; None: all are turned alike.

    A sequence that grows beyond it holds keys that were turned by others.
    """
    given = getattr(config, "rope_parameters", None) or {}
    kinds = [given, *(part for part in given.values() if isinstance(part, dict))]
    lengths = [
        part.get("original_max_position_embeddings") or config.max_position_embeddings
        for part in kinds
        if part.get("rope_type") == "longrope" and part["short_factor"] != part["long_factor"]
    ]
    return min(lengths, default=None)


def tables_by_row(rotary: Any, hidden: Tensor, step: Step, switch: int, **more: Any) -> tuple[Tensor, Tensor]:
    """Cosine and sine [rows, T, width] of a step, by each row's own factors.

    A pass that begins a sequence shows how long it is; any other begins with a token that is there to stay,
    while those behind it may be drafts.
    """
    reached = step.positions.amax(1) if step.start == 0 else step.positions[:, 0]
    beyond = (reached >= switch)[:, None, None]
    mark = torch.full_like(step.positions[:, :1], switch)
    long = rotary(hidden, position_ids=torch.cat([step.positions, mark], dim=1), **more)
    short = rotary(hidden, position_ids=step.positions.clamp_max(switch - 1), **more)
    return (
        torch.where(beyond, long[0][:, :-1], short[0]),
        torch.where(beyond, long[1][:, :-1], short[1]),
    )

"""Random sets for the control methods."""

from collections.abc import Sequence

import torch


def draw(eligible: Sequence[int], share: float, noise: torch.Generator) -> set[int]:
    """A random subset that holds `share` of the eligible layers; the count is rounded at random, so its mean
    is exact."""
    count = int(share * len(eligible) + torch.rand(1, generator=noise).item())
    order = torch.randperm(len(eligible), generator=noise)[:count].tolist()
    return {eligible[place] for place in order}

"""What every method that drafts can be told."""

from dataclasses import dataclass

from methods.shared.ranges import one_of

# Every token of a draft, or of what is scored again, has room in the cache.
MOST_DRAFTED = 1024


@dataclass(frozen=True, kw_only=True)
class DraftingParams:
    """Parameters of every method that drafts.

    Attributes
    ----------
    size : str
        paper: drafts as the method makes them; cost: chain or tree, and how much of it is verified, by the
        time of a pass, which is measured on this machine first.
    stop_when_losing : bool
        Stop drafting while plain decoding is faster by the clock, and try again less and less often. Off: the
        method as its paper has it.
    """

    size: str = "paper"
    stop_when_losing: bool = False

    def __post_init__(self) -> None:
        one_of(self, "size", "paper", "cost")

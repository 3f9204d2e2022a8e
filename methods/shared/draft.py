"""What is proposed for verification."""

from collections.abc import Sequence
from dataclasses import dataclass

ROOT = -1


@dataclass(frozen=True)
class Draft:
    """Proposed tokens, as a tree below the newest token of the sequence.

    Attributes
    ----------
    tokens : sequence of int
    parents : sequence of int
        Index of each token's parent, which comes before it; ROOT (-1): the newest token.
    """

    tokens: Sequence[int]
    parents: Sequence[int]

    @classmethod
    def chain(cls, tokens: Sequence[int]) -> "Draft":
        """One token after the other."""
        return cls(tokens, range(ROOT, len(tokens) - 1))

    @property
    def depth(self) -> int:
        """Tokens on the longest branch."""
        depths = [0]
        for parent in self.parents:
            depths.append(depths[parent + 1] + 1)
        return max(depths)

    @property
    def is_chain(self) -> bool:
        """Whether no token has a sibling."""
        return self.depth == len(self.tokens)

    def child(self, parent: int, token: int) -> int | None:
        """The node that proposes a token after a parent."""
        for node, (above, proposed) in enumerate(zip(self.parents, self.tokens, strict=True)):
            if above == parent and proposed == token:
                return node
        return None

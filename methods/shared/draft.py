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
    chances : sequence of float
        By the draft, the probability of each token after its parent.
    """

    tokens: Sequence[int]
    parents: Sequence[int]
    chances: Sequence[float]

    @classmethod
    def chain(cls, tokens: Sequence[int], chance: float = 1.0) -> "Draft":
        """One token after the other, each as sure as the others."""
        return cls(tokens, range(ROOT, len(tokens) - 1), [chance] * len(tokens))

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

    def part(self, nodes: Sequence[int]) -> "Draft":
        """Some of its tokens, each with its parent."""
        kept = sorted(nodes)
        place = {ROOT: ROOT, **{node: new for new, node in enumerate(kept)}}
        parents = [place[self.parents[node]] for node in kept]
        return Draft([self.tokens[node] for node in kept], parents, [self.chances[node] for node in kept])

    def child(self, parent: int, token: int) -> int | None:
        """The node that proposes a token after a parent."""
        for node, (above, proposed) in enumerate(zip(self.parents, self.tokens, strict=True)):
            if above == parent and proposed == token:
                return node
        return None

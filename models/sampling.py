"""Choosing the next token."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import ModelError

_NO_NUMBERS = (
    "the model's logits are infinite or no numbers, so that no token can be chosen; dtype=float16 overflows "
    "where float32 and bfloat16 do not, else check the weights"
)


def best_tokens(logits: Tensor) -> list[int]:
    """The greedy token of each row of logits [rows, vocabulary].

    Raises
    ------
    ModelError
        The logits of a row are no numbers, or infinite: without this, token 0 or an odd one would win.
    """
    # The largest value is no number as soon as one value is none. One transfer, because each costs a wait.
    best = logits.max(-1)
    tokens: list[int] = torch.where(best.values.isfinite(), best.indices, -1).tolist()
    if min(tokens, default=0) < 0:
        raise ModelError(_NO_NUMBERS)
    return tokens


def generator(seed: int, example_id: str, turn: int, purpose: str = "sample") -> torch.Generator:
    """The random numbers of one turn of one example, the same whatever runs beside or before it.

    They are drawn on the host, so that a device does not change them either.
    """
    digest = hashlib.sha256(f"{seed}\x1f{example_id}\x1f{turn}\x1f{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


# Logits over less are infinite in float32.
_LEAST = 1e-6


@dataclass(frozen=True)
class Sampler:
    """Greedy, or a distribution by temperature, top-k and top-p, applied in that order as transformers does.

    Attributes
    ----------
    temperature : float
        0: greedy.
    top_k : int or None
        Keep the k most probable tokens.
    top_p : float
        Keep the smallest set of most probable tokens whose probability reaches top_p.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature != 0 and not self.temperature >= _LEAST:
            raise ModelError(
                f"temperature={self.temperature} is out of range: it must be 0 (greedy), or {_LEAST} or more"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ModelError(f"top_k={self.top_k} is out of range: it must be 1 or more, or null")
        if not 0 < self.top_p <= 1:
            raise ModelError(f"top_p={self.top_p} is out of range: it must lie in (0, 1]")

    @property
    def greedy(self) -> bool:
        """Whether no random number is drawn."""
        return self.temperature == 0

    def distribution(self, logits: Tensor) -> Tensor:
        """Next-token probabilities, float32.

        Parameters
        ----------
        logits : Tensor [..., vocabulary]

        Returns
        -------
        Tensor [..., vocabulary]
            One-hot when greedy.
        """
        logits = logits.float()
        if self.greedy:
            hot = torch.zeros_like(logits)
            return hot.scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
        logits = logits / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p < 1:
            ordered, order = logits.sort(dim=-1, descending=True)
            probabilities = ordered.softmax(-1)
            # A token stays if those before it have not reached top_p; the first always stays.
            outside = probabilities.cumsum(-1) - probabilities >= self.top_p
            logits = logits.masked_fill(outside.scatter(-1, order, outside), -torch.inf)
        return logits.softmax(-1)

    def sample(self, logits: Tensor, generators: list[torch.Generator]) -> list[int]:
        """One token a row.

        Parameters
        ----------
        logits : Tensor [rows, vocabulary]
        generators : list of torch.Generator, one a row
            Not touched when greedy.

        Raises
        ------
        ModelError
            The logits of a row are no numbers, or infinite.
        """
        if self.greedy:
            return best_tokens(logits)
        uniform = torch.cat([torch.rand(1, 1, generator=one, dtype=torch.float64) for one in generators])
        # Inverse of the cumulative distribution in float64: float32 sums drift over a large vocabulary.
        cumulative = self.distribution(logits).double().cumsum(-1)
        if not cumulative[:, -1].isfinite().all():
            raise ModelError(_NO_NUMBERS)
        target = uniform.to(cumulative.device) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, target, right=True).squeeze(-1).tolist()

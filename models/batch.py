"""Sequences decoded together: where each one is and what it has produced."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.prefix import Prefix
from models.sampling import Sampler
from models.stack import Stack
from models.step import Step

Stopped = Callable[[int, list[int]], bool]


class Batch:
    """Prompts padded on the left to one length, so that all rows write the same slot at the same time.

    Parameters
    ----------
    stack : Stack
        Its cache is reserved for this batch.
    prompts : sequence of list of int
        Token ids, at least one each.
    max_new_tokens : int
    eos : frozenset of int
        Tokens that end a sequence; they are part of its output.
    sampler : Sampler
    generators : list of torch.Generator
        One a row, for the sampler.
    noise : list of torch.Generator
        One a row, for methods that decide at random; apart from `generators`, so that a method's draws do not
        change the sampled text.
    stopped : callable (row, output ids) -> bool
        Whether a row ends for another reason than EOS or length (a stop string).
    scratch : int
        Slots past the end that a method needs for drafts and searches.
    hold_back : bool
        Leave the prompt's last token to decode step 0, instead of taking token 0 from the prefill.
    prefix : Prefix or None
        Where the pass over these prompts is kept, or taken from if an earlier batch of them has made it.

    Attributes
    ----------
    outputs : list of list of int
        By original row number.
    finish : list of str
        By original row number: "eos", "stop" or "length"; "" while it runs.
    live : list of int
        Original numbers of the rows still running, in the order of their tensors.
    step_index : int
        i of the next decode step.
    slot : int
        The slot that the next token goes to.
    """

    def __init__(
        self,
        stack: Stack,
        prompts: Sequence[list[int]],
        *,
        max_new_tokens: int,
        eos: frozenset[int],
        sampler: Sampler,
        generators: list[torch.Generator],
        noise: list[torch.Generator],
        stopped: Stopped = lambda row, ids: False,
        scratch: int = 0,
        hold_back: bool = False,
        prefix: Prefix | None = None,
    ):
        self.stack = stack
        self._prefix = prefix
        self.prompts = [list(prompt) for prompt in prompts]
        self.max_new_tokens = max_new_tokens
        self.eos = eos
        self.sampler = sampler
        self.generators = list(generators)
        self.noise = list(noise)
        self._stopped = stopped
        self.outputs: list[list[int]] = [[] for _ in prompts]
        self.finish = [""] * len(prompts)
        self.live = list(range(len(prompts)))
        self.step_index = 0
        longest = max(len(prompt) for prompt in prompts)
        self._prefilled = longest - 1 if hold_back else longest
        self.slot = self._prefilled
        pads = [longest - len(prompt) for prompt in prompts]
        # A padding id is never seen; any id the embedding has will do.
        padded = [[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        self._ids = torch.tensor(padded, device=stack.device)
        capacity = longest + max_new_tokens + scratch
        self._pads = torch.tensor(pads, device=stack.device)
        self._allowed: Tensor | None = None
        if any(pads):
            self._allowed = torch.arange(capacity, device=stack.device) >= self._pads[:, None]
        self._next = self._ids[:, -1:]
        stack.reserve(len(prompts), capacity)

    @property
    def rows(self) -> int:
        """Rows still running."""
        return len(self.live)

    @property
    def prompt_slots(self) -> int:
        """Slots filled before the first decode step."""
        return self._prefilled

    def prefill_step(self) -> tuple[Tensor, Step]:
        """Ids [rows, T] and step of the pass over the prompt; T is 0 for a held-back prompt of one token."""
        step = Step.causal(0, self._prefilled, self._pads, self._allowed)
        return self._ids[:, : self._prefilled], step

    def read(self, run: Callable[[Tensor, Step], Tensor]) -> Tensor:
        """The pass over the prompts, by `run` unless it is kept; the state [rows, width] it ends with."""
        last = None if self._prefix is None else self._prefix.put_back(self.stack)
        if last is None:
            last = run(*self.prefill_step())[:, -1]
            if self._prefix is not None:
                self._prefix.keep(self.stack, self._prefilled, last)
        return last

    def whole_step(self) -> tuple[Tensor, Step]:
        """Ids and step of one pass over the prompts with nothing held back."""
        return self._ids, Step.causal(0, self._ids.shape[1], self._pads, self._allowed)

    @property
    def holds_back(self) -> bool:
        """Whether the prompt's last token is left to decode step 0."""
        return self._prefilled < self._ids.shape[1]

    def decode_step(self) -> tuple[Tensor, Step]:
        """Ids [rows, 1] and step that feed each row's last token."""
        return self._next, self.step(1)

    def step(self, tokens: int) -> Step:
        """The pass that appends `tokens` tokens to every row."""
        return Step.causal(self.slot, tokens, self._pads, self._allowed)

    def ahead_step(self, ahead: int) -> Step:
        """The pass of one token a row, `ahead` slots after the next: a draft, to be overwritten."""
        return Step.causal(self.slot + ahead, 1, self._pads, self._allowed)

    def reread_step(self, tokens: int) -> tuple[Tensor, Step]:
        """The last `tokens` tokens that are in the cache once more, in scratch slots, for a batch of one.

        They see each other and what lies before the first of them, not what the cache holds of themselves.
        """
        sequence = self.prompts[self.live[0]] + self.outputs[self.live[0]]
        first = self.slot - tokens
        ids = torch.tensor([sequence[first : self.slot]], device=self._ids.device)
        own = torch.arange(self.slot, self.slot + tokens, device=self._ids.device)
        slots = torch.arange(self.slot + tokens, device=self._ids.device)
        visible = (slots < first) | ((slots >= self.slot) & (slots <= own[:, None]))
        positions = (own - tokens)[None]
        return ids, Step(positions, own, self.slot + tokens, visible[None], start=self.slot)

    def tree_step(self, parents: Sequence[int]) -> Step:
        """The pass of a row's last token and a tree of tokens below it, for a batch of one.

        Parameters
        ----------
        parents : sequence of int
            Index of each token's parent among them, which comes before it; -1: the row's last token.
        """
        return Step.tree(self.slot, parents, self._pads, self._allowed)

    def sample(self, logits: Tensor) -> list[list[int]]:
        """One token a row from logits [rows, vocabulary], as lists of one."""
        return [[token] for token in self.sampler.sample(logits, self.generators)]

    def accept(self, tokens: Sequence[Sequence[int]], *, fed: int) -> list[int]:
        """Take each row's new tokens, end the rows that are done.

        What lies past an EOS, a stop or the limit is dropped and never counted.

        Parameters
        ----------
        tokens : sequence of sequence of int
            One or more tokens for every live row; as many for each, or a batch of one.
        fed : int
            Slots that the step filled for good (0 for the tokens that come out of the prefill).

        Returns
        -------
        list of int
            Tokens taken, by live row before the call.
        """
        taken, staying = [], []
        for index, (row, new) in enumerate(zip(self.live, tokens, strict=True)):
            count = 0
            output = self.outputs[row]
            for token in new:
                output.append(token)
                count += 1
                self.finish[row] = self._finished(row)
                if self.finish[row]:
                    break
            else:
                staying.append(index)
            taken.append(count)
        self.slot += fed
        if len(staying) < len(self.live):
            self._keep(staying)
        if self.live:
            self._next = torch.tensor([[self.outputs[row][-1]] for row in self.live], device=self._ids.device)
        return taken

    def _finished(self, row: int) -> str:
        output = self.outputs[row]
        if output[-1] in self.eos:
            return "eos"
        if self._stopped(row, output):
            return "stop"
        return "length" if len(output) >= self.max_new_tokens else ""

    def _keep(self, rows: list[int]) -> None:
        self.live = [self.live[row] for row in rows]
        self.generators = [self.generators[row] for row in rows]
        self.noise = [self.noise[row] for row in rows]
        index = torch.tensor(rows, dtype=torch.int64, device=self._ids.device)
        self._pads = self._pads[index]
        if self._allowed is not None:
            self._allowed = self._allowed[index]
        self.stack.keep_rows(rows, self.slot)

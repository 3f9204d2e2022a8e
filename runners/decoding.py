"""One batch decoded by one method: the call, the clock, the counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from methods.shared.method import Method
from models.batch import Batch, Stopped
from models.counters import ATTENTION, FFN
from models.loading import LoadedModel
from models.prefix import Prefix
from models.sampling import Sampler, generator
from runners.prompts import Prompt
from runners.stopwatch import Stopwatch, synchroniser
from runners.thoughts import Thoughts, text_behind, thoughts_of


@dataclass(frozen=True)
class Decoding:
    """What stays the same for all batches of a run.

    Attributes
    ----------
    fixed_length : bool
        Ignore EOS and stop strings.
    hold_back : bool
        Leave the prompt's last token to decode step 0.
    """

    model: LoadedModel
    sampler: Sampler
    seed: int
    max_new_tokens: int
    stop_strings: tuple[str, ...] = ()
    fixed_length: bool = False
    hold_back: bool = False

    def at(self, temperature: float | None) -> "Decoding":
        """The same at another temperature; None: at its own."""
        if temperature is None:
            return self
        return replace(self, sampler=replace(self.sampler, temperature=temperature))

    def batch(
        self,
        method: Method,
        prompts: Sequence[list[int]],
        keys: Sequence[tuple[str, int]],
        limit: int | None = None,
        stopped: Stopped | None = None,
        endless: bool = False,
        prefix: Prefix | None = None,
    ) -> Batch:
        """Sequences ready to decode.

        Parameters
        ----------
        method : Method
        prompts : sequence of list of int
        keys : sequence of (example_id, turn)
            What each row's random numbers are drawn by.
        limit : int or None
            Fewer new tokens than the run's (a warm-up).
        stopped : callable (row, output ids) -> bool, or None
            Another end than the run's stop strings.
        endless : bool
            EOS is a token like any other.
        prefix : Prefix or None
            Keeps the pass over the prompts.
        """
        return Batch(
            self.model.stack,
            prompts,
            max_new_tokens=limit or self.max_new_tokens,
            eos=frozenset() if self.fixed_length or endless else self.model.eos,
            sampler=self.sampler,
            generators=[generator(self.seed, *key) for key in keys],
            noise=[generator(self.seed, *key, purpose="method") for key in keys],
            stopped=stopped or self._stopped,
            scratch=method.scratch,
            hold_back=self.hold_back,
            prefix=prefix,
        )

    def _stopped(self, row: int, ids: list[int]) -> bool:
        if not self.stop_strings or self.fixed_length:
            return False
        if not self._has_stop(self._uncut(ids, None)):
            return False
        # The answer's alone: thoughts have lines of their own. No template opens them here, since chats have
        # no stop strings.
        thoughts = self.thoughts(ids, "")
        return thoughts is None or self._has_stop(self._uncut(ids, thoughts))

    def _has_stop(self, text: str) -> bool:
        return any(stop in text for stop in self.stop_strings)

    def thoughts(self, ids: list[int], prompt: str) -> Thoughts | None:
        """What an output says before its answer; None: it begins with that."""
        return thoughts_of(self._said(ids), prompt, self.model.tokenizer.decode)

    def _said(self, ids: list[int]) -> list[int]:
        """An output without its EOS."""
        return ids[:-1] if not self.fixed_length and ids and ids[-1] in self.model.eos else ids

    def text(self, ids: list[int], thoughts: Thoughts | None = None) -> str:
        """An answer's text, without its thoughts, cut before its EOS or stop string."""
        text = self._uncut(ids, thoughts)
        cuts = [text.index(stop) for stop in self.stop_strings if stop in text and not self.fixed_length]
        return text[: min(cuts)] if cuts else text

    def _uncut(self, ids: list[int], thoughts: Thoughts | None) -> str:
        decode = partial(self.model.tokenizer.decode, skip_special_tokens=True)
        text = text_behind(thoughts, self._said(ids), decode)
        return text if thoughts is None else text.lstrip()

    def run(
        self,
        method: Method,
        prompts: Sequence[Prompt],
        keys: Sequence[tuple[str, int]],
        temperature: float | None = None,
        prefix: Prefix | None = None,
        arrived: Callable[[Batch], None] | None = None,
    ) -> list["Answered"]:
        """Decode one batch and take the time.

        Parameters
        ----------
        method, prompts, keys, prefix
            As in `batch`.
        arrived : callable (batch) or None
            Called whenever tokens have arrived, off the clock.
        temperature : float or None
            Another than the run's.

        Returns
        -------
        list of Answered
            One a prompt.
        """
        # All of it, because a cache or a counter made inside may not be changed outside.
        with torch.inference_mode():
            batch = self.at(temperature).batch(
                method, [prompt.ids for prompt in prompts], keys, prefix=prefix
            )
            after = None if arrived is None else partial(arrived, batch)
            watch = Stopwatch(synchroniser(self.model.stack.device), arrived=after)
            method.generate(batch, watch)
            return answers(self, method, batch, watch, [prompt.text for prompt in prompts])


@dataclass(frozen=True)
class Answered:
    """One row's answer, its share of the time, and the work done for it.

    Attributes
    ----------
    ids : list of int
    text, finish : str
    thoughts : Thoughts or None
        What comes before the text.
    prefill_s : float
        The batch's seconds ÷ its rows.
    decode_s : float
        The batch's seconds ÷ its rows that decoded, so that they add up to the batch's; 0 for a row whose
        answer ended in prefill.
    step_s : list of float
        Seconds of the whole decode calls in which this row was running.
    step_tokens : list of int
    work : dict
        Columns of counted work; empty for a method with an engine of its own.
    """

    ids: list[int]
    text: str
    finish: str
    thoughts: Thoughts | None
    prefill_s: float
    decode_s: float
    step_s: list[float]
    step_tokens: list[int]
    work: dict[str, Any]


def answers(
    decoding: Decoding, method: Method, batch: Batch, watch: Stopwatch, prompts: Sequence[str]
) -> list[Answered]:
    """Divide a finished batch into its rows; `prompts`: their texts."""
    rows = len(batch.prompts)
    found = []
    laps = [watch.row(row) for row in range(rows)]
    decoded = sum(bool(seconds) for seconds, _ in laps)
    bytes_read = {} if method.own_engine else _bytes(batch, [sum(tokens) for _, tokens in laps])
    for row, (seconds, tokens) in enumerate(laps):
        work = (
            {}
            if method.own_engine
            else {**_work(batch, row, len(tokens)), **bytes_read, **method.columns(row)}
        )
        thoughts = decoding.thoughts(batch.outputs[row], prompts[row])
        found.append(
            Answered(
                ids=batch.outputs[row],
                text=decoding.text(batch.outputs[row], thoughts),
                finish=batch.finish[row],
                thoughts=thoughts,
                prefill_s=watch.prefill_s / rows,
                decode_s=watch.decode_s / decoded if seconds else 0.0,
                step_s=seconds,
                step_tokens=tokens,
                work=work,
            )
        )
    return found


_DECIDING = ("decision",)
_OWN = ("final", "decision", "drafted", "verified", "searched")


def _bytes(batch: Batch, tokens: list[int]) -> dict[str, float]:
    """Each row's share of the bytes that the method, its decisions, and one full pass a step have to move."""
    stack, rows = batch.stack, len(batch.prompts)
    return {
        "method_bytes": sum(stack.bytes_read(purpose) for purpose in _OWN) / rows,
        "decision_bytes": sum(stack.bytes_read(purpose) for purpose in _DECIDING) / rows,
        "full_bytes": stack.full_bytes(batch.prompt_slots, tokens) / rows,
    }


def _work(batch: Batch, row: int, steps: int) -> dict[str, Any]:
    counters, layers = batch.stack.counters, batch.stack.layers
    runs = counters.tally("final").runs[:, :, row].tolist()
    return {
        "attention_run": sum(runs[ATTENTION]),
        "ffn_run": sum(runs[FFN]),
        "attention_total": steps * len(layers),
        "ffn_total": steps * len(layers),
        "attention_run_by_layer": runs[ATTENTION],
        "ffn_run_by_layer": runs[FFN],
        "skipped_steps": int(counters.skipped_steps[row]),
        "attention_weight": float(layers[0].attention_weights),
        "ffn_weight": float(layers[0].ffn_weights),
    }

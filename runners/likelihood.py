"""How probable the full model finds an answer."""

import torch
from torch import Tensor

from methods.full import Full
from models.batch import Batch
from models.stack import Stack
from models.step import Step
from runners.decoding import Decoding


def full_logprob(
    decoding: Decoding, full: Full, prompts: list[list[int]], outputs: list[list[int]]
) -> list[float | None]:
    """Mean log-probability of each output's tokens under the full model; off the clock.

    Parameters
    ----------
    prompts, outputs : list of list of int
        Token ids by row.

    Returns
    -------
    list of float or None
        In nats a token; None for an empty output.
    """
    keys = [(str(row), 0) for row in range(len(prompts))]
    sequences = [prompt + output[:-1] for prompt, output in zip(prompts, outputs, strict=True)]
    with torch.inference_mode():
        batch: Batch = decoding.batch(full, sequences, keys, limit=1)
        ids, step = batch.whole_step()
        with batch.stack.counters.purpose("replayed"):
            hidden = batch.stack.run(full.full, ids, step)
            # Rows are padded on the left: the states that predict the output are the row's last ones.
            return [
                _mean_logprob(batch.stack, hidden[row, -len(output) :], output) if output else None
                for row, output in enumerate(outputs)
            ]


def continued_logprob(full: Full, prompt: list[int], output: list[int]) -> float | None:
    """The same for the one sequence that has just been decoded, without reading its prompt again.

    Every method reads the prompt in full, so its K,V are those of the full model, and still in the cache;
    what lies behind them is written anew.
    """
    if not output:
        return None
    stack = full.stack
    with torch.inference_mode():
        # The batch has ended, which packed its row away; its slots are as they were.
        stack.cache.begin(1)
        stack.counters.begin(1)
        ids = torch.tensor([[prompt[-1], *output[:-1]]], device=stack.device)
        pads = torch.zeros(1, dtype=torch.int64, device=stack.device)
        step = Step.causal(len(prompt) - 1, len(output), pads, None)
        with stack.counters.purpose("replayed"):
            return _mean_logprob(stack, stack.run(full.full, ids, step)[0], output)


def _mean_logprob(stack: Stack, states: Tensor, output: list[int]) -> float:
    """Of an output [T] under the states [T, width] that predict it."""
    logits = stack.head(states).float()
    target = torch.tensor(output, device=logits.device)[:, None]
    return float(logits.log_softmax(-1).gather(1, target).mean())

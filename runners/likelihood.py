"""How probable the full model finds an answer."""

import torch

from methods.full import Full
from models.batch import Batch
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
            means: list[float | None] = []
            for row, output in enumerate(outputs):
                if not output:
                    means.append(None)
                    continue
                # Rows are padded on the left: the states that predict the output are the row's last ones.
                logits = batch.stack.head(hidden[row, -len(output) :]).float()
                target = torch.tensor(output, device=logits.device)[:, None]
                means.append(logits.log_softmax(-1).gather(1, target).mean().item())
    return means

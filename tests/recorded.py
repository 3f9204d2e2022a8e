"""Every way in which a step uses recordings, and what comes of it."""

import torch

from methods.shared.registry import method_class
from tiny import batch_of, method_of

SATURATION = {"threshold": 0.9, "confidence": "saturation", "decay": "none", "min_exit_layer": 1}
# Plans that stay and that change, passes of some rows, K,V without attention, holes, waiting states, drafts.
METHODS = {
    "full": ("full", {}),
    "skipdecode": ("skipdecode", {}),
    "random_layer": ("random_layer", {"share": 0.3}),
    "ffnskip": ("ffnskip", {"threshold": 0.5, "warmup_tokens": 1, "cold_start": 0, "cold_end": 4}),
    "propagate": ("early_exit", SATURATION),
    "hole": ("early_exit", {**SATURATION, "kv_policy": "hole"}),
    "defer": ("early_exit", {**SATURATION, "kv_policy": "defer"}),
    "prompt_lookup": ("prompt_lookup", {}),
    "swift": ("swift", {"search": "off"}),
}


class Silent:
    def prefilled(self):
        pass

    def decoded(self, taken, live):
        pass


def outcome(stack, prompts, name, new=24):
    """Tokens, counted runs and bytes of a method, over two batches: the second finds what the first left."""
    key, params = METHODS[name]
    method = method_of(key, stack, **params)
    found = []
    for part in (prompts, prompts[::-1]):
        with torch.inference_mode():
            batch = batch_of(stack, part, new=new, scratch=method.scratch)
            method.generate(batch, Silent())
        tally = stack.counters.tally("final")
        found.append((batch.outputs, tally.runs.tolist(), stack.bytes_read("final")))
    return found


def single(name):
    """Whether a method decodes one sequence at a time."""
    return name == "defer" or method_class(METHODS[name][0]).max_batch == 1

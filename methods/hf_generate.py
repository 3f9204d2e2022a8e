"""transformers' own `generate`, untouched: the baseline from outside."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, StaticCache, StoppingCriteria, StoppingCriteriaList

from methods.shared.errors import MethodError
from methods.shared.method import Method, Watch
from methods.shared.ranges import one_of
from models.batch import Batch
from models.cache import whole_blocks
from models.compat import compile_on_any_device
from models.stack import Stack


@dataclass(frozen=True)
class HFGenerateParams:
    """Parameters of `generate`.

    Attributes
    ----------
    cache : str
        dynamic: as `generate` comes; static: a cache of fixed size and a compiled step, transformers' own
        fast way, which takes a minute or more to compile.
    """

    cache: str = "dynamic"

    def __post_init__(self) -> None:
        one_of(self, "cache", "dynamic", "static")


class HFGenerate(Method):
    """Prefill is split off at the time of its first token, which a stopping criterion sees arrive."""

    drawn = "#CC79A7 D"
    Params = HFGenerateParams
    params: HFGenerateParams
    lossless = True
    own_engine = True

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        # `generate` fills what a call leaves open (a repetition penalty, an EOS) from the checkpoint's own
        # settings; the run's are all that is meant.
        stack.model.generation_config = GenerationConfig()
        # Its speed must be what a user of transformers has, in either direction.
        if any(not weight.is_contiguous() for weight in stack.model.parameters() if weight.dim() == 2):
            raise MethodError(
                "method=hf_generate times transformers as it comes, and engine.product=transposed stores "
                "weights in another order; leave engine.product=auto"
            )
        self._static: dict[tuple[int, int], StaticCache] = {}

    def generate(self, batch: Batch, watch: Watch) -> None:
        self.begin(batch)
        sampler = batch.sampler
        lengths = [len(prompt) for prompt in batch.prompts]
        longest, switch = max(lengths), self.stack.rotary_switch
        if switch is not None and min(lengths) <= switch < longest:
            raise MethodError(
                f"method=hf_generate turns all prompts of a batch alike, and these have {min(lengths)} to "
                f"{longest} tokens, around the {switch} at which its longrope changes; use batch_size=1"
            )
        pad = min(batch.eos, default=0)
        device = self.stack.device
        ids = torch.tensor([[pad] * (longest - len(p)) + p for p in batch.prompts], device=device)
        seen = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in batch.prompts], device=device)
        sampling: dict[str, Any] = {"do_sample": False}
        if not sampler.greedy:
            sampling = {"do_sample": True, "temperature": sampler.temperature, "top_p": sampler.top_p}
            # transformers takes 0 for "no top-k"; None would bring back its default of 50.
            sampling["top_k"] = sampler.top_k or 0
            torch.manual_seed(batch.generators[0].initial_seed() % 2**63)
        config = GenerationConfig(
            max_new_tokens=batch.max_new_tokens,
            eos_token_id=sorted(batch.eos) or None,
            pad_token_id=pad,
            **sampling,
        )
        fixed: dict[str, Any] = {}
        if self.params.cache == "static":
            config.compile_config = compile_on_any_device()
            fixed["past_key_values"] = self._cache(len(ids), longest + batch.max_new_tokens)
        self.stack.model.generate(
            ids,
            attention_mask=seen,
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([_Arrivals(batch, watch)]),
            **fixed,
        )

    def _cache(self, rows: int, slots: int) -> StaticCache:
        """An empty cache for so many rows and at least so many slots; the same one whenever it fits."""
        # Each size is compiled anew.
        slots = whole_blocks(slots)
        if (rows, slots) not in self._static:
            self._static[rows, slots] = StaticCache(config=self.stack.config, max_cache_len=slots)
        cache = self._static[rows, slots]
        cache.reset()
        return cache


class _Arrivals(StoppingCriteria):
    """Hands every step's tokens to the batch as they arrive; the batch knows which rows are done."""

    def __init__(self, batch: Batch, watch: Watch):
        self.batch, self.watch = batch, watch
        self.first = True

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> torch.BoolTensor:
        newest = input_ids[:, -1].tolist()
        live = self.batch.live
        tokens = [[newest[row]] for row in live]
        if self.first:
            # Also of a batch that holds back: `generate` always takes token 0 from its prefill, and a decode
            # step that took no time would count as one.
            self.watch.prefilled()
            self.batch.accept(tokens, fed=0)
        else:
            taken = self.batch.accept(tokens, fed=1)
            self.batch.step_index += 1
            self.watch.decoded(taken, live)
        self.first = False
        done = [row not in self.batch.live for row in range(len(newest))]
        return torch.tensor(done, device=input_ids.device)  # type: ignore[return-value]

"""On a CUDA device: the tokens of a CPU and of `generate`, with kernels one by one and with recorded passes.

Needs torch, transformers and pytest only: `make gpu` runs it on a machine that has no more.
"""

import pytest
import torch

from exactness import assert_equal_up_to_near_ties, assert_rounded, near_ties
from models.graphs import CudaRecorder
from models.host_read import HostRead
from models.numerics import cosine
from models.stack import Stack
from recorded import METHODS, outcome, single
from tiny import DISTINCT, NAMES, PROMPTS, decode, hf_forced_logits, hf_generated, method_of, tiny_model

pytestmark = pytest.mark.gpu
NEW = 16
FUSED = ("llama", "llama_tied", "mistral_window", "qwen2", "qwen2_window", "qwen3")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Products in float32 proper: TF32 has ten bits."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def on_gpu(name, dtype=torch.float32):
    return tiny_model(name, dtype).cuda()


@pytest.mark.parametrize("name", NAMES)
def test_the_full_model_says_what_generate_says_on_a_cpu(name):
    wanted = hf_generated(tiny_model(name), PROMPTS, NEW)
    got = decode(method_of("full", Stack(on_gpu(name))), new=NEW).outputs
    assert_equal_up_to_near_ties(
        [
            (f"{name} {row}", got[row], one, near_ties(wanted.gaps[row]))
            for row, one in enumerate(wanted.outputs)
        ]
    )


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_a_cpu(name):
    stack, prompt = Stack(on_gpu(name)), PROMPTS[0]
    answer = decode(method_of("full", stack), [prompt], new=NEW)
    wanted = hf_forced_logits(tiny_model(name), prompt, answer.outputs[0])
    assert_rounded(torch.cat(answer.logits).cpu(), wanted)


@pytest.mark.parametrize("family", DISTINCT)
@pytest.mark.parametrize("name", METHODS)
def test_methods_do_what_they_do_on_a_cpu(family, name):
    """Tokens, token runs and bytes, over two batches."""
    rows = 1 if single(name) else 4
    devices = [Stack(model) for model in (on_gpu(family), tiny_model(family))]
    got, wanted = (outcome(stack, PROMPTS[:rows], name) for stack in devices)
    assert got == wanted


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("family", FUSED)
def test_cuda_graphs_decode_as_without_them(family, rows):
    models = [on_gpu(family) for _ in range(2)]
    recorded = Stack(models[0], recorder=CudaRecorder(models[0].device))
    plain = Stack(models[1])
    for name in METHODS:
        if rows == 1 or not single(name):
            assert outcome(recorded, PROMPTS[:rows], name) == outcome(plain, PROMPTS[:rows], name), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decisions_are_float32_and_arrive_whole(dtype):
    one, other = torch.randn(2, 6, 50, generator=torch.Generator().manual_seed(3)).to(dtype)
    found = cosine(one.cuda(), other.cuda())
    assert found.dtype == torch.float32
    assert_rounded(found.cpu(), cosine(one, other))
    assert HostRead(found).tolist() == found.cpu().tolist()

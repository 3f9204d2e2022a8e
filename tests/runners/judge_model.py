"""A model folder that judges by a rule: its chat template looks at the question, its weights say the rest."""

from pathlib import Path

import torch
from tiny_model import save_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

CONTEXT = 16384
GRADE, PREFERS_FIRST, UNREADABLE = "Fair. Rating: [[7]]", "The first. [[A]]", "Seven, I think."
# The prompt ends with one of these bytes, and the sentence is what follows it.
_CUES = {"1": GRADE, "2": PREFERS_FIRST, "3": UNREADABLE}


def save_judge(folder: Path, unreadable: str) -> None:
    """Write a llama that grades with 7, prefers whoever stands first, and evades one question.

    Parameters
    ----------
    unreadable
        A grade of a conversation with this text is a sentence without a grade.
    """
    fast = save_tokenizer(folder, CONTEXT)
    fast.add_tokens(list(_CUES.values()))
    fast.chat_template = (
        "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
        "{% set asked = messages[-1]['content'] %}"
        "{% if 'Assistant B' in asked %}2{% elif '" + unreadable + "' in asked %}3{% else %}1{% endif %}"
    )
    fast.save_pretrained(folder)
    width = len(fast) + len(fast) % 2
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=CONTEXT,
        eos_token_id=fast.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        # The layer adds nothing, so that the newest token alone decides what is next.
        for matrix in (model.model.layers[0].self_attn.o_proj, model.model.layers[0].mlp.down_proj):
            matrix.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(fast), width))
        model.lm_head.weight.zero_()
        for cue, said in _CUES.items():
            before, after = fast.convert_tokens_to_ids([cue, said])
            model.lm_head.weight[after, before] = 1
            model.lm_head.weight[fast.eos_token_id, after] = 1
    model.save_pretrained(folder)

"""A tiny random llama with a byte-level tokenizer, saved like any other model folder."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

EOS = "<|end|>"
CONTEXT = 1024
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def save_tokenizer(folder: Path, context: int = CONTEXT) -> PreTrainedTokenizerFast:
    """One token a byte, and one that ends an answer."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {byte: index for index, byte in enumerate([*alphabet, EOS])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, model_max_length=context)
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return fast


def save_model(folder: Path, context: int = CONTEXT) -> None:
    """Weights so large that answers vary, loops are rare, and the two best logits are far apart."""
    fast = save_tokenizer(folder, context)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
        eos_token_id=fast.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        # Answers of all kinds: some end by themselves, some with their line, some at the limit.
        for token, scale in ((fast.eos_token_id, 1.25), (fast.convert_tokens_to_ids("Ċ"), 1.25)):
            model.lm_head.weight[token] *= scale
        for layer in model.model.layers:
            layer.mlp.down_proj.weight *= 0.2
    model.save_pretrained(folder)

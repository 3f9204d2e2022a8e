"""Tiny models as files: a folder of safetensors, and a GGUF."""

from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tiny import VOCABULARY, tiny_model

WORDS = ["<unk>", "<s>", "</s>"] + [f"word{i}" for i in range(VOCABULARY - 3)]
# Of the GGUF's byte-pair tokenizer: bytes as GPT-2 writes them, and what its one merge makes of two.
BYTES = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
PAIRS = ["<unk>", "<s>", "</s>", "ab", "cd", *BYTES]
PAIRS += [f"unused{i}" for i in range(VOCABULARY - len(PAIRS))]


def save_tokenizer(folder: Path) -> None:
    """A tokenizer of one token a word, whose end token is 2."""
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>").save_pretrained(
        folder
    )


def save_model(folder: Path, name: str = "llama") -> Any:
    """A complete model folder; the model it holds."""
    model = tiny_model(name)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return model


def write_gguf(file: Path, architecture: str = "llama") -> Any:
    """The tiny llama as a float32 GGUF with a byte-pair tokenizer; the model it holds."""
    model = tiny_model("llama")
    config, state = model.config, model.state_dict()
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(PAIRS)
    writer.add_token_types([3, 3, 3] + [1] * (VOCABULARY - 3))
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, tensor in [
        ("token_embd.weight", state["model.embed_tokens.weight"]),
        ("output_norm.weight", state["model.norm.weight"]),
        ("output.weight", state["lm_head.weight"]),
        *layer_tensors(state, config),
    ]:
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def layer_tensors(state: dict[str, Tensor], config: Any) -> list[tuple[str, Tensor]]:
    names = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    found = []
    for layer in range(config.num_hidden_layers):
        for short, path in names.items():
            tensor = state[f"model.layers.{layer}.{path}.weight"]
            if short in heads:
                tensor = interleaved(tensor, heads[short])
            found.append((f"blk.{layer}.{short}.weight", tensor))
    return found


def interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of a projection in GGUF's rotary layout: pairs side by side instead of halves apart."""
    rows = weight.shape[0] // heads
    return weight.view(heads, 2, rows // 2, -1).transpose(1, 2).reshape(weight.shape).contiguous()


def logits_of(model: Any) -> Tensor:
    """Something that shows any change of weights."""
    with torch.inference_mode():
        return model(torch.tensor([[5, 81, 13]])).logits

"""Tiny models of every architecture that opens as a GGUF, written as llama.cpp's converter writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import torch

from tiny import VOCABULARY
from tiny_files import PAIRS, interleaved

# Of Gemma's tokenizer, which merges pieces of words by their scores.
PIECES = ["<unk>", "<s>", "</s>", "▁", *(chr(code) for code in range(33, 127)), "ab", "▁ab"]
PIECES += [f"<unused{i}>" for i in range(VOCABULARY - len(PIECES))]
_OWN_NAMES = {"gemma3_text": "gemma3", "mistral": "llama"}
Extra = Callable[[gguf.GGUFWriter], None]


def write_model(file: Path, model: Any, *extras: Extra, without: tuple[str, ...] = ()) -> None:
    """A model as a float32 GGUF with a byte-pair tokenizer.

    Parameters
    ----------
    model
        Of transformers.
    *extras
        More keys and tensors.
    without
        Keys to leave out, by the last part of their names.
    """
    config, kind = model.config, model.config.model_type
    architecture = _OWN_NAMES.get(kind, kind)
    writer = _Writer(file, architecture, without)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(VOCABULARY)
    if kind == "gpt2":
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(_rotary(config)["rope_theta"])
    if getattr(config, "head_dim", None):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if kind in ("gemma2", "gemma3_text", "phi3") and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if kind == "gemma3_text":
        slides = [one == "sliding_attention" for one in config.layer_types]
        writer.add_array(f"{architecture}.attention.sliding_window_pattern", slides)
    if architecture.startswith("gemma"):
        writer.add_tokenizer_model("llama")
        writer.add_token_list(PIECES)
        writer.add_token_scores([-float(number) for number in range(VOCABULARY)])
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(PAIRS)
        writer.add_token_merges(["a b", "c d"])
    writer.add_token_types([3, 3, 3] + [1] * (VOCABULARY - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    for extra in extras:
        extra(writer)
    for name, tensor in _tensors(model, architecture):
        writer.add_tensor(name, tensor.numpy().copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class _Writer(gguf.GGUFWriter):
    def __init__(self, file: Path, architecture: str, without: tuple[str, ...]):
        self._without = without
        super().__init__(file, architecture)

    def add_key_value(self, key: str, *given: Any, **options: Any) -> None:
        if not key.endswith(self._without or "\0"):
            super().add_key_value(key, *given, **options)


def _rotary(config: Any) -> Any:
    return config.rope_parameters.get("full_attention", config.rope_parameters)


def _tensors(model: Any, architecture: str) -> list[tuple[str, torch.Tensor]]:
    config, found = model.config, []
    number = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    for path, tensor in model.state_dict().items():
        if path == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, _, ending = path.rpartition(".")
        name = f"{names.get_name(stem)}.{ending}"
        if architecture == "llama" and name.split(".")[2:3] in (["attn_q"], ["attn_k"]):
            heads = config.num_attention_heads if "attn_q" in name else config.num_key_value_heads
            tensor = interleaved(tensor.reshape(len(tensor), -1), heads).reshape(tensor.shape)
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            tensor = tensor + 1
        if architecture == "gpt2" and tensor.dim() == 2 and name.startswith("blk."):
            tensor = tensor.T.contiguous()
        found.append((name, tensor.detach().float()))
    return found

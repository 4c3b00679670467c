"""GGUF's architectures by the cache that llama.cpp makes for them: `llama_model::create_memory`.

Those with windows and those with states have tables of their own, with what that takes.
"""

from __future__ import annotations


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


# None at all: encoders, and a projector, which has no tokens to keep.
ENCODERS = _named(
    "bert modern-bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert "
    "gemma-embedding wavtokenizer-dec clip"
)
# None either: they look at the whole text anew each time.
DIFFUSION = _named("dream llada llada-moe rnd1")
# Another kind of cache, or other layers than the metadata tells.
OF_THEIR_OWN = _named(
    "deepseek32 deepseek4 glm-dsa glm5-next minimax-01 minimax-m3 hy_v4 dots3note qwen4exp dflash "
    "gemma4-assistant kimi-k3 bailingmoe3 graniteswitch nanbeige qwen3tts pockettts eagle3"
)
# Keys and values of every token in every block.
PLAIN = _named(
    "apertus arcee arctic baichuan bailingmoe bailingmoe2 bitnet bloom chameleon chatglm "
    "codeshell cogvlm command-r dbrx deci deepseek deepseek2 deepseek2-ocr dots1 ernie4_5 "
    "ernie4_5-moe exaone falcon gemma glm4 glm4moe gpt2 gptneox granite granitemoe grok grovemoe "
    "hunyuan-dense hunyuan-moe hunyuan_vl internlm2 jais jais2 llama llama-embed maincoder "
    "minicpm minicpm3 minimax-m2 mistral3 mistral4 mpt nemotron olmo olmoe openelm orion "
    "paddleocr pangu-embedded phi2 phi3 phimoe plamo plm qwen qwen2 qwen2moe qwen2vl qwen3 "
    "qwen3moe qwen3vl qwen3vlmoe refact seed_oss smollm3 stablelm starcoder starcoder2 xverse"
)

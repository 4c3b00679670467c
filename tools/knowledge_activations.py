"""What a forward of each type takes: `python -m tools.knowledge_activations [--only TYPE ...]`.

Each class runs on the meta device at its default widths, with few layers: beside the cache the
peak does not depend on their number. Needs torch and transformers; takes about half an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from modelscope_cli.analysis.memory.activations import Factors
from modelscope_cli.analysis.memory.kv.settings import NotKnown
from modelscope_cli.analysis.memory.widths import Widths, widths
from modelscope_cli.live.exact_run import ExactRun, exact_run
from tools import knowledge_build as building
from tools import knowledge_tables

SHORT, MIDDLE, LONG = 128, 2048, 4096  # tokens
WORDS, SOME = 4_000_000, 512  # a vocabulary so large that logits decide, and tokens for it
FEW = 64  # words: logits are nothing
LAYERS = 4
SECONDS = 30.0
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers",
           "decoder_layers", "num_decoder_layers", "num_encoder_layers", "depth")  # fmt: skip
_POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions", "n_ctx",
              "max_seq_len", "max_sequence_length")  # fmt: skip
# What a type's own defaults lack before anything runs.
_MISSING: Mapping[str, Mapping[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 6, "n_routed_experts": 64, "topk_group": 1,
                    "n_group": 1, "moe_intermediate_size": 1408},
}  # fmt: skip
_BYTES = {"16": ("BF16", 2), "32": ("F32", 4)}


def main(argv: list[str]) -> None:
    """Regenerate all, or the lines of some model types."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TYPE", help="these model types only")
    only = parser.parse_args(argv).only
    found = knowledge_tables.read("activations")
    for model_type in only or building.model_types():
        start = time.monotonic()
        made = record(model_type)
        found.pop(model_type, None)
        if made is not None:
            found[model_type] = made
        print(f"{model_type} {time.monotonic() - start:.1f} s {made}", file=sys.stderr, flush=True)
        knowledge_tables.write("activations", found)


def record(model_type: str) -> dict[str, Any] | None:
    """The factors in 16 and 32 bit, why there are none, or None where nothing runs."""
    for shrunk in (True, False):  # some types say of certain layers what they are
        config = _config(model_type, shrunk=shrunk)
        found = None if config is None else _factors(config)
        if found is not None:
            return found
    return None


def _factors(config: dict[str, Any]) -> dict[str, Any] | None:
    try:
        sizes = widths(config)
    except NotKnown:
        return None
    half = _Runs(config, sizes, *_BYTES["16"]).factors()
    if half is None:
        return None
    full = _Runs(config, sizes, *_BYTES["32"]).like(half)
    made = {"16": half} if full in (None, half) else {"16": half, "32": full}
    usual = Factors()._asdict()
    return {
        bits: {k: v for k, v in each._asdict().items() if v != usual[k]}
        for bits, each in made.items()
    }


def _config(model_type: str, *, shrunk: bool = True) -> dict[str, Any] | None:
    """The default configuration with room for long prompts and, `shrunk`, few layers."""
    from transformers import CONFIG_MAPPING

    try:
        made = CONFIG_MAPPING[model_type](**_MISSING.get(model_type, {}))
        config: dict[str, Any] = json.loads(made.to_json_string(use_diff=False))
    except Exception:
        return None
    _fit(config, LAYERS if shrunk else 1000)
    return config


def _fit(config: dict[str, Any], most: int) -> None:
    before = None
    for key in _LAYERS:
        if isinstance(config.get(key), int) and config[key] > most:
            before, config[key] = config[key], most
    for key, value in config.items():
        if isinstance(value, list) and before == len(value):
            config[key] = value[:most]
        elif isinstance(value, dict):
            _fit(value, most)
        elif key in _POSITIONS and isinstance(value, int):
            config[key] = max(value, 2 * LONG)


class _Runs:
    """Forwards of one type in one dtype; a length is run once."""

    def __init__(self, config: Mapping[str, Any], sizes: Widths, dtype: str, size: int) -> None:
        self.config, self.sizes, self.dtype, self.size = config, sizes, dtype, size
        self.of_few = _with_words(config, FEW)
        self.architecture = _architecture(config)

    def run(self, tokens: int, config: Mapping[str, Any] | None = None) -> ExactRun | None:
        found = exact_run(
            config or self.of_few, self.architecture, context=tokens, dtype=self.dtype,
            seconds=SECONDS,
        )  # fmt: skip
        return found if isinstance(found, ExactRun) else None

    def factors(self) -> Factors | None:
        short = self.run(SHORT)
        if short is None:
            return None
        if not short.given.startswith("text"):
            return self._of_no_text(short)
        long = self.run(LONG)
        late, pair, by_head = self._scores(short, long)
        logits, chooses = self._logits()
        step, step_of = self._step(short, long)
        token = self._token(short, late, pair, by_head)
        return Factors(token, late, pair, by_head, logits, chooses, step, step_of)

    def like(self, half: Factors) -> Factors | None:
        """In another dtype: what is float32 in either takes its share."""
        short = self.run(SHORT)
        if short is None or half.given != "text":
            return None if short is None else half
        found = self._scores(short, self.run(LONG)) if half.pair else (0.0, 0.0, half.by_head)
        late, pair, by_head = found
        token = self._token(short, late, pair, by_head)
        return half._replace(token=token, late=late, pair=pair, by_head=by_head)

    def _token(self, short: ExactRun, late: float, pair: float, by_head: bool) -> float:
        scores = pair * (self.sizes.heads if by_head else 1) * SHORT**2 * self.size
        rest = short.activations.prefill_bytes - int(scores)
        return round(max(self._over(rest, SHORT), late), 3)

    def _of_no_text(self, run: ExactRun) -> Factors:
        sound = _is_sound(run)
        tokens = (self.sizes.frames or 1) if sound else self.sizes.patches
        token = self._over(run.activations.prefill_bytes, tokens)
        return Factors(
            token=round(token, 3), chooses=False, step=0 if run.cache is None else 1.0,
            given="sound" if sound else "picture",
        )  # fmt: skip

    def _over(self, found: int, tokens: int) -> float:
        return found / (self.size * tokens * self.sizes.token)

    def _scores(self, short: ExactRun, long: ExactRun | None) -> tuple[float, float, bool]:
        if long is None:
            return 0.0, 0.0, True
        grown = long.activations.prefill_bytes / short.activations.prefill_bytes
        if grown < 1.05 * LONG / SHORT:
            return 0.0, 0.0, True
        middle = self.run(MIDDLE)
        if middle is None:
            return 0.0, 0.0, True
        two, four = middle.activations.prefill_bytes, long.activations.prefill_bytes
        pair = max(four - 2 * two, 0) / (LONG**2 - 2 * MIDDLE**2)
        late = max(two - pair * MIDDLE**2, 0)
        pair /= self.size
        by_head = pair >= self.sizes.heads / 2
        pair /= self.sizes.heads if by_head else 1
        return round(self._over(int(late), MIDDLE), 3), round(pair, 3), by_head

    def _logits(self) -> tuple[float, bool]:
        """Copies of the logits, with a vocabulary beside which the rest is little."""
        run = self.run(SOME, _with_words(self.config, WORDS))
        if run is None:
            return 1.0, True
        beside = 4 * self.sizes.hidden * SOME * self.size
        every = run.activations.all_logits_bytes
        copies = (every - beside) / (WORDS * SOME * self.size)
        if copies < 0.5:  # it has no words to choose from
            return 0.0, True
        return round(copies, 2), run.activations.prefill_bytes < 0.6 * every

    def _step(self, short: ExactRun, long: ExactRun | None) -> tuple[float, str]:
        if long is None or long.cache is None:
            return (0.0, "keys") if short.cache is None else (Factors().step, "keys")
        grown = long.activations.decode_bytes - short.activations.decode_bytes
        each = max(grown, 0) / (LONG - SHORT) / self.size
        if each > 0.75 * self.sizes.attention and each > 1.25 * self.sizes.keys:
            return round(each / self.sizes.attention, 3), "attention"
        return round(max(each / self.sizes.keys, 0.001), 3), "keys"


def _architecture(config: Mapping[str, Any]) -> str | None:
    """A whole encoder-decoder, not its decoder alone; None: the type's natural class."""
    names = building.class_names(str(config.get("model_type")))
    if config.get("is_encoder_decoder") is not True:
        return None
    return next((name for name in names if name.endswith("ForConditionalGeneration")), None)


def _is_sound(run: ExactRun) -> bool:
    return run.given.startswith("sound")


def _with_words(config: Mapping[str, Any], words: int) -> dict[str, Any]:
    """Another vocabulary, and ids of special tokens that it has."""
    made: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            made[key] = _with_words(value, words)
        elif key == "vocab_size":
            made[key] = words
        elif key.endswith("_token_id") and isinstance(value, int):
            made[key] = min(value, words - 1)
        else:
            made[key] = value
    return made


if __name__ == "__main__":
    main(sys.argv[1:])

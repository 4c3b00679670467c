"""transformers' own configuration classes: what a config.json leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.errors import MissingExtra
from modelscope_cli.facts import Unknown


def resolved(config: Mapping[str, Any]) -> dict[str, Any] | Unknown:
    """A config.json with the defaults of its model type filled in, as transformers has them.

    Unknown for a model type that this transformers does not know, or a configuration that its
    class refuses. Remote code (`auto_map`) is never run. Raises MissingExtra.
    """
    try:
        from transformers import CONFIG_MAPPING, logging
        from transformers import __version__ as version
    except ImportError as error:
        raise MissingExtra(
            "--resolved asks transformers, which is not installed", "live"
        ) from error
    logging.set_verbosity_error()  # its warnings quote the file's strings as they are
    model_type = config.get("model_type")
    if model_type is None:
        return Unknown("no model_type in this configuration")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return Unknown(f"transformers {version} has no model type {model_type!r}")
    try:
        filled = CONFIG_MAPPING[model_type].from_dict(dict(config)).to_dict()
    except Exception as error:  # its classes raise what they like on values they refuse
        return Unknown(f"transformers {version} refuses it: {type(error).__name__}: {error}")
    return {str(key): _string_keys(value) for key, value in {**config, **filled}.items()}


def _string_keys(value: Any) -> Any:
    """As the file would have it: transformers holds the keys of `id2label` as numbers."""
    if isinstance(value, Mapping):
        return {str(key): _string_keys(item) for key, item in value.items()}
    return list(map(_string_keys, value)) if isinstance(value, (list, tuple)) else value

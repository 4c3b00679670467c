"""Schemes that are printed of models but cannot be asked for: the error says which way they go."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis import packing
from modelscope_cli.errors import UsageError
from modelscope_cli.schemes import READ_ONLY


@pytest.mark.parametrize("scheme", READ_ONLY)
def test_a_scheme_that_is_only_read_says_so(scheme: str) -> None:
    with pytest.raises(UsageError) as refusal:
        packing.named(scheme)
    assert refusal.value.hint == f"{scheme} can be read out of a model, but not written"

"""When a request is made again: waits, limits, and what servers ask for."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from modelscope_cli.sources.hub import retry as hub_retry
from modelscope_cli.sources.hub.retry import NoAnswer

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 120 "}, 120.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after": "Wed, 99 Foo 2099 00:00:00 GMT"}, None),
        ({"ratelimit": '"api";r=0;t=55'}, 55.0),
        ({"ratelimit": '"api";r=1;t=55'}, None),
        ({"ratelimit": "nonsense"}, None),
        ({}, None),
    ],
)
def test_what_servers_ask_for(headers: dict[str, str], seconds: float | None) -> None:
    assert hub_retry.retry_after(429, headers, NOW) == seconds


def test_only_a_rate_limit_has_a_window() -> None:
    assert hub_retry.retry_after(503, {"ratelimit": '"api";r=0;t=55'}, NOW) is None


def test_waits_double_and_end() -> None:
    waits = [hub_retry.wait_before(tries, 503, {}, None) for tries in range(1, 7)]
    assert waits == [0.5, 1.0, 2.0, 4.0, None, None]


@pytest.mark.parametrize(
    ("kind", "tries"),
    [("time-out", 3), ("slow", 2), ("broken", 4), ("connect", 2), ("name", 1), ("other", 1)],
)
def test_each_trouble_has_its_number_of_tries(kind: str, tries: int) -> None:
    problem = NoAnswer(kind, "x")
    waits = [hub_retry.wait_before(count, 0, {}, problem) for count in range(1, 9)]
    assert waits.index(None) == tries - 1


def test_more_than_a_minute_is_not_waited() -> None:
    assert hub_retry.wait_before(1, 429, {"retry-after": "60"}, None) == 60.0
    assert hub_retry.wait_before(1, 429, {"retry-after": "61"}, None) is None


def test_one_rate_limit_holds_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(hub_retry, "monotonic", lambda: now[0])
    monkeypatch.setattr(hub_retry, "pause", lambda seconds: now.__setitem__(0, now[0] + seconds))
    gate = hub_retry.Gate()
    gate.close_for(5, shared=True)
    assert now[0] == 0
    gate.wait()
    assert now[0] == 5
    gate.close_for(2, shared=False)
    assert now[0] == 7


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("time-out", "", "h did not answer in time"),
        ("slow", "2 bytes a second", "h sends too slowly: 2 bytes a second"),
        ("connect", "refused", "h cannot be reached: refused"),
        ("connect", "CERTIFICATE_VERIFY_FAILED", "h: its certificate is not trusted"),
        ("broken", "cut", "h: the connection broke: cut"),
    ],
)
def test_what_is_said_at_last(kind: str, text: str, said: str) -> None:
    message, hint = hub_retry.explained(NoAnswer(kind, text), "h")
    assert message.startswith(said)
    assert hint

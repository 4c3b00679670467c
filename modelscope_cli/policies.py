"""Where the policy of an audit comes from: a file that is named, or the nearest settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from modelscope_cli import belonging, places, settings
from modelscope_cli.audit import policy_file
from modelscope_cli.audit.policy_file import Policies, Typed
from modelscope_cli.errors import UsageError
from modelscope_cli.report import Report


class Asked(NamedTuple):
    """What the command line says of the policy; it is stronger than any file."""

    path: str | None = None
    select: Sequence[str] | None = None
    ignore: Sequence[str] | None = None
    fail_on: str | None = None
    strict: bool = False


def load(
    models: Sequence[str], asked: Asked, config: str | None, *, isolated: bool = False
) -> Policies:
    """The policy for `models`: a named file's, `--config`'s, the nearest settings', or none.

    One that lies in a model under audit is never used. Raises UsageError.
    """
    found = _from_file(models, asked.path, config, isolated=isolated)
    found = found._replace(
        base=found.base._replace(strict=found.base.strict or asked.strict),
        fail_on=asked.fail_on or found.fail_on,
        typed=Typed(asked.select or (), asked.ignore or ()),
    )
    found.require_rules()
    return found


def _from_file(
    models: Sequence[str], path: str | None, config: str | None, *, isolated: bool
) -> Policies:
    if path is not None:
        belonging.refuse(path, models, "--policy")
        return _read(path, settings.document(path, "--policy"), required=True)
    if config is not None:
        belonging.refuse(config, models, "--config")
        return _read(config, settings.document(config, "--config"))
    if isolated:
        return Policies()
    near = settings.find(belonging.folders(models)).path
    return Policies() if near is None else _read(near, settings.document(near))


def _read(path: str, document: dict[str, Any], *, required: bool = False) -> Policies:
    """The `[audit]` table of a document, or `[tool.mscope.audit]`."""
    tool = document.get("tool")
    ours = tool.get("mscope") if isinstance(tool, dict) else None
    shared = isinstance(ours, dict) and "audit" in ours
    table = ours.get("audit") if shared and isinstance(ours, dict) else document.get("audit")
    if table is None and not required:
        return Policies(path=path)
    if not isinstance(table, dict):
        raise UsageError(f"{path}: has no [audit] table", "mscope audit --init writes one")
    place = "tool.mscope.audit" if shared else "audit"
    own = {key: value for key, value in table.items() if _is_policy(key)}
    return policy_file.read(table if required else own, path, place)


def _is_policy(key: str) -> bool:
    """Whether a key is the policy's; others are settings of the command, and checked as such."""
    return key.replace("-", "_") in policy_file.NAMES


def write_start() -> Report:
    """`--init`: a commented policy as `mscope.toml` here.

    Raises UsageError where a file of that name is, or none can be written.
    """
    path = settings.OWN_FILE
    try:
        with (
            open(places.data("policy.toml"), encoding="utf-8") as start,
            open(path, "x", encoding="utf-8") as target,
        ):
            target.write(start.read())
    except FileExistsError as error:
        raise UsageError(f"{path}: is there already, and stays as it is") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    return Report(
        "audit-init",
        None,
        f"{path}: written, to be changed; `mscope audit MODEL` takes it from here and from below",
        lambda folded: [],
        lambda: {"path": path},
        ("path",),
        lambda: iter([{"path": path}]),
    )

"""Shell completion: the scripts for bash, zsh and fish, and the program's side of the talk.

Typer's own scripts lose words with a colon (`builtin:huozi3`) and never offer file names
beside candidates, so these are ours. A script runs the program with `_MSCOPE_COMPLETE=<shell>`
and reads a line `words` or `files` (may file names stand here too?), then `value<TAB>help` lines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.errors import UsageError, did_you_mean

SHELLS = ("bash", "zsh", "fish")
# What a candidate may hold: it is put on a command line, and some come from names on the disk.
_HARMLESS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@=+,%")
_TAKES_FILES = frozenset({"MODEL", "FILE", "DIR", "OTHER"})  # metavars, brackets removed

_BASH = r"""# bash completion for mscope, as printed by: mscope --show-completion bash
_mscope() {
    local kind= value help
    COMPREPLY=()
    while IFS=$'\t' read -r value help; do
        if [[ -z $kind ]]; then
            kind=$value
        else
            COMPREPLY+=("$value")
        fi
    done < <(_MSCOPE_COMPLETE=bash "${1/#\~\//$HOME/}" "${COMP_LINE:0:COMP_POINT}" \
        "$COMP_WORDBREAKS" 2>/dev/null)
    [[ $kind == files ]] || return 0
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
        compopt -o default
    else
        compopt -o filenames
        while IFS= read -r value; do
            COMPREPLY+=("$value")
        done < <(compgen -f -- "$2")
    fi
}
complete -F _mscope mscope
"""

_ZSH = r"""#compdef mscope
# zsh completion for mscope, as printed by: mscope --show-completion zsh
_mscope() {
    local kind line value ret=1
    local -a lines options others
    lines=("${(@f)$(_MSCOPE_COMPLETE=zsh "${words[1]/#\~\//$HOME/}" \
        "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    kind=$lines[1]
    for line in "${(@)lines[2,-1]}"; do
        value=${line%%$'\t'*}
        line=${value//:/\\:}:${line#*$'\t'}
        if [[ $value == -* ]]; then
            options+=("$line")
        else
            others+=("$line")
        fi
    done
    (( $#options )) && _describe -o option options && ret=0
    (( $#others )) && _describe -t values value others && ret=0
    [[ $kind == files ]] && _files && ret=0
    return ret
}
if [[ $funcstack[1] == _mscope ]]; then
    _mscope "$@"
else
    compdef _mscope mscope
fi
"""

_FISH = r"""# fish completion for mscope, as printed by: mscope --show-completion fish
function __mscope_complete
    set -l words (commandline -opc)
    set -l current (string replace -r '^["\']' '' -- (commandline -ct))
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -e words[1]
    set -l lines (env _MSCOPE_COMPLETE=fish $program $words "$current" 2>/dev/null)
    if test "$lines[1]" = files
        complete -C "'' "(commandline -ct)
    end
    set -e lines[1]
    string join \n -- $lines
end
complete -c mscope -f -a '(__mscope_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


class Line(NamedTuple):
    """The words before the one being completed, that word, and how many characters of it stay.

    `kept` is not 0 only in bash, which replaces no more than what follows the last break.
    """

    words: list[str]
    incomplete: str
    kept: int = 0


def script(shell: str) -> str:
    """The completion script of a shell. Raises UsageError for a shell without one."""
    if shell not in _SCRIPTS:
        known = ", ".join(SHELLS)
        raise UsageError(
            f"--show-completion: no script for {shell!r}, only for {known}",
            did_you_mean(shell, SHELLS),
        )
    return _SCRIPTS[shell]


def requested(program: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a completion script is asking, rather than a person."""
    return _variable(program) in environ


def answer(command: Any, program: str) -> int:
    """Print the candidates for the words in `sys.argv`. Errors are silent: a prompt is open."""
    import contextlib
    import io
    import sys

    shell = os.environ.get(_variable(program), "")
    lines: list[str] = []
    # A callback that prints (`--version` stands on the line) must not reach the shell.
    with (
        contextlib.suppress(Exception),
        contextlib.redirect_stdout(io.StringIO()) as silenced,
        contextlib.redirect_stderr(silenced),
    ):
        line = bash_line(*sys.argv[1:3]) if shell == "bash" else plain_line(sys.argv[1:])
        lines.extend(_lines(command, program, line))  # what came before an error stays
    sys.stdout.writelines(lines)
    return 0


def plain_line(arguments: Sequence[str]) -> Line:
    """The words as zsh and fish hand them over, the incomplete one last."""
    return Line(list(arguments[:-1]), arguments[-1] if arguments else "")


def bash_line(text: str = "", breaks: str = "") -> Line:
    """The line up to the cursor, cut into words as bash does it; the program's name is left out.

    `breaks` is `$COMP_WORDBREAKS`: at an unquoted one of these (a colon, say) bash starts anew
    with what it completes although the argument goes on, and so it does after an open quote.
    """
    words: list[str] = []
    word, cut, opened, quote, started, escaped = "", 0, 0, "", False, False
    for character in text:
        if escaped:
            word, escaped = word + character, False
        elif character == "\\" and quote != "'":
            escaped = started = True
        elif quote:
            quote, word = ("", word) if character == quote else (quote, word + character)
        elif character in "'\"":
            quote, opened, started = character, len(word), True
        elif not character.isspace():
            word, started = word + character, True
            cut = len(word) if character in breaks else cut
        else:
            words += [word] if started else []
            word, cut, started = "", 0, False
    return Line(words[1:], word, opened if quote else cut)


def _variable(program: str) -> str:
    return f"_{program.upper()}_COMPLETE"


def _lines(command: Any, program: str, line: Line) -> Iterator[str]:
    # Typer's own Click; `get_completions` is these three calls, but tells no parameter.
    from typer._click.shell_completion import _resolve_context, _resolve_incomplete

    context = _resolve_context(command, {}, program, line.words)
    asked, incomplete = _resolve_incomplete(context, line.words, line.incomplete)
    before = line.incomplete[: len(line.incomplete) - len(incomplete)]  # `--format=`
    metavar = (getattr(asked, "metavar", None) or "").strip("[].")
    # Bash would complete only what follows the break as if it were a whole path.
    yield "files\n" if metavar in _TAKES_FILES and not line.kept else "words\n"
    for item in asked.shell_complete(context, incomplete):
        value = f"{before}{item.value}"[line.kept :]
        if value and _HARMLESS.issuperset(value):
            yield f"{value}\t{_one_line(item.help)}\n"


def _one_line(help_text: str | None) -> str:
    return " ".join((help_text or "").split())

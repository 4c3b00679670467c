# bash completion for mscope, as printed by: mscope --show-completion bash
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

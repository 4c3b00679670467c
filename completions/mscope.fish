# fish completion for mscope, as printed by: mscope --show-completion fish
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

# bash completion for pseudomask: `source` this file, or put it into
# ~/.local/share/bash-completion/completions/pseudomask
_pseudomask_completion() {
    local IFS=$'\n'
    COMPREPLY=($(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \
        _PSEUDOMASK_COMPLETE=complete_bash "$1" 2>/dev/null))
}
complete -o default -F _pseudomask_completion pseudomask

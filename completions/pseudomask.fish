# fish completion for pseudomask: put this file into ~/.config/fish/completions
function __pseudomask_complete
    env _PSEUDOMASK_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \
        _TYPER_COMPLETE_ARGS=(commandline -cp) pseudomask 2>/dev/null
end
complete --command pseudomask --condition "__pseudomask_complete is-args" --arguments "(__pseudomask_complete get-args)"

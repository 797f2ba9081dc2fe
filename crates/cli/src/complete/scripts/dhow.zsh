#compdef dhow
# Completion of dhow's command lines for zsh: source <(dhow completion zsh), or this text in a file
# called _dhow somewhere in $fpath.

_dhow() {
    local answer line word beside=0
    local -a names shown space
    answer=$("${(Q)words[1]}" __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null) || return 1
    for line in "${(@f)answer}"; do
        if [[ $line == :* ]]; then
            beside=${line#:}
            continue
        fi
        word=${line%%$'\t'*}
        names+=("$word")
        if [[ $line == *$'\t'* ]]; then
            shown+=("$word -- ${line#*$'\t'}")
        else
            shown+=("$word")
        fi
    done
    # Behind --flag= only the value is completed.
    [[ ${words[CURRENT]} == -*=* ]] && compset -P 1 '*='
    (( beside & 2 )) && space=(-S '')
    (( $#names )) && compadd -l "${space[@]}" -d shown -a names
    if (( beside & 16 )); then
        _files -/
    elif (( ! (beside & 4) )); then
        _files
    fi
}

# Sourced, it is to be registered; from $fpath it is called for what it is.
if [[ ${funcstack[1]} == _dhow ]]; then
    _dhow "$@"
else
    compdef _dhow dhow
fi

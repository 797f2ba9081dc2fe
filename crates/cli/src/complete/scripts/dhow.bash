# Completion of dhow's command lines for bash: source <(dhow completion bash)

# Bash takes words apart at the characters of COMP_WORDBREAKS, = and : among them. What stands
# together in the line is one word again here.
__dhow_words() {
    local line=${COMP_LINE:0:COMP_POINT} word i
    __dhow_typed=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        # The word under the cursor counts up to the cursor.
        ((i == COMP_CWORD)) && [[ $line != *"$word"* ]] && word=${line##*[[:space:]=:]}
        if ((i > 0)) && [[ $line != [[:space:]]* ]] &&
            [[ $word == [=:]* || ${COMP_WORDS[i-1]} == *[=:] ]]; then
            __dhow_typed[-1]+=$word
        else
            __dhow_typed+=("$word")
        fi
        line=${line#*"$word"}
    done
}

_dhow() {
    local -a __dhow_typed
    local cur answer line beside=0
    COMPREPLY=()
    __dhow_words
    cur=${__dhow_typed[-1]}
    answer=$("${__dhow_typed[0]}" __complete "${__dhow_typed[@]:1}" 2>/dev/null) || return
    [[ $cur == -*=* ]] && cur=${cur#*=}
    # Bash replaces only what is behind the last of these.
    local kept=${cur%"${cur##*[=:]}"}
    while IFS= read -r line; do
        if [[ $line == :* ]]; then
            beside=${line#:}
        else
            line=${line%%$'\t'*}
            COMPREPLY+=("${line#"$kept"}")
        fi
    done <<<"$answer"
    ((beside & 2)) && compopt -o nospace 2>/dev/null
    if ((beside & 16)); then
        compopt -o filenames 2>/dev/null
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$cur")
    elif ! ((beside & 4)); then
        compopt -o filenames 2>/dev/null
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
    fi
}

complete -F _dhow dhow

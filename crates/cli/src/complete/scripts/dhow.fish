# Completion of dhow's command lines for fish: dhow completion fish | source

# Fills __dhow_found with what fits, and __dhow_beside with what the shell does beside.
function __dhow_ask
    set -l typed (commandline -opc) (commandline -ct)
    set -l answer (command $typed[1] __complete $typed[2..-1] 2>/dev/null)
    set -g __dhow_beside 4
    set -g __dhow_found
    # Behind --flag= fish wants the whole word back.
    set -l before (string match -r -- '^-[^=]*=' $typed[-1])
    for line in $answer
        if string match -q -- ':*' $line
            set -g __dhow_beside (string sub -s 2 -- $line)
        else
            set -a __dhow_found "$before[1]$line"
        end
    end
end

# Whether files fit as well; asked first, so that the other conditions find the answer.
function __dhow_with_files
    __dhow_ask
    test $__dhow_beside -eq 0 -o $__dhow_beside -eq 16
end

complete -c dhow -e
complete -c dhow -n __dhow_with_files -F -k -a '$__dhow_found'
complete -c dhow -n 'not __dhow_with_files' -f -k -a '$__dhow_found'

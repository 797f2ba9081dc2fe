# Runs a command that installs packages, while none of their services can start, and leaves none enabled.
# usage: sh packages.sh ROOT COMMAND [ARGUMENT...]
# What was there is put back however this ends. Where even that was prevented, the next run does it.
set -u
root=$1; shift
policy=$root/usr/sbin/policy-rc.d
aside=$policy.dhow-aside
kept=$root/run/lock/dhow-packages-enabled
ours='# dhow: nothing starts while packages are installed.'

# Two runs at once would each take the other's policy for the machine's.
mkdir -p "$root/run/lock" || exit 1
exec 9>"$root/run/lock/dhow-packages" || exit 1
flock 9 || exit 1

exists() { [ -e "$1" ] || [ -L "$1" ]; }
restore() {
    rm -f "$policy.dhow-new"
    if exists "$aside"; then
        mv -f "$aside" "$policy"
    elif [ -f "$policy" ] && grep -qxF "$ours" "$policy"; then
        rm -f "$policy"
    fi
}
# An enabled unit is a link. One to /dev/null keeps a unit from starting.
enabled() {
    for directory in "$root/etc/systemd/system" "$root/etc/systemd/user"; do
        [ ! -d "$directory" ] || find "$directory" -type l ! -lname /dev/null
    done
}
disable_new() {
    enabled | while IFS= read -r link; do
        printf '%s\n' "$before" | grep -qxF -e "$link" || rm -f "$link"
    done
    # The first process of a machine that runs systemd has read the links.
    [ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
}
finish() { disable_new; restore; rm -f "$kept"; }

restore
# Of a run that was killed, what it had found counts: the units that it enabled are no old ones.
[ -f "$kept" ] || { enabled >"$kept.new" && mv "$kept.new" "$kept"; } || exit 1
before=$(cat "$kept")
# A shell that waits for a command hears of a signal when the command has ended.
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
! exists "$policy" || mv "$policy" "$aside" || exit 1
printf '#!/bin/sh\n%s\nexit 101\n' "$ours" >"$policy.dhow-new" || exit 1
chmod 755 "$policy.dhow-new" && mv "$policy.dhow-new" "$policy" || exit 1
"$@" 9>&-
exit $?

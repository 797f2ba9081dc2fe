# Runs a suite where it can harm nothing: sandbox.sh GROUP all|v1 PROGRAM...
#
# Its processes are in a pid namespace that ends with it, its mounts in a mount namespace, and its control groups below
# GROUP, which a cgroup namespace shows as the root of every hierarchy. What it leaves frozen is ended with GROUP. Its
# files are in memory, at TMPDIR.
# With v1 the hierarchy of version 2 beside those of version 1 is left out.
set -eu
group=$1 layout=$2
shift 2
mounts=$(awk '{ for (i = 7; $i != "-"; i++); if ($(i + 1) ~ /^cgroup2?$/) print $5, $(i + 1), $(i + 3) }' /proc/self/mountinfo)
while read -r place type options; do
    mkdir -p "$place/$group"
    if [ "$type" = cgroup ] && [ -e "$place/$group/cpuset.mems" ]; then
        cat "$place/cpuset.cpus" >"$place/$group/cpuset.cpus"
        cat "$place/cpuset.mems" >"$place/$group/cpuset.mems"
    fi
    echo $$ >"$place/$group/cgroup.procs"
done <<EOF
$mounts
EOF
export mounts layout
exec unshare --mount --pid --cgroup --fork --kill-child --mount-proc --propagation slave sh -euc '
mount -t tmpfs -o mode=1777 tmpfs "$TMPDIR"
cd "$PWD"
umount --recursive /sys/fs/cgroup
case $mounts in
"/sys/fs/cgroup cgroup2 "*)
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # Controllers are for groups without processes of their own.
    mkdir /sys/fs/cgroup/suite
    echo 1 >/sys/fs/cgroup/suite/cgroup.procs
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
    done
    ;;
*)
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    echo "$mounts" | while read -r place type options; do
        [ "$layout/$type" != v1/cgroup2 ] || continue
        mkdir "$place"
        words=$(echo "$options" | tr , "\n" | grep -vxE "rw|ro" | paste -sd,)
        mount -t "$type" -o "${words:-rw}" "$type" "$place"
    done
    ;;
esac
# This shell stays the first process, and reaps what tests leave: script(1) in its place would spin.
"$@"
exit "$?"
' sh "$@"

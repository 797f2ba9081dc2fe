# As much of util-linux's Python library as crun's suite calls, which Debian does not have.


class _Mount:
    def __init__(self, line):
        own, _, others = line.partition(" - ")
        words = own.split()
        self.target = words[4]
        self.vfs_options = words[5]
        self.fs_options = others.split()[2]


class Table:
    """A table of mounts, in the form of /proc/self/mountinfo."""

    def __init__(self, path):
        with open(path) as table:
            self.mounts = [_Mount(line) for line in table if " - " in line]

    def find_target(self, path):
        """What is mounted there last."""
        return next(mount for mount in reversed(self.mounts) if mount.target == path)

# What AppArmor keeps the containers of dhow from. Namespaces, capabilities and the filter of system calls
# leave little of it open; this holds where one of them was given away, as by --cap-add SYS_ADMIN.

profile dhow-default flags=(attach_disconnected, mediate_deleted) {
  capability,
  file,
  network,
  umount,

  # By a mount everything below would be reached under another name.
  deny mount,

  # Whoever manages the container, under a profile of its own where the host has given it one.
  signal (receive) peer=unconfined,
  signal (receive) peer=dhow,
  signal (receive) peer=/usr/{,local/}{,s}bin/dhow,
  # Processes see, and act on, those of containers alone: those of the host that they can name are not.
  signal (send, receive) peer=dhow-default,
  ptrace (read, readby, trace, tracedby) peer=dhow-default,

  # Of /proc a container writes to what belongs to processes, and to parameters of its shared memory.
  deny /proc/* w,
  deny /proc/[^0-9s]*/** w,
  deny /proc/s[^y]*/** w,
  deny /proc/sy[^s]*/** w,
  deny /proc/sys[^/]*/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/k[^e]** w,
  deny /proc/sys/kernel/[^s]** w,
  deny /proc/sys/kernel/s[^h]** w,
  deny /proc/sys/kernel/sh[^m]** w,
  deny /proc/{kcore,kmem,mem,sysrq-trigger} rwklx,

  # Of /sys to control groups.
  deny /sys/[^f]** wklx,
  deny /sys/f[^s]** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/fs/cg[^r]** wklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
}

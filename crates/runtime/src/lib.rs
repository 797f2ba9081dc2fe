//! Runs one OCI bundle: plans the init, builds namespaces, rootfs, capabilities, seccomp.

//! File systems whose files are the kernel itself: procfs, sysfs, control groups and their like.
//!
//! Owns the list of them. Whoever copies trees neither walks through these nor makes files there.

use std::os::fd::AsFd;

use rustix::io::Errno;

/// Numbers of linux/magic.h: proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, selinuxfs, bpf,
/// pstore, efivarfs, configfs, nsfs, pidfs.
const MAGICS: [u64; 14] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xf97c_ff8c,
    0xcafe_4a11,
    0x6165_676c,
    0xde5e_81e4,
    0x6265_6570,
    0x6e73_6673,
    0x5049_4446,
];

/// Whether what `fd` is open on, with `O_PATH` perhaps, is one of the kernel's own interfaces.
///
/// # Errors
/// What `fstatfs(2)` gives.
pub fn is_kernel_fs(fd: impl AsFd) -> Result<bool, Errno> {
    let kind = rustix::fs::fstatfs(fd)?.f_type;
    // The kernel's numbers have 32 bits; where `f_type` is signed, the upper ones are its sign.
    Ok(MAGICS.contains(&(u64::from_ne_bytes(kind.to_ne_bytes()) & 0xffff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_told_from_others() {
        let is = |path: &str| is_kernel_fs(std::fs::File::open(path).unwrap()).unwrap();
        assert!(is("/proc") && is("/proc/self/status") && is("/sys") && is("/proc/self/ns/mnt"));
        assert!(!is("/") && !is("/tmp"));
    }
}

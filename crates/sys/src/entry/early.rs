//! In place of the C library's beginning: a command that enters a container becomes its sealed image.
//!
//! Nothing of the C library works here, not even `memcpy`: which one suits the processor is decided later. So
//! bytes are read as volatile ones, which keeps the compiler from finding such a function in a loop, and nothing
//! is moved that does not fit into a register.

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_long};

use super::{ENTERING, INIT_NAME, RUNTIME, RUNTIME_NAME};

const AT_FDCWD: usize = libc::AT_FDCWD.cast_unsigned() as usize;
const SEALED: &CStr = super::RUNTIME_SEALED;

// Where the kernel begins (System V ABI for AMD64, "Process Initialization"): the stack pointer is divisible
// by 16 and at the number of arguments, `rdx` is the C library's. The word below the number is kept free.
// SAFETY: the name is nobody else's, and all is as it was when the C library's beginning begins.
global_asm!(
    ".globl dhow_start",
    ".type dhow_start, @function",
    "dhow_start:",
    "mov r12, rdx",
    "mov rdi, rsp",
    "sub rsp, 16",
    "call {begin}",
    "add rsp, 16",
    "mov rdx, r12",
    "jmp _start",
    ".size dhow_start, . - dhow_start",
    begin = sym begin,
);

/// Executes the sealed image if the command asks for it. Returns if it does not, or if that fails.
extern "C" fn begin(stack: Stack) {
    let Some(name) = stack.argument(0) else { return };
    let behind = if name.ends_in(RUNTIME_NAME) { 0 } else { 1 };
    let is_role = || stack.argument(1).is_some_and(|word| word.is(RUNTIME));
    let is_runtime = behind == 0 || (is_role() && !name.ends_in(INIT_NAME));
    let mut index = behind;
    while is_runtime && let Some(word) = stack.argument(index) {
        if ENTERING.iter().any(|verb| word.is(verb)) {
            return seal(stack, behind);
        }
        index += 1;
    }
}

/// Executes a read-only clone of this program's mount, with the words in front of its arguments that say so.
fn seal(stack: Stack, behind: usize) {
    let clone = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    let program = c"/proc/self/exe".as_ptr().expose_provenance();
    // SAFETY: a path that ends with a null byte.
    let tree = unsafe { call(libc::SYS_open_tree, AT_FDCWD, program, clone as usize, 0, 0) };
    let Ok(tree) = usize::try_from(tree) else { return };
    let here = c"".as_ptr().expose_provenance();
    let empty = libc::AT_EMPTY_PATH as usize;
    let read_only = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
    let (attributes, size) = (read_only.as_ptr().expose_provenance(), size_of_val(&read_only));
    // SAFETY: a `struct mount_attr` of that size, which lives during the call.
    let set = unsafe { call(libc::SYS_mount_setattr, tree, here, empty, attributes, size) };
    if set == 0 {
        // Two words in front of the arguments; one of them is the last that is not passed on.
        let first = stack.place(behind).wrapping_sub(2);
        let variables = stack.place(stack.count() + 1).expose_provenance();
        let kept = [read(first), read(first.wrapping_add(1))];
        write(first, c"dhow".as_ptr().expose_provenance());
        write(first.wrapping_add(1), SEALED.as_ptr().expose_provenance());
        let words = first.expose_provenance();
        // SAFETY: both are lists of strings that end with null: the kernel's, and two words in front of it.
        unsafe { call(libc::SYS_execveat, tree, here, words, variables, empty) };
        write(first, kept[0]);
        write(first.wrapping_add(1), kept[1]);
    }
    // SAFETY: nobody else knows the descriptor.
    unsafe { call(libc::SYS_close, tree, 0, 0, 0, 0) };
}

/// What the kernel has laid out: the number of arguments, they, null, the environment, null. The word below
/// is free.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Stack(*mut usize);

impl Stack {
    fn count(self) -> usize {
        read(self.0)
    }

    /// Where the pointer to an argument is, or to null behind the last.
    fn place(self, index: usize) -> *mut usize {
        self.0.wrapping_add(1 + index)
    }

    /// None behind the last.
    fn argument(self, index: usize) -> Option<Text> {
        (index < self.count()).then(|| Text(read(self.place(index))))
    }
}

/// A string of the command line.
#[derive(Clone, Copy)]
struct Text(usize);

impl Text {
    fn byte(self, index: usize) -> u8 {
        let at = core::ptr::with_exposed_provenance::<u8>(self.0 + index);
        // SAFETY: callers go on behind a byte only if it was not null, so it is within the string.
        unsafe { at.read_volatile() }
    }

    fn is(self, word: &str) -> bool {
        self.is_from(0, word)
    }

    fn is_from(self, start: usize, word: &str) -> bool {
        let mut at = start;
        for byte in word.as_bytes() {
            if self.byte(at) != *byte {
                return false;
            }
            at += 1;
        }
        self.byte(at) == 0
    }

    /// Whether this path's last part is that name.
    fn ends_in(self, name: &str) -> bool {
        let (mut at, mut last) = (0, 0);
        while self.byte(at) != 0 {
            at += 1;
            if self.byte(at - 1) == b'/' {
                last = at;
            }
        }
        self.is_from(last, name)
    }
}

fn read(place: *mut usize) -> usize {
    // SAFETY: `Stack` gives places within what the kernel has laid out, and the one below it.
    unsafe { place.read_volatile() }
}

fn write(place: *mut usize, word: usize) {
    // SAFETY: as in `read`; nobody else reads it yet.
    unsafe { place.write_volatile(word) }
}

/// A system call.
///
/// # Safety
/// The call's own.
#[expect(clippy::too_many_arguments, reason = "it has as many")]
unsafe fn call(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize) -> c_long {
    let returned;
    // SAFETY: the kernel's convention: it changes `rax`, `rcx` and `r11`, and memory as the call says.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => returned,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    returned
}

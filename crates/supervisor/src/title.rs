//! What a process is called where processes are listed (`ps`, `/proc/PID/cmdline`).
//!
//! The kernel is told where else the command line is to be found (`PR_SET_MM_MAP`, Linux 3.18; no rights are needed). Nothing of
//! the real one is overwritten, so titles of any length fit, and neither `std::env::args` nor the environment suffers.

use std::io::{self, Error, ErrorKind};
use std::ptr::null_mut;
use std::sync::Mutex;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::{PrctlMmMap, configure_virtual_memory_map};

/// The longest title, in bytes; what is beyond is cut.
const LONGEST: usize = 4095;
/// With the zero at its end.
const ROOM: usize = LONGEST + 1;

/// Where the present title is.
static PRESENT: Mutex<Option<Page>> = Mutex::new(None);

/// Gives this process a title.
///
/// # Errors
/// When the process has several threads, one of which might ask for memory meanwhile; and the kernel's, where it cannot do this.
pub fn set_title(title: &str) -> io::Result<()> {
    if std::fs::read_dir("/proc/self/task")?.count() > 1 {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a process with several threads keeps its title",
        ));
    }
    let text: Vec<u8> = title
        .bytes()
        .filter(|byte| *byte != 0)
        .take(LONGEST)
        .collect();
    let page = Page::with(&text)?;
    let mut map = present_map()?;
    map.arg_start = page.0 as u64;
    map.arg_end = map.arg_start + text.len() as u64 + 1;
    // SAFETY: sbrk(0) changes nothing.
    map.brk = unsafe { libc::sbrk(0) } as u64;
    // SAFETY: all addresses are those that the kernel has, but for the command line, which lies in memory that stays until
    // another title takes its place. The end of the heap has not moved since it was asked for, for there is no other thread.
    unsafe { configure_virtual_memory_map(&map) }?;
    if let Ok(mut present) = PRESENT.lock() {
        *present = Some(page);
    }
    Ok(())
}

/// Memory that holds a title.
struct Page(usize);

impl Page {
    fn with(text: &[u8]) -> io::Result<Self> {
        let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: new memory is mapped at an address of the kernel's choice.
        let start = unsafe { mmap_anonymous(null_mut(), ROOM, access, kind) }?;
        // SAFETY: the text fits, with a zero behind it, into this memory, which nobody else knows.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), start.cast(), text.len()) };
        Ok(Self(start as usize))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the memory is this page's, and nobody has its address but the kernel, which reads it with care.
        let _ = unsafe { munmap(self.0 as *mut _, ROOM) };
    }
}

/// Where the parts of this process are in its memory, as the kernel tells (proc(5), `/proc/PID/stat`).
fn present_map() -> io::Result<PrctlMmMap> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in parentheses, is the second field, and may have anything in it.
    let fields: Vec<u64> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    let field = |number: usize| {
        let value = fields.get(number - 3).copied();
        value.ok_or_else(|| Error::new(ErrorKind::InvalidData, "/proc/self/stat is too short"))
    };
    Ok(PrctlMmMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk: 0,
        start_stack: field(28)?,
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
        auxv: null_mut(),
        auxv_size: 0,
        exe_fd: -1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_threads_keep_the_title() {
        let before = std::fs::read("/proc/self/cmdline").unwrap();
        // The main thread waits for this one.
        let error = set_title("another").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(std::fs::read("/proc/self/cmdline").unwrap(), before);
    }

    #[test]
    fn the_kernel_tells_where_things_are() {
        let map = present_map().unwrap();
        assert!(map.start_code < map.end_code && map.arg_start < map.arg_end);
        assert!(map.env_start <= map.env_end && map.start_stack > 0);
    }
}

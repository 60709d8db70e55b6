//! Addresses of objects, each with what was found out about it.
//!
//! The table lies in memory of its own and goes away as a whole: from the heap it would leave holes behind, which the workers would fill and
//! so un-share. It is written for that alone: nothing is ever taken out.

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// What was found out about an object. It fits into the low bits of an address, which are none of the address itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Mark {
    /// It stays as it is.
    Left = 1,
    /// It becomes immortal.
    Chosen = 2,
    /// It becomes immortal if all that it holds does.
    Holder = 3,
    /// It stays as it is, but is no hindrance to what holds it if all that it holds becomes immortal.
    Dict = 4,
    /// It stays as it is, and is no hindrance.
    Spared = 5,
}

const LOW: u64 = 7;

impl Mark {
    fn of(slot: u64) -> Option<Self> {
        match slot & LOW {
            1 => Some(Self::Left),
            2 => Some(Self::Chosen),
            3 => Some(Self::Holder),
            4 => Some(Self::Dict),
            5 => Some(Self::Spared),
            _ => None,
        }
    }
}

/// Open addressing; never more than half full.
pub(super) struct Table {
    slots: NonNull<u64>,
    /// There are two to the power of this.
    bits: u32,
    used: usize,
}

impl Table {
    /// With room for at least so many objects; it grows.
    pub(super) fn with_room(objects: usize) -> io::Result<Self> {
        let slots = (objects * 2).next_power_of_two().max(1024);
        let length = slots * size_of::<u64>();
        let flags = MapFlags::PRIVATE;
        // SAFETY: new pages, wherever the kernel likes.
        let memory = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )?
        };
        Ok(Self {
            slots: NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?,
            bits: slots.ilog2(),
            used: 0,
        })
    }

    fn slots(&self) -> &[u64] {
        // SAFETY: pages of this length, zero at first, which live as long as the table.
        unsafe { std::slice::from_raw_parts(self.slots.as_ptr(), 1 << self.bits) }
    }

    fn slots_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, and the table is borrowed for this alone.
        unsafe { std::slice::from_raw_parts_mut(self.slots.as_ptr(), 1 << self.bits) }
    }

    /// Where an address is, or would be.
    fn place(&self, address: usize) -> usize {
        let wanted = address as u64;
        let mixed = (wanted >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut place = (mixed >> (64 - self.bits)) as usize;
        let slots = self.slots();
        while slots[place] != 0 && slots[place] & !LOW != wanted {
            place = (place + 1) & (slots.len() - 1);
        }
        place
    }

    pub(super) fn mark(&self, address: usize) -> Option<Mark> {
        Mark::of(self.slots()[self.place(address)])
    }

    /// Marks an object, anew where it was marked.
    ///
    /// # Errors
    /// There is no memory to grow.
    pub(super) fn set(&mut self, address: usize, mark: Mark) -> io::Result<()> {
        let place = self.place(address);
        let is_new = self.slots()[place] == 0;
        self.slots_mut()[place] = address as u64 & !LOW | mark as u64;
        if is_new {
            self.used += 1;
            if self.used * 2 > 1 << self.bits {
                self.grow()?;
            }
        }
        Ok(())
    }

    fn grow(&mut self) -> io::Result<()> {
        let mut wider = Self::with_room(self.used * 2)?;
        for slot in self.slots().iter().filter(|slot| **slot != 0) {
            let place = wider.place((slot & !LOW) as usize);
            wider.slots_mut()[place] = *slot;
        }
        wider.used = self.used;
        *self = wider;
        Ok(())
    }

    /// All objects that are marked so.
    pub(super) fn marked(&self, mark: Mark) -> impl Iterator<Item = usize> {
        let slots = self.slots().iter();
        slots
            .filter(move |slot| Mark::of(**slot) == Some(mark))
            .map(|slot| (slot & !LOW) as usize)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let memory = self.slots.as_ptr().cast::<c_void>();
        // SAFETY: the pages that were mapped, to which nothing refers any more.
        let _ = unsafe { munmap(memory, (1 << self.bits) * size_of::<u64>()) };
    }
}

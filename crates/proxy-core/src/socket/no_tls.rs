//! What stands for encryption where it is not compiled in: nothing that could ever be there.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use super::{Plain, Readable};

/// Not to be had.
pub(super) enum Session {}

impl Session {
    pub fn poll_read(&self, _: &Plain, _: &mut Context<'_>, _: &mut Vec<u8>) -> Read {
        match *self {}
    }

    pub fn poll_read_slice(&self, _: &Plain, _: &mut Context<'_>, _: &mut [u8]) -> Read {
        match *self {}
    }

    pub fn poll_readable(&self, _: &Plain, _: &mut Context<'_>) -> Poll<io::Result<Readable>> {
        match *self {}
    }

    pub fn is_quiet(&self) -> bool {
        match *self {}
    }

    pub fn poll_write(&self, _: &Plain, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Read {
        match *self {}
    }

    pub fn poll_flush(&self, _: &Plain, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    pub fn close(&self, _: &Plain) {
        match *self {}
    }

    pub fn break_off(&self) {
        match *self {}
    }
}

/// How much went.
type Read = Poll<io::Result<usize>>;

//! Exit codes of the worker that its master understands.

/// The worker can't serve what it was given; trying again would not help. (`EX_CONFIG` of sysexits.)
pub const UNFIT: u8 = 78;

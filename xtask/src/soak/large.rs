//! Large content up and down: memory stays.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::shop::Shop;
use crate::tree;

/// What each program's processes may grow by.
const GROWTH_KIB_MAX: u64 = 30 * 1024;
const SAMPLE: Duration = Duration::from_millis(20);

/// One upload and two downloads of this size, compared by their hashes, while memory is watched.
pub fn run(
    shop: &Shop,
    upload_mb: usize,
    download_mb: usize,
    log: &Path,
) -> Result<String, String> {
    let exercise = |upload: usize, download: usize| -> Result<(), String> {
        let sizes = [
            format!("--upload-mb={upload}"),
            format!("--download-mb={download}"),
        ];
        for only in ["upload", "download"] {
            shop.check(log, &["--only", only, &sizes[0], &sizes[1]])?;
        }
        Ok(())
    };
    // What an application loads when a page is first used is no growth.
    for _ in 0..4 {
        exercise(1, 1)?;
    }
    let masters = [
        ("front", shop.front_master()?),
        ("application server", shop.app_master()?),
    ];
    let notes = stays(&masters, || exercise(upload_mb, download_mb))?;
    Ok(format!(
        "{upload_mb} MiB up, {download_mb} MiB down twice; {notes}"
    ))
}

/// Watches the memory of programs, told by the ids of their first processes, while something is done; what it was and became.
///
/// # Errors
/// What was done failed, or the memory grew.
pub fn stays(
    masters: &[(&str, u32)],
    exercise: impl FnOnce() -> Result<(), String>,
) -> Result<String, String> {
    let sample = || -> Vec<u64> {
        let masters = masters.iter();
        masters.map(|(_, master)| tree::pss_kib(*master)).collect()
    };
    let before = sample();
    let stop = AtomicBool::new(false);
    let (done, most) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = before.clone();
            while !stop.load(Ordering::SeqCst) {
                for (most, now) in most.iter_mut().zip(sample()) {
                    *most = (*most).max(now);
                }
                std::thread::sleep(SAMPLE);
            }
            most
        });
        let done = exercise();
        stop.store(true, Ordering::SeqCst);
        (done, watcher.join())
    });
    done?;
    let most = most.map_err(|_| "the watcher panicked")?;
    let mut notes = Vec::new();
    let mut faults = Vec::new();
    for ((name, _), (before, most)) in masters.iter().zip(before.into_iter().zip(most)) {
        let note = format!("{name} {:.1} MiB, at most {:.1}", mib(before), mib(most));
        if most.saturating_sub(before) > GROWTH_KIB_MAX {
            faults.push(format!(
                "memory grew by more than {} MiB: {note}",
                GROWTH_KIB_MAX / 1024
            ));
        }
        notes.push(note);
    }
    if faults.is_empty() {
        Ok(notes.join(", "))
    } else {
        Err(faults.join("\n"))
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

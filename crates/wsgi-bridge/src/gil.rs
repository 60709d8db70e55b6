//! One thread for a tokio runtime and for Python: the GIL is held while the thread works and let go while it is parked.

use std::cell::Cell;
use std::ptr;

use pyo3::ffi;
use tokio::runtime::Builder;

thread_local! {
    /// What `PyEval_SaveThread` gave while the thread is parked.
    static SAVED: Cell<*mut ffi::PyThreadState> = const { Cell::new(ptr::null_mut()) };
    /// The thread was attached when its runtime began.
    static SHARED: Cell<bool> = const { Cell::new(false) };
}

/// Makes a current-thread runtime let go of the GIL whenever it parks, after `before_park` has run (to write out logs, say). Run the
/// runtime inside [`attached`], on a thread that is attached to Python and stays so.
pub fn share_thread(
    builder: &mut Builder,
    before_park: impl Fn() + Send + Sync + 'static,
) -> &mut Builder {
    let park = move || {
        before_park();
        let_go();
    };
    builder.on_thread_park(park).on_thread_unpark(take_back)
}

/// Runs `f` with the hooks of [`share_thread`] in force on this thread.
pub fn attached<T>(_py: pyo3::Python<'_>, f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            SHARED.set(self.0);
        }
    }
    let _restore = Restore(SHARED.replace(true));
    f()
}

fn let_go() {
    if SHARED.get() && SAVED.get().is_null() {
        // SAFETY: `attached` proves that this thread is attached, and nothing of ours runs until `take_back`.
        SAVED.set(unsafe { ffi::PyEval_SaveThread() });
    }
}

fn take_back() {
    let saved = SAVED.replace(ptr::null_mut());
    if !saved.is_null() {
        // SAFETY: the state is this thread's own, from `let_go`, and is used once.
        unsafe { ffi::PyEval_RestoreThread(saved) };
    }
}

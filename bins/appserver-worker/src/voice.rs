//! What a template says to the master without having been asked: hooks, and threads that they have started, may change how many
//! workers there are.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use appserver_protocol::FromTemplate;
use supervisor::{Channel, ChannelError};

static VOICE: Mutex<Option<Channel>> = Mutex::new(None);

/// This process is a template, and this its channel.
///
/// # Errors
/// The kernel's, when no descriptors are left.
pub(crate) fn lend(channel: &Channel) -> io::Result<()> {
    let descriptor = channel.as_fd().try_clone_to_owned()?;
    *voice() = Channel::from_fd(descriptor).ok();
    Ok(())
}

/// This process is a worker now, and has nothing to say there.
pub(crate) fn give_back() {
    *voice() = None;
}

/// Says it. A master that has dismissed this template does not hear it.
///
/// # Errors
/// Why the channel does not take it.
pub(crate) fn say(words: &FromTemplate) -> Result<(), ChannelError> {
    match voice().as_ref().map(|channel| channel.send(words, &[])) {
        None | Some(Ok(()) | Err(ChannelError::Closed)) => Ok(()),
        Some(Err(error)) => Err(error),
    }
}

fn voice() -> MutexGuard<'static, Option<Channel>> {
    VOICE.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The control channel between a master and one worker: messages in JSON, with descriptors beside them.
//!
//! A socketpair of type `SOCK_SEQPACKET`: one packet is one message, so there are no half messages to keep. A long
//! message (a whole configuration) travels as a sealed memory file beside its packet. Each call says for itself
//! whether it may wait, so the same descriptor serves blocking code and, inside an `AsyncFd`, a task.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest text that travels in the packet itself, in bytes; longer ones go into a memory file.
pub const INLINE_MAX: usize = 64 * 1024;
/// Longest message at all, in bytes.
pub const MESSAGE_MAX: usize = 256 * 1024 * 1024;
/// Most descriptors in one packet (the kernel takes 253); more travel in packets ahead.
const FDS_PER_PACKET: usize = 200;
/// Most descriptors with one message.
pub const FDS_MAX: usize = 16 * 1024;
/// How long a master waits for a worker that does not read, once part of a message is out.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// The text is in the packet.
const INLINE: u8 = 0;
/// The text is in the last descriptor of the packet.
const IN_FILE: u8 = 1;
/// No text yet: descriptors that belong to the next message.
const AHEAD: u8 = 2;

/// Why a message was not sent or not received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The other side is gone.
    #[error("the other end of the control channel is closed")]
    Closed,
    /// More descriptors, or a longer text, than the channel carries.
    #[error(
        "a message of {bytes} bytes with {fds} descriptors is too large for the control channel"
    )]
    TooLarge {
        /// Length of the text.
        bytes: usize,
        /// Number of descriptors.
        fds: usize,
    },
    /// The message has no form in JSON.
    #[error("a message for the control channel cannot be written: {0}")]
    Encode(serde_json::Error),
    /// What came is not what this side understands: the two run different versions.
    #[error(
        "a message on the control channel is not understood: {0}; is the other side another version?"
    )]
    Decode(serde_json::Error),
    /// A packet that breaks the rules of this module.
    #[error("a malformed packet on the control channel: {0}")]
    Malformed(&'static str),
    /// The descriptor is no such channel.
    #[error("descriptor {0} is not a control channel (a socket of sequenced packets)")]
    NotAChannel(RawFd),
    /// The kernel's answer.
    #[error("the control channel failed: {0}")]
    Io(#[from] std::io::Error),
}

impl From<Errno> for ChannelError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Self::Closed,
            errno => Self::Io(errno.into()),
        }
    }
}

/// A message that came, with the descriptors beside it.
#[derive(Debug)]
pub struct Received<T> {
    /// What it says.
    pub message: T,
    /// What came along, in the order in which it was sent.
    pub fds: Vec<OwnedFd>,
}

/// A message in its written form, for sending later.
#[derive(Debug)]
pub(crate) struct Packet {
    text: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Packet {
    pub(crate) fn new<T: Serialize>(
        message: &T,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Self, ChannelError> {
        let text = encode(message, fds.len())?;
        let fds: Result<_, std::io::Error> =
            fds.iter().map(BorrowedFd::try_clone_to_owned).collect();
        Ok(Self { text, fds: fds? })
    }
}

/// One end of a control channel.
#[derive(Debug)]
pub struct Channel {
    fd: OwnedFd,
    buffer: Vec<u8>,
    ahead: VecDeque<OwnedFd>,
}

impl Channel {
    /// Both ends: one to use here, one to give to the other process. Close-on-exec.
    ///
    /// # Errors
    /// The kernel's, when no descriptors are left.
    pub fn pair() -> Result<(Self, OwnedFd), ChannelError> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        set_socket_timeout(&ours, Timeout::Send, Some(SEND_TIMEOUT))?;
        Ok((Self::with(ours), theirs))
    }

    /// The end that another process gave us.
    ///
    /// # Errors
    /// [`ChannelError::NotAChannel`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, ChannelError> {
        match socket_type(&fd) {
            Ok(SocketType::SEQPACKET) => Ok(Self::with(fd)),
            _ => Err(ChannelError::NotAChannel(fd.as_raw_fd())),
        }
    }

    fn with(fd: OwnedFd) -> Self {
        Self {
            fd,
            buffer: Vec::new(),
            ahead: VecDeque::new(),
        }
    }

    /// Sends a message, waiting until there is room.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn send<T: Serialize>(
        &self,
        message: &T,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let text = encode(message, fds.len())?;
        self.send_text(&text, fds, SendFlags::empty()).map(drop)
    }

    /// Sends a message if there is room now; `false` when there is not.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn try_send<T: Serialize>(
        &self,
        message: &T,
        fds: &[BorrowedFd<'_>],
    ) -> Result<bool, ChannelError> {
        let text = encode(message, fds.len())?;
        self.send_text(&text, fds, SendFlags::DONTWAIT)
    }

    pub(crate) fn try_send_packet(&self, packet: &Packet) -> Result<bool, ChannelError> {
        let fds: Vec<_> = packet.fds.iter().map(AsFd::as_fd).collect();
        self.send_text(&packet.text, &fds, SendFlags::DONTWAIT)
    }

    /// Receives a message, waiting for it.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when no more will come; other variants of [`ChannelError`].
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Received<T>, ChannelError> {
        loop {
            if let Some(received) = self.receive_with(RecvFlags::empty())? {
                return Ok(received);
            }
        }
    }

    /// Receives a message that is there already; `None` when there is none.
    ///
    /// # Errors
    /// As [`Channel::receive`].
    pub fn try_receive<T: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<Received<T>>, ChannelError> {
        self.receive_with(RecvFlags::DONTWAIT)
    }

    fn send_text(
        &self,
        text: &[u8],
        fds: &[BorrowedFd<'_>],
        mut flags: SendFlags,
    ) -> Result<bool, ChannelError> {
        let mut chunks = fds.chunks(FDS_PER_PACKET).peekable();
        let mut last: &[BorrowedFd<'_>] = &[];
        while let Some(chunk) = chunks.next() {
            last = chunk;
            if chunks.peek().is_some() {
                if !self.send_packet(&[AHEAD], &[], chunk, flags)? {
                    return Ok(false);
                }
                // The rest must follow, or the descriptors would go with another message.
                flags = SendFlags::empty();
            }
        }
        if text.len() <= INLINE_MAX {
            return self.send_packet(&[INLINE], text, last, flags);
        }
        let file = memory_file(text)?;
        let mut with_file = last.to_vec();
        with_file.push(file.as_fd());
        self.send_packet(&[IN_FILE], &[], &with_file, flags)
    }

    fn send_packet(
        &self,
        kind: &[u8],
        text: &[u8],
        fds: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> Result<bool, ChannelError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_PACKET + 1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(ChannelError::TooLarge {
                bytes: text.len(),
                fds: fds.len(),
            });
        }
        let parts = [IoSlice::new(kind), IoSlice::new(text)];
        loop {
            match sendmsg(&self.fd, &parts, &mut control, flags | SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if flags.contains(SendFlags::DONTWAIT) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn receive_with<T: DeserializeOwned>(
        &mut self,
        flags: RecvFlags,
    ) -> Result<Option<Received<T>>, ChannelError> {
        loop {
            let Some((kind, fds)) = self.receive_packet(flags)? else {
                return Ok(None);
            };
            self.ahead.extend(fds);
            if self.ahead.len() > FDS_MAX {
                self.ahead.clear();
                return Err(ChannelError::Malformed("too many descriptors"));
            }
            let text = match kind {
                AHEAD => continue,
                INLINE => self.buffer.split_off(0),
                IN_FILE => read_file(self.ahead.pop_back())?,
                _ => return Err(ChannelError::Malformed("unknown kind")),
            };
            let fds = self.ahead.drain(..).collect();
            let message = serde_json::from_slice(&text).map_err(ChannelError::Decode)?;
            return Ok(Some(Received { message, fds }));
        }
    }

    /// One packet; its text is left in `self.buffer`.
    fn receive_packet(
        &mut self,
        flags: RecvFlags,
    ) -> Result<Option<(u8, Vec<OwnedFd>)>, ChannelError> {
        let mut kind = [0];
        self.buffer.resize(INLINE_MAX, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [
            IoSliceMut::new(&mut kind),
            IoSliceMut::new(&mut self.buffer),
        ];
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let came = loop {
            match recvmsg(&self.fd, &mut parts, &mut control, flags) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                done => break done?,
            }
        };
        let fds = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        if came.bytes == 0 {
            return Err(ChannelError::Closed);
        }
        if came
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Err(ChannelError::Malformed(
                "cut short; are there descriptors left (ulimit -n)?",
            ));
        }
        self.buffer.truncate(came.bytes - 1);
        Ok(Some((kind[0], fds)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn encode<T: Serialize>(message: &T, fds: usize) -> Result<Vec<u8>, ChannelError> {
    let text = serde_json::to_vec(message).map_err(ChannelError::Encode)?;
    if text.len() > MESSAGE_MAX || fds > FDS_MAX {
        return Err(ChannelError::TooLarge {
            bytes: text.len(),
            fds,
        });
    }
    Ok(text)
}

/// A file in memory that nobody can change any more.
fn memory_file(text: &[u8]) -> Result<OwnedFd, ChannelError> {
    let file = memfd_create("message", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut done = 0;
    while done < text.len() {
        done += rustix::io::pwrite(&file, &text[done..], done as u64)?;
    }
    fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file)
}

fn read_file(file: Option<OwnedFd>) -> Result<Vec<u8>, ChannelError> {
    let file = file.ok_or(ChannelError::Malformed("its text is missing"))?;
    let length = rustix::fs::fstat(&file)?.st_size as usize;
    if length > MESSAGE_MAX {
        return Err(ChannelError::TooLarge {
            bytes: length,
            fds: 0,
        });
    }
    let mut text = Vec::with_capacity(length);
    // The place in the file is shared with the sender, who wrote without moving it.
    std::fs::File::from(file).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn pair() -> (Channel, Channel) {
        let (one, other) = Channel::pair().unwrap();
        (one, Channel::from_fd(other).unwrap())
    }

    #[test]
    fn messages_arrive_whole_and_in_order_however_long() {
        let (one, mut other) = pair();
        for length in [
            0,
            1,
            INLINE_MAX - 2,
            INLINE_MAX - 1,
            INLINE_MAX + 1,
            3_000_000,
        ] {
            let text = "x".repeat(length);
            one.send(&text, &[]).unwrap();
            let received: Received<String> = other.receive().unwrap();
            assert!(
                received.message == text && received.fds.is_empty(),
                "{length}"
            );
        }
        assert!(other.try_receive::<String>().unwrap().is_none());
    }

    #[test]
    fn descriptors_come_along_in_order_however_many() {
        let (one, mut other) = pair();
        let files: Vec<File> = (0..3).map(|_| tempfile::tempfile().unwrap()).collect();
        for (number, file) in files.iter().enumerate() {
            file.set_len(number as u64 + 1).unwrap();
        }
        for count in [0, 1, FDS_PER_PACKET, FDS_PER_PACKET + 1, 450] {
            for text in ["short".to_owned(), "long".repeat(INLINE_MAX)] {
                let fds: Vec<_> = (0..count).map(|number| files[number % 3].as_fd()).collect();
                one.send(&text, &fds).unwrap();
                let received: Received<String> = other.receive().unwrap();
                assert_eq!(received.message, text);
                assert_eq!(received.fds.len(), count);
                for (number, fd) in received.fds.into_iter().enumerate() {
                    assert_eq!(
                        File::from(fd).metadata().unwrap().len(),
                        number as u64 % 3 + 1
                    );
                }
            }
        }
    }

    #[test]
    fn a_full_channel_makes_nobody_wait_who_does_not_want_to() {
        let (one, mut other) = pair();
        let mut sent = 0;
        while one.try_send(&sent, &[]).unwrap() {
            sent += 1;
        }
        assert!(sent > 10);
        for number in 0..sent {
            assert_eq!(other.receive::<i32>().unwrap().message, number);
        }
        assert!(one.try_send(&sent, &[]).unwrap());
    }

    #[test]
    fn a_closed_end_is_told_from_an_empty_one() {
        let (one, mut other) = pair();
        one.send(&1, &[]).unwrap();
        drop(one);
        assert_eq!(other.receive::<i32>().unwrap().message, 1);
        assert!(matches!(
            other.try_receive::<i32>(),
            Err(ChannelError::Closed)
        ));
        assert!(matches!(other.send(&1, &[]), Err(ChannelError::Closed)));
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_the_next_message_is_fine() {
        let (one, mut other) = pair();
        one.send(&"words", &[]).unwrap();
        one.send(&7, &[]).unwrap();
        assert!(matches!(
            other.receive::<i32>(),
            Err(ChannelError::Decode(_))
        ));
        assert_eq!(other.receive::<i32>().unwrap().message, 7);

        rustix::io::write(&one, &[9]).unwrap();
        assert!(matches!(
            other.receive::<i32>(),
            Err(ChannelError::Malformed(_))
        ));
        rustix::io::write(&one, &[IN_FILE]).unwrap();
        assert!(matches!(
            other.receive::<i32>(),
            Err(ChannelError::Malformed(_))
        ));
        let file = OwnedFd::from(tempfile::tempfile().unwrap());
        assert!(matches!(
            Channel::from_fd(file),
            Err(ChannelError::NotAChannel(_))
        ));
    }
}

//! What a connection of HTTP/2 is told at its beginning.

use std::time::Duration;

/// Settings of connections of HTTP/2. May grow: end a literal with `..Settings::default()`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Requests of a connection that may be under way at a time. Default 100.
    pub concurrent_streams: u32,
    /// Bytes of a request's content that may be under way before they are read. Default 65535.
    pub window_bytes: u32,
    /// The same for all requests of a connection together; at least that. Default 1 MiB.
    pub connection_window_bytes: u32,
    /// The largest frame that is taken, 16384 to 16777215 bytes. Default 16384.
    pub frame_bytes: u32,
    /// The largest head of a request, as RFC 9113 §6.5.2 counts. Default 64 KiB.
    pub header_list_bytes: u32,
    /// Bytes of a response that wait in memory while the client does not take them. Default 64 KiB.
    pub send_buffer_bytes: usize,
    /// Requests may ask for a WebSocket (RFC 8441). Default false.
    pub websockets: bool,
    /// How long a client may take for the beginning of the connection to come. Default: the connection's own limit of heads.
    pub preface_timeout: Option<Duration>,
}

/// So many small pieces of content may wait to be read: all that a window of the usual size holds of the shortest messages of a
/// WebSocket. By itself the crate allows a sixth of that, and would end the connection for a WebSocket whose application is busy.
const SMALL_FRAMES: usize = 12 << 10;

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrent_streams: 100,
            window_bytes: 65_535,
            connection_window_bytes: 1 << 20,
            frame_bytes: 16_384,
            header_list_bytes: 64 << 10,
            send_buffer_bytes: 64 << 10,
            websockets: false,
            preface_timeout: None,
        }
    }
}

impl Settings {
    pub(super) fn builder(&self) -> h2::server::Builder {
        let mut builder = h2::server::Builder::new();
        builder
            .max_concurrent_streams(self.concurrent_streams)
            .initial_window_size(self.window_bytes)
            .initial_connection_window_size(self.connection_window_bytes.max(self.window_bytes))
            .max_frame_size(self.frame_bytes.clamp(16_384, 16_777_215))
            .max_header_list_size(self.header_list_bytes)
            .max_send_buffer_size(self.send_buffer_bytes)
            .data_frame_budget(SMALL_FRAMES * 256);
        if self.websockets {
            builder.enable_connect_protocol();
        }
        builder
    }
}

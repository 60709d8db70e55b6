//! Sockets in (LISTEN_FDS), state out (sd_notify), sockets handed to a successor.

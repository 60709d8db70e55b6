//! Scenarios: a configuration and a conversation in one file.

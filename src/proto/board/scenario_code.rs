//! Scenarios of one-time codes.

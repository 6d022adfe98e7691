//! Codes by themselves.

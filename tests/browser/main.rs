//! The page of a board in a real browser: chromium, headless, driven over WebDriver.
//!
//! Boards, driver and browser live in a network namespace with `lo` alone, so that nothing can
//! reach outward, and one test runs at a time: what a page takes is measured. Screenshots are kept
//! below `target/browser`. Needs root, iproute2, chromium and chromium-driver, and fails loudly
//! without.

mod bucket;
mod canned;
mod driver;
mod hostile;
mod large;
mod namespace;
mod owner;
mod process;
mod ring;
mod shape;

//! Walks the pages of a list or a scan.

use serde::Serialize;

use super::failure::Failure;
use super::rpc::Client;
use super::shape::{Item, Page};
use crate::base::limit;

/// Whose items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The board's own bucket.
    List,
    /// The whole ring.
    Scan,
}

#[derive(Serialize)]
struct Params<'a> {
    prefix: &'a str,
    limit: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
}

/// What is left to read.
#[derive(Debug)]
pub struct Pages {
    method: Method,
    prefix: String,
    left: usize,
    after: Option<String>,
    done: bool,
    /// A board was absent during some page: items may be missing.
    pub degraded: bool,
}

impl Pages {
    /// All items whose key starts with `prefix`, at most `limit` of them.
    pub fn new(method: Method, prefix: String, limit: Option<usize>) -> Self {
        Pages {
            method,
            prefix,
            left: limit.unwrap_or(usize::MAX),
            after: None,
            done: false,
            degraded: false,
        }
    }

    /// The next page's items; none after the last page.
    ///
    /// # Errors
    /// [`Failure`] of the call; asking again repeats the page.
    pub async fn next(&mut self, client: &mut Client) -> Result<Option<Vec<Item>>, Failure> {
        if self.done || self.left == 0 {
            return Ok(None);
        }
        let params = Params {
            prefix: &self.prefix,
            limit: self.left.min(limit::PAGE_ITEMS_MAX),
            after: self.after.as_deref(),
        };
        let name = match self.method {
            Method::List => "list_items",
            Method::Scan => "scan_items",
        };
        let mut page: Page = client.call_as(name, &params).await?;
        page.items.truncate(self.left);
        self.left -= page.items.len();
        self.degraded |= page.degraded;
        // A page that does not move on would be asked for without end.
        self.done = page.next.is_none() || page.next == self.after;
        self.after = page.next;
        Ok(Some(page.items))
    }
}

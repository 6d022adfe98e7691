//! The thread that serves loads: single items and pages, tombstones included.
//!
//! A record that cannot be decoded is counted and never served: alone it is an error, in a page it
//! is left out, so that one bad record does not hide all that follow it from repair.

use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};

use fjall::Keyspace;
use tokio::sync::mpsc::UnboundedSender;

use crate::base::item::{Item, Key};
use crate::base::limit;
use crate::base::store::{Load, LoadId, Loaded, StoreError, Which};

use super::{Shared, StoreReply, format};

/// What a page is to hold; the fields of [`Load::Page`].
struct PageOf<'a> {
    after: Option<&'a Key>,
    prefix: &'a str,
    which: &'a Which,
    items_max: usize,
    bytes_max: usize,
}

impl PageOf<'_> {
    /// Decides by a record's head, so that a value that is not wanted is not copied. What cannot be
    /// read is wanted: it is counted and left out later.
    fn wants(&self, key: &[u8], value: &[u8]) -> bool {
        if *self.which == Which::All {
            return true;
        }
        let key = std::str::from_utf8(key).ok().and_then(|k| Key::new(k).ok());
        let head = format::decode_head(value);
        let (Some(key), Ok(head)) = (key, head) else {
            return true;
        };
        self.which.wants(&key, head.tombstone)
    }
}

/// Serves loads until the handle is gone.
pub(super) struct Reader {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<(LoadId, Load)>,
    replies: UnboundedSender<StoreReply>,
}

impl Reader {
    pub fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<(LoadId, Load)>,
        replies: UnboundedSender<StoreReply>,
    ) -> Self {
        Reader {
            shared,
            queue,
            replies,
        }
    }

    pub fn run(self) {
        self.shared.wait_for_opening();
        while let Ok((id, load)) = self.queue.recv() {
            self.shared.loads_waiting.fetch_sub(1, Ordering::AcqRel);
            let loaded = self.serve(load);
            // The driver may have gone first; nobody is left to tell.
            let _ = self.replies.send(StoreReply::Loaded(id, loaded));
        }
    }

    fn serve(&self, load: Load) -> Result<Loaded, StoreError> {
        let medium = self
            .shared
            .medium
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(medium) = medium.as_ref() else {
            return Err(StoreError::Closed(self.shared.status().reason.clone()));
        };
        match load {
            Load::Item(key) => self.item(&medium.items, &key),
            Load::Page {
                after,
                prefix,
                which,
                items_max,
                bytes_max,
            } => {
                let page = PageOf {
                    after: after.as_ref(),
                    prefix: &prefix,
                    which: &which,
                    items_max,
                    bytes_max,
                };
                self.page(&medium.items, &page)
            }
            Load::Tree => Ok(Loaded::Tree {
                tree: self.shared.tree().clone(),
                tombstones: self.shared.status().tombstones,
            }),
        }
    }

    fn item(&self, items: &Keyspace, key: &Key) -> Result<Loaded, StoreError> {
        let Some(bytes) = items
            .get(key.as_str())
            .map_err(|error| self.unreadable(&error))?
        else {
            return Ok(Loaded::Item(None));
        };
        match format::decode(&bytes) {
            Ok(record) => Ok(Loaded::Item(Some(record))),
            Err(error) => {
                self.shared.note_corrupt(key, &error);
                Err(StoreError::Corrupt(error.to_string()))
            }
        }
    }

    fn page(&self, items: &Keyspace, wanted: &PageOf<'_>) -> Result<Loaded, StoreError> {
        let prefix = wanted.prefix;
        let start = match wanted.after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        let mut page = Vec::new();
        let (mut bytes, mut looked_at) = (0, 0);
        for guard in items.range::<&str, _>((start, Bound::Unbounded)) {
            let (key, value) = guard
                .into_inner()
                .map_err(|error| self.unreadable(&error))?;
            if !key.starts_with(prefix.as_bytes()) {
                break;
            }
            looked_at += 1;
            if !wanted.wants(&key, &value) {
                match Key::new(&String::from_utf8_lossy(&key)) {
                    Ok(next) if looked_at >= limit::PAGE_LOOKED_AT_MAX => {
                        return Ok(Loaded::Page {
                            items: page,
                            next: Some(next),
                        });
                    }
                    _ => continue,
                }
            }
            let Some(item) = self.decode(&key, &value) else {
                continue;
            };
            let value_bytes = item
                .record
                .value
                .as_ref()
                .map_or(0, |value| value.bytes().len());
            bytes += key.len() + value_bytes;
            if !page.is_empty() && (page.len() >= wanted.items_max || bytes > wanted.bytes_max) {
                let next = page.last().map(|item: &Item| item.key.clone());
                return Ok(Loaded::Page { items: page, next });
            }
            page.push(item);
        }
        Ok(Loaded::Page {
            items: page,
            next: None,
        })
    }

    fn decode(&self, key: &[u8], value: &[u8]) -> Option<Item> {
        let text = String::from_utf8_lossy(key);
        let parsed = Key::new(&text).map_err(|error| self.shared.note_corrupt(&text, &error));
        let record = format::decode(value).map_err(|error| self.shared.note_corrupt(&text, &error));
        Some(Item {
            key: parsed.ok()?,
            record: record.ok()?,
        })
    }

    fn unreadable(&self, error: &fjall::Error) -> StoreError {
        self.shared.note_corrupt(&"a block", error);
        StoreError::Corrupt(error.to_string())
    }
}

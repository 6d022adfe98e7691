//! The page at `/presentation`: its document, its assets and its feed.
//!
//! The assets are hand-written files that are part of the program; they are served as they are,
//! with an entity tag, and refer to nothing outside. The document carries the state as it is when
//! it is asked for, so that it can be read without scripts. Everything else the page shows comes
//! from the feed (`feed`) and from JSON-RPC.
//!
//! Source: UDA 2.0 §5 (presentation); Content Security Policy Level 3; RFC 9110 §8.8.3, §13.1.2.

mod document;
pub mod feed;

use std::sync::LazyLock;

use crate::base::id::Id;
use crate::service::exchange::{Answer, Fields, Request, Transport};
use crate::service::{Board, Service};

/// Where the document is; assets are below it.
pub use crate::wire::description::PRESENTATION_PATH;

/// Only what this board serves is loaded, no script or style stands in the document, nothing
/// embeds the page and no form leads away.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; object-src 'none'";

/// A file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Its name below [`PRESENTATION_PATH`].
    pub name: &'static str,
    /// Its Content-Type.
    pub content_type: &'static str,
    /// What it holds.
    pub text: &'static str,
    etag: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let style = |name, text| Asset::new(name, "text/css; charset=utf-8", text);
    let script = |name, text| Asset::new(name, "text/javascript; charset=utf-8", text);
    vec![
        style("page.css", include_str!("assets/page.css")),
        style("plain.css", include_str!("assets/plain.css")),
        Asset::new(
            "roundel.svg",
            "image/svg+xml",
            include_str!("assets/roundel.svg"),
        ),
        script("page.js", include_str!("assets/page.js")),
        script("wire.js", include_str!("assets/wire.js")),
        script("word.js", include_str!("assets/word.js")),
        script("ring.js", include_str!("assets/ring.js")),
        script("lookup.js", include_str!("assets/lookup.js")),
        script("board.js", include_str!("assets/board.js")),
        script("health.js", include_str!("assets/health.js")),
        script("bucket.js", include_str!("assets/bucket.js")),
        script("editor.js", include_str!("assets/editor.js")),
        script("activity.js", include_str!("assets/activity.js")),
        script("key.js", include_str!("assets/key.js")),
        script("owner.js", include_str!("assets/owner.js")),
    ]
});

impl Asset {
    fn new(name: &'static str, content_type: &'static str, text: &'static str) -> Self {
        let etag = format!("\"{}\"", Id::of(text.as_bytes()).short());
        Asset {
            name,
            content_type,
            text,
            etag,
        }
    }

    fn answer(&self, fields: &Fields) -> Answer {
        let known = fields.if_none_match.as_ref().is_some_and(|tags| {
            let mut tags = tags.split(',').map(str::trim);
            tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
        });
        let answer = match known {
            true => Answer::new(304, "", ""),
            false => Answer::new(200, self.content_type, self.text),
        };
        // Asked again each time: a board that was updated serves a page that fits together.
        guarded(answer)
            .with("ETag", &self.etag)
            .with("Cache-Control", "no-cache")
    }
}

/// The files of the page, besides its document.
pub fn assets() -> &'static [Asset] {
    &ASSETS
}

/// The document before a board's state is put into it.
pub fn template() -> &'static str {
    document::TEMPLATE
}

/// The answer with what keeps a browser from doing more with it than it should.
fn guarded(answer: Answer) -> Answer {
    answer
        .with("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        .with("X-Content-Type-Options", "nosniff")
        .with("X-Frame-Options", "DENY")
        .with("Referrer-Policy", "no-referrer")
        .with("Cross-Origin-Resource-Policy", "same-origin")
}

impl<B: Board> Service<B> {
    /// The page, what is below its path, and where to find it.
    pub(super) async fn page(&self, request: &Request, path: &str, fields: &Fields) -> Answer {
        let name = path
            .strip_prefix(PRESENTATION_PATH)
            .and_then(|rest| rest.strip_prefix('/'));
        if let Some(name) = name
            && let Some(answer) = self.owner(request, name, fields).await
        {
            return guarded(answer);
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return self.not_allowed("GET, HEAD");
        }
        match name {
            None if path == "/" => Answer::new(302, "", "").with("Location", PRESENTATION_PATH),
            None => self.document().await,
            Some("events") => self.events(request),
            Some(name) => match ASSETS.iter().find(|asset| asset.name == name) {
                Some(asset) => asset.answer(fields),
                None => self.refuse_with(404, "the page has no such part; open /presentation"),
            },
        }
    }

    async fn document(&self) -> Answer {
        let overview = self.overview_soon().await;
        let text = document::of(self.facts(), self.keys().access, overview.as_deref());
        guarded(Answer::new(200, "text/html; charset=utf-8", text))
            .with("Cache-Control", "no-store")
    }

    fn events(&self, request: &Request) -> Answer {
        if request.transport == Transport::Udp {
            return self.refuse_with(400, "the feed is a stream; ask for it over TCP");
        }
        let mut answer = guarded(Answer::new(200, "text/event-stream", ""))
            .with("Cache-Control", "no-store")
            .with("X-Accel-Buffering", "no");
        answer.feed = request.method == "GET";
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the whole page.
    const PAGE_BYTES_MAX: usize = 150 * 1_024;

    fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
        let assets = assets().iter().map(|asset| (asset.name, asset.text));
        assets.chain([("page.html", template())])
    }

    #[test]
    fn the_whole_page_is_small() {
        let bytes: usize = texts().map(|(_, text)| text.len()).sum();
        println!("the page has {bytes} bytes, uncompressed");
        assert!(bytes <= PAGE_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn nothing_of_the_page_names_anything_outside_of_it() {
        for (name, text) in texts() {
            for (at, _) in text.match_indices("//") {
                let before = text[..at].trim_end_matches(|c: char| c != ':' && c != '"');
                let rest: String = text[at..].chars().take(40).collect();
                let scheme = text[..at].ends_with(':');
                // The one URL that is a name, not a place.
                let namespace = rest.starts_with("//www.w3.org/2000/svg");
                let own = rest.starts_with("//${");
                assert!(!scheme || namespace || own, "{name}: {before} {rest}");
            }
            for bad in ["src=\"//", "href=\"//", "@import", "url(http", "eval("] {
                assert!(!text.contains(bad), "{name} has {bad}");
            }
        }
    }

    #[test]
    fn the_document_has_no_script_style_or_handler_of_its_own() {
        let text = template();
        for bad in ["<style", " style=", "javascript:", " onclick", " onload"] {
            assert!(!text.contains(bad), "{bad}");
        }
        for script in text.split("<script").skip(1) {
            let tag = script.split_once('>').unwrap().0;
            assert!(tag.contains("src=\"/presentation/"), "{tag}");
        }
        // Names from the network are text: nothing parses them as markup.
        for (name, text) in texts() {
            for bad in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
            ] {
                assert!(!text.contains(bad), "{name} has {bad}");
            }
        }
    }

    #[test]
    fn every_part_that_the_page_names_is_served() {
        for (name, text) in texts() {
            let quoted = text.split(['"', '\'']).filter_map(|part| {
                part.strip_prefix("/presentation/")
                    .or_else(|| part.strip_prefix("./").filter(|it| it.ends_with(".js")))
            });
            for part in quoted {
                let served = assets().iter().any(|asset| asset.name == part);
                assert!(served || part == "events", "{name} names {part}");
            }
        }
    }

    #[test]
    fn an_asset_that_is_known_is_not_sent_again() {
        let asset = &assets()[0];
        let first = asset.answer(&Fields::default());
        assert_eq!((first.status, first.body.len()), (200, asset.text.len()));
        for tags in [asset.etag.clone(), format!("\"x\", W/{}", asset.etag)] {
            let again = asset.answer(&Fields {
                if_none_match: Some(tags),
                ..Fields::default()
            });
            assert_eq!((again.status, again.body.len()), (304, 0));
        }
        let other = asset.answer(&Fields {
            if_none_match: Some("\"other\"".into()),
            ..Fields::default()
        });
        assert_eq!(other.status, 200);
    }
}

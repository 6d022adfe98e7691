//! L1: counters anyone may name, and their Prometheus text.
//!
//! A facade over the `metrics` crate: names and labels are fixed here, so that their number is
//! bounded. Without [`install`] every counter is a no-op. Figures the board itself keeps are not
//! here; `/metrics` adds them from its overview. Operations of the bucket are counted in
//! [`operation`], always, since boards tell of them in their figures.

pub mod operation;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts to count. Called once by the program before it serves; later calls change nothing.
pub fn install() {
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Somebody else's recorder stays; then there is nothing to render here.
        let _ = metrics::set_global_recorder(recorder);
        handle
    });
}

/// Everything counted so far, as Prometheus text; empty without [`install`].
pub fn render() -> String {
    HANDLE.get().map_or_else(String::new, |handle| {
        handle.run_upkeep();
        handle.render()
    })
}

/// A request of a known method ended: with a code, or 0 for a result.
pub fn count_request(method: &'static str, code: i64) {
    // Codes of other boards are any number; labels are few.
    let outcome = match code {
        0 => "ok",
        -32602 => "invalid_params",
        -32003 => "unavailable",
        -32004 => "not_found",
        -32005 => "too_large",
        _ => "error",
    };
    metrics::counter!("roundel_rpc_requests_total", "method" => method, "outcome" => outcome)
        .increment(1);
}

/// An HTTP exchange ended with this status.
pub fn count_http(udp: bool, status: u16) {
    let class = match status {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    };
    let transport = if udp { "udp" } else { "tcp" };
    metrics::counter!("roundel_http_responses_total", "transport" => transport, "status" => class)
        .increment(1);
}

/// A connection was turned away: too many of one source, or in all.
pub fn count_refused_connection() {
    metrics::counter!("roundel_http_connections_refused_total").increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        install();
        count_request("echo", 0);
        count_http(true, 413);
        let text = render();
        assert!(text.contains(r#"roundel_rpc_requests_total{method="echo",outcome="ok"}"#));
        assert!(text.contains(r#"transport="udp""#));
    }
}

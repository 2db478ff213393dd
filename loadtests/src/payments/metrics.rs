//! Sums out of a service's `/metrics`, and what its language's runtime tells there.

use std::collections::BTreeMap;

use super::client;
use super::over_grpc::CALLS;
use super::over_http::ROUTES;
use crate::clock::now_ns;
use crate::compare::Look;
use crate::procstat::switches;
use crate::stats::rounded;

/// Time that statements ran.
pub const STATEMENTS: &str = "db_client_operation_duration_seconds_sum";
/// Time that hashes ran.
pub const HASHES: &str = "twinpay_hash_pool_run_duration_seconds_sum";
/// Hashes that ran.
pub const HASHES_RUN: &str = "twinpay_hash_pool_run_duration_seconds_count";
/// Spans that are lost.
pub const SPANS_DROPPED: &str = "twinpay_telemetry_dropped_spans_total";
/// Statements of the workers, which have connections of their own.
pub const OF_WORKERS: [&str; 11] = [
    "lease_pending_operations",
    "lease_deliveries",
    "record_delivery",
    "publish_events",
    "roll_up_balances",
    "sweep_idempotency_keys",
    "expire_payments",
    "find_expired_payments",
    "get_last_sequence",
    "list_events_after",
    "get_schema_version",
];

/// The values of all series of one name added up, those with one of `without` in a label left out; 0 where there is none.
pub fn sum(text: &str, name: &str, without: &[&str]) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let labels = rest.split_once('}').map_or("", |(labels, _)| labels);
        let left_out = without.iter().any(|word| labels.contains(&format!("\"{word}\"")));
        let ours = (rest.starts_with('{') || rest.starts_with(' ')) && !left_out;
        rest.split_whitespace().next_back().filter(|_| ours)?.parse::<f64>().ok()
    };
    text.lines().filter_map(value).sum()
}

/// Requests that a service counted, of those that a load is made of, whatever it answered and through whichever door. What
/// sets a service up or asks how it is has other routes.
pub fn requests(text: &str) -> u64 {
    let calls = CALLS.map(|call| call.trim_start_matches('/'));
    let over_http = with_label(text, "http_server_request_duration_seconds_count{", "http_route", &ROUTES);
    let over_grpc = with_label(text, "rpc_server_call_duration_seconds_count{", "rpc_method", &calls);
    (over_http + over_grpc) as u64
}

/// The values of those series of one name added up that have one of `values` in a label.
fn with_label(text: &str, name: &str, label: &str, values: &[&str]) -> f64 {
    let value = |line: &str| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once("} ")?;
        let ours = values.iter().any(|value| labels.contains(&format!("{label}=\"{value}\"")));
        value.trim().parse::<f64>().ok().filter(|_| ours)
    };
    text.lines().filter_map(value).sum()
}

/// How the names of what a runtime or an allocator tells begin.
const OF_RUNTIMES: [&str; 3] = ["go_", "jemalloc_", "tokio_"];

/// A service as its process and its runtime tell of it now.
pub async fn look(pid: u32, admin: &str) -> anyhow::Result<Look> {
    let series = of_runtime(&client::text(admin, "/metrics").await?);
    Ok(Look { at_ns: now_ns(), switches: switches(pid), series })
}

/// Its series by name and labels.
fn of_runtime(text: &str) -> BTreeMap<String, f64> {
    let ours = |line: &&str| OF_RUNTIMES.iter().any(|prefix| line.starts_with(prefix));
    let series = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), rounded(value.parse().ok()?)))
    };
    text.lines().filter(ours).filter_map(series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_name_are_added_and_workers_left_out() {
        let text = "# TYPE a_sum histogram\na_sum{q=\"find_replay\"} 1.5\na_sum{q=\"publish_events\",z=\"x\"} 40\n\
                    a_sum 2\na_sum_more 100\na_summary{q=\"y\"} 100\n";
        assert_eq!(sum(text, "a_sum", &OF_WORKERS), 3.5);
        assert_eq!(sum(text, "a_sum", &[]), 43.5);
        assert_eq!(sum(text, "b_sum", &[]), 0.0);
    }

    #[test]
    fn requests_of_the_load_are_counted_by_route_and_call_whatever_their_answer() {
        let text = "# TYPE http_server_request_duration_seconds histogram\n\
                    http_server_request_duration_seconds_bucket{http_route=\"/v1/payments\",le=\"+Inf\"} 700\n\
                    http_server_request_duration_seconds_count{http_request_method=\"POST\",http_response_status_code=\"201\",http_route=\"/v1/payments\"} 5\n\
                    http_server_request_duration_seconds_count{error_type=\"OVERLOADED\",http_route=\"/v1/payment_tokens\"} 2\n\
                    http_server_request_duration_seconds_count{http_request_method=\"GET\",http_route=\"/v1/payments/{id}\"} 30\n\
                    http_server_request_duration_seconds_count{http_route=\"/v1/merchants\"} 8\n\
                    http_server_request_duration_seconds_count{http_response_status_code=\"404\"} 1000\n\
                    rpc_server_call_duration_seconds_count{rpc_method=\"payments.v1.PaymentService/GetPayment\"} 400\n\
                    rpc_server_call_duration_seconds_count{rpc_method=\"payments.v1.AdminService/CreateMerchant\"} 8\n";
        assert_eq!(requests(text), 437);
        // Neither of the names has been changed since.
        let golden = include_str!("../../golden/metrics.txt");
        let told = |label: &str, value: &str| {
            golden.contains(&format!("{label}={value}\n")) || golden.contains(&format!("{label}={value} "))
        };
        assert!(ROUTES.iter().all(|route| told("http_route", route)));
        assert!(CALLS.iter().all(|call| told("rpc_method", call.trim_start_matches('/'))));
        for name in ["http_server_request_duration_seconds", "rpc_server_call_duration_seconds"] {
            assert!(golden.contains(&format!("## {name}\n")), "{name}");
        }
    }

    #[test]
    fn only_what_runtimes_tell_is_kept_by_name_and_labels() {
        let text =
            "# TYPE go_a gauge\ngo_a{state=\"g c\"} 1.5e-06\ngoes 3\njemalloc_b 2\nhttp_c 4\ntokio_d 5\n";
        let found = of_runtime(text);
        let wanted = [("go_a{state=\"g c\"}", 1.5e-6), ("jemalloc_b", 2.0), ("tokio_d", 5.0)];
        assert_eq!(found, BTreeMap::from(wanted.map(|(name, value)| (name.to_owned(), value))));
    }
}

//! What the generator counts and times.

use std::time::Duration;

use loadtests::scenario::{Doors, Scenario};
use loadtests::trace::Door;

use crate::support::{Manner, play, play_while_asked, scenario};

#[test]
fn every_request_is_sent_and_every_reply_is_read() {
    let record = play(&scenario(r#"["make"]"#, 200.0, 4, 64), |_| Manner::Reply);
    assert_eq!(record.offered, 98); // every 5 ms from one gap after the begin of each of the two stages
    assert_eq!(
        (record.sent, record.replies, record.skipped, record.dropped, record.unanswered),
        (98, 98, 0, 0, 0)
    );
    assert_eq!(record.statuses[&(0, 200)], 98);
    assert_eq!(
        (record.latency[0].count(), record.service.count(), record.lag.count(), record.wake_lag.count()),
        (98, 98, 98, 98)
    );
    assert!(record.length_ns >= 500_000_000, "{}", record.length_ns);
}

#[test]
fn a_stalled_server_shows_in_the_latency_from_the_due_time() {
    // One connection; the tenth request takes 200 ms, so some forty others come due meanwhile.
    let record = play(&scenario(r#"["make"]"#, 200.0, 1, 256), |id| match id {
        10 => Manner::Late(Duration::from_millis(200)),
        _ => Manner::Reply,
    });
    let (corrected, service) = (&record.latency[0], &record.service);
    assert_eq!((record.dropped, record.replies), (0, 98));
    // From the due time a quarter of all requests waited long; from the send only one did.
    assert!(corrected.percentile(75.0) > Some(50_000), "{:?}", corrected.percentile(75.0));
    assert!(corrected.sum() > 3.0 * service.sum(), "{} against {}", corrected.sum(), service.sum());
    assert!(record.queued >= 30, "{}", record.queued);
}

#[test]
fn what_cannot_be_sent_is_dropped_and_counted() {
    let record = play(&scenario(r#"["make"]"#, 200.0, 2, 5), |_| Manner::Never);
    assert_eq!((record.offered, record.sent, record.replies), (98, 2, 0));
    assert_eq!((record.dropped, record.unanswered), (93, 5));
}

#[test]
fn a_request_whose_result_is_not_there_is_skipped_and_counted() {
    // The answer to `make` takes longer than the think time before `use`.
    let record = play(&scenario(r#"["make", "use"]"#, 50.0, 16, 64), |id| match id {
        0..9 => Manner::Late(Duration::from_millis(150)),
        _ => Manner::Reply,
    });
    assert!(record.skipped > 0, "none skipped");
    assert_eq!(record.offered, record.sent + record.skipped);
    assert_eq!(record.sent, record.replies);
}

#[test]
fn shed_and_unexpected_replies_and_broken_connections_are_counted_by_kind() {
    let record = play(&scenario(r#"["make"]"#, 200.0, 4, 64), |id| match id {
        7 | 8 => Manner::Status(503),
        9 => Manner::Status(429),
        20 => Manner::HangUp,
        _ => Manner::Reply,
    });
    assert_eq!(
        (record.shed, record.latency[0].count(), record.service.count()),
        (1, record.replies - 1, record.replies - 1)
    );
    assert_eq!(record.kinds.get("make 503"), Some(&2));
    assert_eq!((record.failed, record.replies, record.sent), (1, 97, 98));
    assert_eq!(record.reopened, 1);
    assert_eq!(record.kinds.values().sum::<u64>(), 3, "{:?}", record.kinds);
}

/// The same scenario through another door.
fn through(door: Door, mut scenario: Scenario) -> Scenario {
    scenario.doors = Doors::only(door);
    scenario
}

#[test]
fn over_http2_and_grpc_requests_share_connections() {
    for door in [Door::Http2, Door::Grpc] {
        // All are late by more than half of the slice, so that two connections hold up to a hundred at once.
        let scenario = through(door, scenario(r#"["make"]"#, 200.0, 2, 256));
        let record = play(&scenario, |_| Manner::Late(Duration::from_millis(250)));
        assert_eq!((record.sent, record.replies, record.queued), (98, 98, 0), "{door:?}: {:?}", record.kinds);
        let code = if door == Door::Grpc { 0 } else { 200 };
        assert_eq!(record.statuses[&(0, code)], 98);
        assert_eq!(record.expected, [98, 0]);
    }
}

#[test]
fn over_grpc_the_code_is_what_counts() {
    let scenario = through(Door::Grpc, scenario(r#"["make"]"#, 200.0, 2, 64));
    let record = play(&scenario, |id| if id == 7 { Manner::Status(503) } else { Manner::Reply });
    assert_eq!(record.kinds.get("make 14"), Some(&1), "{:?}", record.kinds);
    assert_eq!((record.statuses[&(0, 14)], record.statuses[&(0, 0)]), (1, 97));
}

#[test]
fn a_stream_that_is_reset_fails_alone() {
    let scenario = through(Door::Http2, scenario(r#"["make"]"#, 200.0, 2, 64));
    let record = play(&scenario, |id| if id == 20 { Manner::HangUp } else { Manner::Reply });
    assert_eq!((record.sent, record.replies, record.failed), (98, 97, 1), "{:?}", record.kinds);
    assert_eq!(record.reopened, 0);
}

#[test]
fn what_is_out_when_draining_ends_is_unanswered_over_http2_too() {
    let scenario = through(Door::Http2, scenario(r#"["make"]"#, 200.0, 2, 64));
    let record = play(&scenario, |id| if id < 5 { Manner::Never } else { Manner::Reply });
    assert_eq!((record.sent, record.replies, record.unanswered, record.failed), (98, 93, 5, 0));
}

#[test]
fn replies_that_are_all_late_by_the_same_come_at_the_rate_of_the_requests() {
    let record = play(&scenario(r#"["make"]"#, 200.0, 98, 256), |_| Manner::Late(Duration::from_millis(250)));
    assert_eq!(record.replies, 98);
    assert!(record.length_ns > 700_000_000, "{}", record.length_ns);
    // The slice's own 500 ms, unless the machine stalls.
    assert!(record.answering_ns < record.length_ns - 200_000_000, "{}", record.answering_ns);
}

#[test]
fn a_connection_that_is_closed_is_opened_again_and_counted_though_no_request_comes_to_it() {
    for door in [Door::Http, Door::Http2] {
        let scenario = through(door, scenario(r#"["make"]"#, 10.0, 32, 64));
        let record = play_while_asked(&scenario, |_| Manner::Reply, Some(Duration::from_millis(100)));
        assert!(record.sent <= 5 && record.reopened >= 32, "{door:?}: {}, {}", record.sent, record.reopened);
    }
}

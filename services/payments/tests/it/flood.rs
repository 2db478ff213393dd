//! HTTP/2 used against the service: floods of small frames end in GOAWAY or cost a bounded memory, limits hold, and withheld messages
//! are given up.

use std::{future::poll_fn, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{
    Reason, SendStream,
    client::{ResponseFuture, SendRequest},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    process::{Beside, beside},
    world::{ADMIN, Setting, World},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// `POST http /`, as indices of HPACK's static table.
const REQUEST: [u8; 3] = [0x83, 0x86, 0x84];
/// Of one flood, if nothing ends it.
const FLOOD_BYTES: usize = 16 << 20;
/// What a flood may cost: far more than a connection's buffers, far less than the flood.
const MEMORY: i64 = 8 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head.as_slice(), payload].concat()
}

/// A connection that has said what it must.
async fn open(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&begin).await.unwrap();
    stream
}

/// The next frame: kind, flags, stream, payload. None at the end.
async fn next(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// The kinds of flood.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flood {
    Resets,
    Continuations,
    Pings,
    Settings,
}

impl Flood {
    /// About 64 KiB of it, the `n`th.
    fn part(self, n: u32) -> Vec<u8> {
        let reset = |stream: u32| {
            let begin = frame(HEADERS, END_HEADERS, stream, &REQUEST);
            [begin, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        };
        let member = [0, 1, b'a', 1, b'b'];
        match self {
            Self::Resets => (0..2000).flat_map(|i| reset((n * 2000 + i) * 2 + 1)).collect(),
            Self::Continuations if n == 0 => frame(HEADERS, 0, 1, &REQUEST),
            Self::Continuations => {
                (0..4).flat_map(|_| frame(CONTINUATION, 0, 1, &member.repeat(3200))).collect()
            }
            Self::Pings => frame(PING, 0, 0, &[7; 8]).repeat(3800),
            Self::Settings => frame(SETTINGS, 0, 0, &[]).repeat(7000),
        }
    }

    /// Sends it to its end, or until the server ends it: the GOAWAY's code, if one came. `reads`: what the server answers is read.
    async fn run(self, to: SocketAddr, reads: bool) -> Option<u32> {
        let (mut from, mut into) = open(to).await.into_split();
        let told = tokio::spawn(async move {
            let mut code = None;
            while reads && let Some((kind, _, _, payload)) = next(&mut from).await {
                if kind == GOAWAY {
                    code = Some(u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]));
                }
            }
            (from, code)
        });
        let (mut sent, mut n) = (0, 0);
        while sent < FLOOD_BYTES {
            let part = self.part(n);
            // A server that reads no more has stopped the flood as well as one that hangs up.
            let Ok(Ok(())) = timeout(Duration::from_secs(1), into.write_all(&part)).await else { break };
            (sent, n) = (sent + part.len(), n + 1);
        }
        drop(into);
        told.await.unwrap().1
    }
}

/// Resident bytes of a process.
fn resident(pid: u32) -> i64 {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    pages.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4096
}

/// Another connection is served.
async fn is_served(to: SocketAddr) {
    let mut stream = open(to).await;
    stream.write_all(&frame(PING, 0, 0, &[1; 8])).await.unwrap();
    loop {
        let (kind, flags, ..) = next(&mut stream).await.expect("an answer");
        if (kind, flags) == (PING, ACK) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_ends_in_goaway_or_costs_a_bounded_memory() {
    let Beside { world, child, mut log } = beside(Duration::ZERO).await;
    tokio::spawn(async move { while log.next_line().await.unwrap().is_some() {} });
    let pid = child.id().unwrap();
    for to in [world.at.http, world.at.grpc] {
        for flood in [Flood::Resets, Flood::Continuations, Flood::Pings, Flood::Settings] {
            for reads in [true, false] {
                let before = resident(pid);
                let code = flood.run(to, reads).await;
                let grown = resident(pid) - before;
                assert!(grown < MEMORY, "{flood:?} on {to}, answers read {reads}: {grown} bytes more");
                is_served(to).await;
                if reads && matches!(flood, Flood::Resets | Flood::Continuations) {
                    assert!(code.is_some_and(|code| code != 0), "{flood:?} on {to}: {code:?}");
                }
            }
        }
    }
    drop(child);
}

#[tokio::test]
async fn a_connection_is_told_its_limits_and_held_to_them() {
    let Beside { world, child, .. } = beside(Duration::ZERO).await;
    // A header of HPACK whose name stands in the static table.
    let literal = |name: &[u8], value: &str| [name, &[value.len() as u8], value.as_bytes()].concat();
    for (to, path, content) in [
        (world.at.http, "/v1/merchants", "application/json"),
        (world.at.grpc, "/payments.v1.AdminService/CreateMerchant", "application/grpc"),
    ] {
        let mut stream = open(to).await;
        // :authority, :path, content-type, authorization; a body that never comes keeps the stream open.
        let (path, content) = (literal(&[4], path), literal(&[15, 16], content));
        let authorization = literal(&[15, 8], &format!("Bearer {ADMIN}"));
        let block = [&REQUEST[..2], &literal(&[1], "x"), &path, &content, &authorization].concat();
        for n in 0..101 {
            stream.write_all(&frame(HEADERS, END_HEADERS, 2 * n + 1, &block)).await.unwrap();
        }
        let mut limits = None;
        let refused = loop {
            let (kind, flags, id, payload) = next(&mut stream).await.expect("the connection stays");
            if kind == SETTINGS && flags == 0 {
                let value = |wanted: u16| {
                    let of = |s: &&[u8]| u16::from_be_bytes([s[0], s[1]]) == wanted;
                    payload.chunks(6).find(of).map(|s| u32::from_be_bytes([s[2], s[3], s[4], s[5]]))
                };
                limits = Some((value(3), value(6)));
            }
            if kind == RST_STREAM && id == 201 {
                break payload;
            }
        };
        assert_eq!(limits, Some((Some(100), Some(16 << 10))), "streams and bytes of headers on {to}");
        assert_eq!(refused, 7_u32.to_be_bytes(), "REFUSED_STREAM on {to}");
    }
    drop(child);
}

const CREATE_MERCHANT: &str = "payments.v1.AdminService/CreateMerchant";
const WATCH_EVENTS: &str = "payments.v1.EventService/WatchEvents";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// Those whose clients send one message.
const CALLED: [&str; 4] =
    [CREATE_MERCHANT, WATCH_EVENTS, "grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"];
/// Nothing, half a prefix, half a message, a message without the end of its stream.
const PARTS: [&[u8]; 4] = [b"", b"\0\0", b"\0\0\0\0\x02\x0a", b"\0\0\0\0\0"];

/// One connection.
struct Caller {
    to: SocketAddr,
    requests: SendRequest<Bytes>,
}

/// An answer, and the call's own half of its stream, which is open as long as this lives.
type Call = (ResponseFuture, SendStream<Bytes>);

impl Caller {
    async fn connect(to: SocketAddr) -> Self {
        let (requests, connection) =
            h2::client::handshake(TcpStream::connect(to).await.unwrap()).await.unwrap();
        tokio::spawn(connection);
        Self { to, requests }
    }

    /// Begins a call and sends so much of its message.
    async fn begin(&self, method: &str, headers: &[(&str, &str)], sent: &'static [u8]) -> Call {
        let mut request = http::Request::post(format!("http://{}/{method}", self.to))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (answer, mut rest) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        if !sent.is_empty() {
            rest.send_data(Bytes::from_static(sent), false).unwrap();
        }
        (answer, rest)
    }
}

/// The reason of a call that is ended though its client hasn't, which frees its place.
async fn given_up((answer, mut rest): Call) -> (Code, String) {
    let head = timeout(Duration::from_secs(20), answer).await.expect("it is ended").unwrap();
    let reset = timeout(Duration::from_secs(20), poll_fn(|cx| rest.poll_reset(cx)));
    assert_eq!(reset.await.expect("its place is free").unwrap(), Reason::NO_ERROR);
    let status = Status::from_header_map(head.headers()).unwrap();
    (status.code(), status.get_details_error_info().unwrap().reason)
}

/// The code of a call whose stream the client ends with this.
async fn finished((answer, mut rest): Call, sent: &'static [u8]) -> Code {
    rest.send_data(Bytes::from_static(sent), true).unwrap();
    let head = answer.await.unwrap();
    if let Some(status) = Status::from_header_map(head.headers()) {
        return status.code();
    }
    let mut body = head.into_body();
    while let Some(data) = body.data().await {
        data.unwrap();
    }
    Status::from_header_map(&body.trailers().await.unwrap().unwrap()).unwrap().code()
}

#[tokio::test]
async fn a_call_whose_message_is_withheld_is_ended_and_its_place_is_free_again() {
    let env = vec![("BODY_TIMEOUT_MS", "300".to_owned())];
    let world = World::with(Setting { env, ..Setting::default() }).await;
    let caller = Caller::connect(world.at.grpc).await;
    // Its client may ask when it likes.
    let open = caller.begin(REFLECTION, &[], b"").await;
    for _ in 0..2 {
        let mut calls = Vec::new();
        for n in 0..99 {
            calls.push(caller.begin(CALLED[n % 4], &[], PARTS[n / 4 % 4]).await);
        }
        for (n, call) in calls.into_iter().enumerate() {
            let (method, sent) = (CALLED[n % 4], PARTS[n / 4 % 4]);
            let want = (Code::DeadlineExceeded, "REQUEST_TIMEOUT".to_owned());
            assert_eq!(given_up(call).await, want, "{sent:?} of {method}");
        }
    }
    assert_eq!(finished(open, b"\0\0\0\0\x02\x3a\0").await, Code::Ok);
    let authorization = format!("Bearer {ADMIN}");
    let call = caller.begin(CREATE_MERCHANT, &[("authorization", &authorization)], b"").await;
    assert_eq!(finished(call, b"\0\0\0\0\x03\x0a\x01a").await, Code::Ok);

    let told = prometheus::TextEncoder::new().encode_to_string(&world.metrics.registry.gather()).unwrap();
    for method in [CREATE_MERCHANT, WATCH_EVENTS] {
        let counted = told.lines().filter(|line| {
            line.starts_with("rpc_server_call_duration_seconds_count{")
                && line.contains(&format!(r#"rpc_method="{method}""#))
                && line.contains(r#"error_type="REQUEST_TIMEOUT""#)
                && line.contains(r#"rpc_response_status_code="DEADLINE_EXCEEDED""#)
                && line.ends_with("} 50")
        });
        assert_eq!(counted.count(), 1, "{method} in {told}");
    }
}

#[tokio::test]
async fn a_deadline_that_passes_while_the_message_is_withheld_is_told_as_such() {
    let world = World::new().await;
    let caller = Caller::connect(world.at.grpc).await;
    let mut calls = Vec::new();
    for method in CALLED {
        for sent in PARTS {
            calls.push((method, sent, caller.begin(method, &[("grpc-timeout", "1S")], sent).await));
        }
    }
    for (method, sent, call) in calls {
        let want = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned());
        assert_eq!(given_up(call).await, want, "{sent:?} of {method}");
    }
}

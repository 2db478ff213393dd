//! HTTP/2 used against the service: floods of small frames end in GOAWAY or cost a bounded memory, and limits hold.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    process::{Beside, beside},
    world::ADMIN,
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

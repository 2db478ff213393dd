//! Profiles of the program, decoded.

use std::{collections::HashMap, io::Read as _, net::SocketAddr, time::Duration};

use prost::Message;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    process::{Beside, beside, beside_with, signal},
    world::VISA,
};

/// The members of pprof's `profile.proto` that are looked at.
#[derive(Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
}

#[derive(Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
}

#[derive(Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

impl Profile {
    fn decode_from(body: &[u8]) -> Self {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(body).read_to_end(&mut bytes).unwrap();
        Self::decode(&*bytes).unwrap()
    }

    fn text(&self, index: i64) -> &str {
        &self.string_table[usize::try_from(index).unwrap()]
    }

    /// How much of all was counted where no function is named.
    fn unnamed(&self) -> f64 {
        let named = |id| self.location.iter().any(|location| location.id == id && !location.line.is_empty());
        let (mut unnamed, mut all) = (0, 0);
        for sample in &self.sample {
            all += sample.value[0];
            unnamed += if named(sample.location_id[0]) { 0 } else { sample.value[0] };
        }
        unnamed as f64 / all as f64
    }

    /// What is counted, its unit, and each sample's stack of names, the innermost first, with its value.
    fn told(&self) -> (&str, &str, Vec<(Vec<&str>, i64)>) {
        let names: HashMap<u64, &str> =
            self.function.iter().map(|function| (function.id, self.text(function.name))).collect();
        let lines: HashMap<u64, &[Line]> =
            self.location.iter().map(|location| (location.id, location.line.as_slice())).collect();
        // Where there are none, `go tool pprof` asks the service for names, and fails.
        let named = |location: &&Location| {
            self.mapping.iter().any(|mapping| mapping.id == location.mapping_id && mapping.has_functions)
        };
        let mapped = |location: &&Location| location.mapping_id > 0;
        let program: Vec<_> = self.location.iter().filter(mapped).collect();
        assert!(!program.is_empty() && program.iter().all(named), "{:?} {program:?}", self.mapping);
        let stack = |sample: &Sample| {
            sample.location_id.iter().flat_map(|id| lines[id]).map(|line| names[&line.function_id]).collect()
        };
        let stacks = self.sample.iter().map(|sample| (stack(sample), sample.value[0])).collect();
        (self.text(self.sample_type[0].kind), self.text(self.sample_type[0].unit), stacks)
    }
}

/// A GET on a connection of its own: the status and the body, or none where it was cut.
async fn get(to: SocketAddr, path: &str) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    let end = got.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let status = String::from_utf8_lossy(&got[..end]).split(' ').nth(1)?.parse().ok()?;
    Some((status, got.split_off(end + 4)))
}

#[tokio::test]
async fn a_profile_names_what_the_service_does() {
    let Beside { world, mut log, child } =
        beside_with(Duration::ZERO, &[("TWINPAY_HASH_ITERATIONS", "16384".into())]).await;
    // A pipe that nobody reads would stop it.
    tokio::spawn(async move { while log.next_line().await.unwrap().is_some() {} });
    let secret = world.merchant(json!({})).await;
    let work = async {
        loop {
            world.token(&secret, VISA).await;
        }
    };
    let (status, body) = tokio::select! {
        answer = get(world.at.admin, "/debug/pprof/profile?seconds=1") => answer.unwrap(),
        () = work => unreachable!("it has no end"),
    };
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let profile = Profile::decode_from(&body);
    let (kind, unit, stacks) = profile.told();
    assert_eq!((kind, unit), ("cpu", "nanoseconds"));
    assert!(stacks.iter().all(|(_, value)| *value > 0 && value % 10_000_000 == 0), "{stacks:?}");
    // From the innermost to the thread's beginning: the unwinder loses nothing on its way.
    let hash = stacks.iter().find(|(names, _)| {
        let at = |part: &str| names.iter().position(|name| name.contains(part));
        let (inner, ours, outer) = (at("sha2::"), at("payments::hash_pool::"), at("std::sys::thread"));
        inner.is_some() && inner < ours && ours < outer
    });
    assert!(hash.is_some(), "{stacks:#?}");
    assert!(profile.unnamed() < 0.05, "{}", profile.unnamed());
    drop(child);
}

#[tokio::test]
async fn a_heap_profile_names_what_the_service_holds() {
    let Beside { world, child, .. } = beside(Duration::ZERO).await;
    // Ten MB of buffers at a sample per 512 KiB.
    let mut held = Vec::new();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(world.at.http).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        held.push(stream);
    }
    let (status, body) = get(world.at.admin, "/debug/pprof/heap").await.unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let profile = Profile::decode_from(&body);
    let (kind, unit, stacks) = profile.told();
    assert_eq!((kind, unit), ("inuse_space", "bytes"));
    let ours = |names: &[&str]| names.iter().any(|name| name.contains("payments::app::listen"));
    assert!(stacks.iter().any(|(names, bytes)| ours(names) && *bytes > 0), "{stacks:#?}");
    drop((held, child));
}

#[tokio::test]
async fn a_profile_of_a_bad_length_is_refused() {
    let Beside { world, child, .. } = beside(Duration::ZERO).await;
    for seconds in ["", "0", "61", "-1", "+1", "1.5", "x", "99999999999999999999"] {
        let path = format!("/debug/pprof/profile?seconds={seconds}");
        let (status, body) = get(world.at.admin, &path).await.unwrap();
        let told = String::from_utf8(body).unwrap();
        let wanted = (400, "seconds must be an integer from 1 to 60\n");
        assert_eq!((status, told.as_str()), wanted, "{seconds}");
    }
    drop(child);
}

#[tokio::test]
async fn a_second_profile_is_refused_and_a_drain_cuts_the_first() {
    let Beside { world, mut child, mut log } = beside(Duration::ZERO).await;
    let ask = || tokio::spawn(get(world.at.admin, "/debug/pprof/profile?seconds=60"));
    let (mut one, mut other) = (ask(), ask());
    // The other one can't have an answer yet.
    let (refused, taking) = tokio::select! {
        refused = &mut one => (refused, other),
        refused = &mut other => (refused, one),
    };
    let (status, body) = refused.unwrap().unwrap();
    let told = String::from_utf8(body).unwrap();
    assert_eq!((status, told.as_str()), (409, "another profile is being taken: wait for its end\n"));
    signal(&child);
    let (status, body) = taking.await.unwrap().expect("it is answered at the drain");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    Profile::decode_from(&body);
    while log.next_line().await.unwrap().is_some() {}
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

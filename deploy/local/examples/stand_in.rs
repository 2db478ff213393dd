//! As much of a service as the stack can see: it listens, says so, is ready, and migrates nothing. For the tests of
//! `stack up`, which then need no other crate.

use std::io::{Read, Write};
use std::net::TcpListener;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("migrate") {
        return;
    }
    let door = |variable: &str| {
        let addr = std::env::var(variable).ok()?;
        // One line, as a service's own error: a panic's backtrace would push it out of the log's end.
        Some(TcpListener::bind(addr).unwrap_or_else(|error| {
            eprintln!("{error:?}");
            std::process::exit(1)
        }))
    };
    let addr = |door: &TcpListener| door.local_addr().expect("bound").to_string();
    let [http, grpc, admin, network] =
        ["TWINPAY_HTTP_ADDR", "TWINPAY_GRPC_ADDR", "TWINPAY_ADMIN_ADDR", "ACQUIRER_ADDR"].map(door);
    let grpc = grpc.or(network).expect("an address to listen on");
    let mut line = serde_json::json!({ "message": "listening", "grpc_addr": addr(&grpc) });
    if let (Some(http), Some(admin)) = (&http, &admin) {
        line["http_addr"] = addr(http).into();
        line["admin_addr"] = addr(admin).into();
    }
    println!("{line}");
    for connection in admin.as_ref().unwrap_or(&grpc).incoming() {
        let mut connection = connection.expect("a connection");
        // A probe is read before it is answered, or closing would reset it. Errors are the probe's.
        let _bytes = connection.read(&mut [0; 1024]);
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    }
}

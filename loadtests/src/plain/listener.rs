//! Who listens on a port of this machine.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};

use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};

/// The one process that listens on `address`; or why it can't be named, as a half-sentence.
pub fn pid(address: SocketAddr) -> Result<u32, String> {
    let sockets = sockets(address);
    let port = address.port();
    if sockets.is_empty() {
        return Err(format!("nobody on this machine listens on port {port}"));
    }
    let holds = |process: &Process| {
        let open = process.fd().into_iter().flatten().flatten();
        let mut inodes = open.filter_map(|open| {
            let FDTarget::Socket(inode) = open.target else { return None };
            Some(inode)
        });
        inodes.any(|inode| sockets.contains(&inode))
    };
    let processes = all_processes().map_err(|error| error.to_string())?.flatten();
    let pids: Vec<u32> = processes.filter(holds).map(|process| process.pid().unsigned_abs()).collect();
    match pids.as_slice() {
        [pid] => Ok(*pid),
        [] => Err(format!("who listens on port {port} is another user’s process")),
        several => Err(format!("{} processes listen on port {port}", several.len())),
    }
}

/// Sockets that listen there, by inode: on the address itself or on all of its machine's.
fn sockets(address: SocketAddr) -> BTreeSet<u64> {
    let entries = [tcp(), tcp6()].into_iter().flatten().flatten();
    // Only this machine's own addresses can be bound to.
    let local = UdpSocket::bind((address.ip(), 0)).is_ok();
    let there = |entry: &TcpNetEntry| {
        let (ip, port) = (entry.local_address.ip(), entry.local_address.port());
        let same = ip.to_canonical() == address.ip().to_canonical();
        entry.state == TcpState::Listen && port == address.port() && (same || local && ip.is_unspecified())
    };
    entries.filter(there).map(|entry| entry.inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port_whatever_it_is_bound_to() {
        for bound in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(bound) else {
                assert_eq!(bound, "[::]:0", "only a machine without IPv6 may not bind");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            assert_eq!(pid(SocketAddr::from(([127, 0, 0, 1], port))), Ok(std::process::id()), "{bound}");
        }
    }

    #[test]
    fn where_nobody_listens_nobody_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let wanted = format!("nobody on this machine listens on port {}", free.port());
        assert_eq!(pid(free), Err(wanted));
    }
}

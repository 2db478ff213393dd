//! The operations about money on disk, so that a restart forgets none: a line each, written before the answer leaves.
//!
//! A line is `id rpc network_token amount currency outcome decline_reason checksum`. It reaches the kernel, not the disk:
//! it survives the end of this process, however it ends, and not a power cut. The file grows by about 130 bytes an
//! operation until somebody removes it; what is remembered of it is as bounded as [`crate::operations`] are. Tokens
//! aren't in it: they follow from operation id and card, and of a card nothing is written but its token.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use payments_proto::acquirer::v1::{DeclineReason, Outcome, Result as Decision};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::log;
use crate::script::Rpc;

/// What was decided about one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// The operation.
    pub id: &'a str,
    /// By which rpc.
    pub rpc: Rpc,
    /// The card's.
    pub network_token: &'a str,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: [u8; 3],
    /// The decision.
    pub decision: Decision,
}

/// The file, open at its end. Only one process has it.
#[derive(Debug)]
pub struct Journal(Mutex<End>);

#[derive(Debug)]
struct End {
    file: File,
    /// Behind the last whole line; nothing is written any more once that can't be restored.
    at: Option<u64>,
}

impl Journal {
    /// Opens or makes the file, and gives each of its records. A torn last line, of an operation that was never answered,
    /// is cut off. The error is one line that names the file.
    pub fn open(path: &Path, mut restore: impl FnMut(Record<'_>)) -> Result<Journal, String> {
        let wrong = |what: &str| format!("ACQUIRER_LOG is {}: {what}", path.display());
        let cannot = |error: std::io::Error| wrong(&format!("it can't be used: {error}"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(cannot)?;
        file.try_lock().map_err(|_| wrong("another card network has it open"))?;
        let mut reader = BufReader::new(&file);
        let (mut end, mut number, mut line) = (0, 0, Vec::new());
        while reader.read_until(b'\n', &mut line).map_err(cannot)? > 0 && line.ends_with(b"\n") {
            number += 1;
            let record = std::str::from_utf8(&line).ok().and_then(parse).ok_or_else(|| {
                wrong(&format!("line {number} isn't a record: remove the file, or name another"))
            })?;
            restore(record);
            end += line.len() as u64;
            line.clear();
        }
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(cannot)?;
        Ok(Journal(Mutex::new(End { file, at: Some(end) })))
    }

    /// Writes a record; false where it can't be, and then nothing of it stays.
    pub fn append(&self, record: &Record<'_>) -> bool {
        let line = render(record);
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = end.at else { return false };
        match end.file.write_all(line.as_bytes()) {
            Ok(()) => end.at = Some(at + line.len() as u64),
            Err(error) => {
                log::line("error", "an operation can't be logged", json!({ "error": error.to_string() }));
                let back = end.file.set_len(at).and_then(|()| end.file.seek(SeekFrom::Start(at)));
                end.at = back.ok();
                return false;
            }
        }
        true
    }
}

fn render(record: &Record<'_>) -> String {
    let Record { id, rpc, network_token, amount, currency, decision } = record;
    let currency: String = currency.map(char::from).iter().collect();
    let Decision { outcome, decline_reason } = decision;
    let text = format!("{id} {} {network_token} {amount} {currency} {outcome} {decline_reason}", rpc.name());
    format!("{text} {:08x}\n", checksum(&text))
}

/// A whole line; None where it isn't as it was written.
fn parse(line: &str) -> Option<Record<'_>> {
    let (text, sum) = line.strip_suffix('\n')?.rsplit_once(' ')?;
    if sum != format!("{:08x}", checksum(text)) {
        return None;
    }
    let words: Vec<&str> = text.split(' ').collect();
    let [id, rpc, network_token, amount, currency, outcome, reason] = words[..] else { return None };
    let outcome = Outcome::try_from(outcome.parse::<i32>().ok()?).ok()?.into();
    let decline_reason = DeclineReason::try_from(reason.parse::<i32>().ok()?).ok()?.into();
    Some(Record {
        id,
        rpc: Rpc::named(rpc)?,
        network_token,
        amount: amount.parse().ok()?,
        currency: currency.as_bytes().try_into().ok()?,
        decision: Decision { outcome, decline_reason },
    })
}

fn checksum(text: &str) -> u32 {
    let digest = Sha256::digest(text);
    digest.iter().take(4).fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record<'_> {
        let outcome = Outcome::Declined.into();
        let decline_reason = DeclineReason::InsufficientFunds.into();
        let decision = Decision { outcome, decline_reason };
        Record { id, rpc: Rpc::Refund, network_token: "ntk_1", amount: 5, currency: *b"USD", decision }
    }

    #[test]
    fn a_line_comes_back_as_it_was_written_and_any_changed_byte_is_seen() {
        let line = render(&record("a"));
        assert_eq!(parse(&line), Some(record("a")));
        for place in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[place] ^= 1;
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(parse(&changed), None, "{changed}");
        }
    }
}

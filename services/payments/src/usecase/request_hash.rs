//! What tells two requests under one key apart: SHA-256 over netstrings of the operation, the path's ids, and each member that is
//! present after the defaults. The definition stands on top of `proto/vectors/request_hash.toml`.

use sha2::{Digest as _, Sha256};

/// Hashes a request piece by piece.
pub(super) struct RequestHash(Sha256);

impl RequestHash {
    /// `path` are the ids as they were sent.
    pub(super) fn new(operation: &str, path: &[&str]) -> Self {
        let mut hash = Self(Sha256::new());
        hash.netstring(operation.as_bytes());
        for id in path {
            hash.netstring(id.as_bytes());
        }
        hash
    }

    /// A member that is present.
    pub(super) fn member(&mut self, name: &str, value: &str) {
        self.netstring(name.as_bytes());
        self.netstring(value.as_bytes());
    }

    /// An integer, if it is present.
    pub(super) fn integer(&mut self, name: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.member(name, &value.to_string());
        }
    }

    /// The hash of all that was added.
    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    fn netstring(&mut self, bytes: &[u8]) {
        self.0.update(bytes.len().to_string());
        self.0.update(b":");
        self.0.update(bytes);
        self.0.update(b",");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_vectors() {
        let vectors: toml::Table =
            include_str!("../../../../proto/vectors/request_hash.toml").parse().unwrap();
        for case in vectors["request"].as_array().unwrap() {
            let none = Vec::new();
            let path = case.get("path").and_then(toml::Value::as_array).unwrap_or(&none);
            let path: Vec<&str> = path.iter().map(|id| id.as_str().unwrap()).collect();
            let mut hash = RequestHash::new(case["operation"].as_str().unwrap(), &path);
            for member in case["members"].as_array().unwrap() {
                hash.member(member[0].as_str().unwrap(), member[1].as_str().unwrap());
            }
            assert_eq!(hex::encode(hash.finish()), case["sha256"].as_str().unwrap(), "{case}");
        }
    }
}

//! `db/postgres.toml`: what every Postgres of ours has in common, wherever it runs.

use std::sync::LazyLock;

use serde::Deserialize;

/// The file, read.
pub static SERVER: LazyLock<Server> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../db/postgres.toml")).expect("db/postgres.toml fits its reader")
});

/// How a server is made and run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `name:tag`, for a container.
    pub image: String,
    /// Arguments of initdb.
    pub initdb: Vec<String>,
    /// `name=value` each.
    pub settings: Vec<String>,
    /// More of them, where a crash may cost everything.
    pub careless: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres_bin::DOWNLOADED;

    #[test]
    fn a_container_has_the_major_version_that_is_downloaded() {
        let (_, tag) = SERVER.image.split_once(':').expect("a tag");
        assert_eq!(Some(tag), DOWNLOADED.split('.').next());
    }
}

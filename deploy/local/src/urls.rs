//! Database URLs, taken apart and put together.

use url::Url;

use crate::error::{Error, Result};

/// `postgres://user:password@127.0.0.1:port/database`, without TLS: everything is on one machine, and asking the server
/// for TLS would cost each new connection a round trip.
pub(crate) fn local(user: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
}

/// The same server and user, another database.
pub fn with_database(url: &str, database: &str) -> Result<String> {
    let mut parsed = parse(url)?;
    parsed.set_path(database);
    Ok(parsed.into())
}

/// The same server and database, as another user.
pub fn with_user(url: &str, user: &str, password: &str) -> Result<String> {
    let mut parsed = parse(url)?;
    let failed = |()| Error::Other("a database URL without a host can't take a user".into());
    parsed.set_username(user).map_err(failed)?;
    parsed.set_password(Some(password)).map_err(failed)?;
    Ok(parsed.into())
}

/// The URL itself stays out of the message: it holds a password.
fn parse(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| Error::Other(format!("the database URL can't be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_and_user_are_replaced_and_the_rest_is_kept() {
        let url = local("owner", "secret", 5000, "postgres");
        let other = with_database(&url, "payments_go").expect("a URL");
        assert_eq!(other, "postgres://owner:secret@127.0.0.1:5000/payments_go?sslmode=disable");
        let service = with_user(&other, "twinpay_service", "p").expect("a URL");
        assert_eq!(service, "postgres://twinpay_service:p@127.0.0.1:5000/payments_go?sslmode=disable");
    }

    #[test]
    fn a_bad_url_is_not_repeated_in_the_error() {
        let error = with_database("secret", "x").expect_err("bad").to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

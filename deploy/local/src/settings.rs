//! What a person can set for `up`: ports, and whatever the parts read themselves.

use crate::error::{Error, Result};
use crate::instance::{Ports, Twin};

/// A port of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// For messages.
    pub name: &'static str,
    /// What sets it.
    pub variable: &'static str,
    /// On 127.0.0.1.
    pub port: u16,
}

/// All ports of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllPorts {
    /// Postgres.
    pub postgres: Port,
    /// The card network.
    pub acquirer: Port,
    /// HTTP, gRPC and admin of the Rust service.
    pub rust: [Port; 3],
    /// HTTP, gRPC and admin of the Go service.
    pub go: [Port; 3],
}

impl AllPorts {
    /// Defaults, and what the environment says.
    pub fn from_env() -> Result<AllPorts> {
        AllPorts::read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn read(get: impl Fn(&str) -> Option<String>) -> Result<AllPorts> {
        let port = |name, variable, default| match get(variable) {
            None => Ok(Port { name, variable, port: default }),
            Some(text) => match text.parse() {
                Ok(port) if port > 0 => Ok(Port { name, variable, port }),
                _ => {
                    Err(Error::Setting(format!("{variable} is {text:?}: it must be a port from 1 to 65535")))
                }
            },
        };
        let all = AllPorts {
            postgres: port("Postgres", "TWINPAY_POSTGRES_PORT", 54329)?,
            acquirer: port("the card network", "TWINPAY_ACQUIRER_PORT", 9090)?,
            rust: [
                port("HTTP of the Rust service", "TWINPAY_RUST_HTTP_PORT", 8081)?,
                port("gRPC of the Rust service", "TWINPAY_RUST_GRPC_PORT", 9081)?,
                port("admin of the Rust service", "TWINPAY_RUST_ADMIN_PORT", 9481)?,
            ],
            go: [
                port("HTTP of the Go service", "TWINPAY_GO_HTTP_PORT", 8082)?,
                port("gRPC of the Go service", "TWINPAY_GO_GRPC_PORT", 9082)?,
                port("admin of the Go service", "TWINPAY_GO_ADMIN_PORT", 9482)?,
            ],
        };
        all.are_distinct()?;
        Ok(all)
    }

    fn are_distinct(&self) -> Result<()> {
        let mut all: Vec<Port> =
            [self.postgres, self.acquirer].into_iter().chain(self.rust).chain(self.go).collect();
        all.sort_by_key(|port| port.port);
        match all.windows(2).find(|pair| pair[0].port == pair[1].port) {
            Some([one, two]) => {
                Err(Error::Setting(format!("{} and {} are both {}", one.variable, two.variable, one.port)))
            }
            _ => Ok(()),
        }
    }

    /// The three of a twin.
    pub fn of(&self, twin: Twin) -> [Port; 3] {
        match twin {
            Twin::Rust => self.rust,
            Twin::Go => self.go,
        }
    }
}

/// The three of a twin, as an instance takes them.
pub fn numbers([http, grpc, admin]: [Port; 3]) -> Ports {
    Ports { http: http.port, grpc: grpc.port, admin: admin.port }
}

/// An error where somebody listens on it.
pub fn check_free(port: Port) -> Result<()> {
    match std::net::TcpListener::bind(("127.0.0.1", port.port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(Error::PortTaken { name: port.name, port: port.port, variable: port.variable })
        }
        Err(error) => Err(Error::Setting(format!(
            "port {} for {} can't be used: {error}; choose another: {}=<port>",
            port.port, port.name, port.variable
        ))),
    }
}

/// What `up` itself decides, or what isn't a setting of a service.
const NOT_PASSED_ON: [&str; 10] = [
    "TWINPAY_STACK",
    "TWINPAY_DATABASE_URL",
    "TWINPAY_SERVICE_PASSWORD",
    "TWINPAY_ACQUIRER_URL",
    "TWINPAY_ADMIN_TOKEN",
    "TWINPAY_PEPPER",
    "TWINPAY_WEBHOOK_MASTER",
    "TWINPAY_COMMIT",
    "TWINPAY_POSTGRES_BIN",
    "ACQUIRER_ADDR",
];

/// The person's own settings of a service: every `TWINPAY_` variable (or `ACQUIRER_`) that `up` doesn't decide.
pub fn passed_on(prefix: &str) -> Vec<(String, String)> {
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    let all = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    all.filter(|(name, _)| name.starts_with(prefix) && is_passed_on(name)).collect()
}

fn is_passed_on(name: &str) -> bool {
    let ours = name.ends_with("_PORT") || name.ends_with("_ADDR") || name.starts_with("TWINPAY_BIN_");
    !ours && !NOT_PASSED_ON.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &'static [(&'static str, &'static str)]) -> Result<AllPorts> {
        AllPorts::read(|asked| {
            values.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn a_port_comes_from_its_variable_or_the_default() {
        let ports = with(&[("TWINPAY_GO_ADMIN_PORT", "23000")]).expect("ports");
        assert_eq!(numbers(ports.go), Ports { http: 8082, grpc: 9082, admin: 23000 });
        assert_eq!(numbers(ports.rust), Ports { http: 8081, grpc: 9081, admin: 9481 });
    }

    #[test]
    fn a_wrong_port_names_its_variable() {
        for value in ["0", "65536", "x", ""] {
            let error = AllPorts::read(|name| (name == "TWINPAY_ACQUIRER_PORT").then(|| value.into()))
                .expect_err(value);
            assert!(error.to_string().starts_with("TWINPAY_ACQUIRER_PORT is "), "{error}");
        }
    }

    #[test]
    fn one_port_for_two_parts_names_both_variables() {
        let error = with(&[("TWINPAY_GO_HTTP_PORT", "9090")]).expect_err("twice").to_string();
        assert!(error.contains("TWINPAY_GO_HTTP_PORT") && error.contains("TWINPAY_ACQUIRER_PORT"), "{error}");
    }

    #[test]
    fn a_taken_port_names_the_port_and_the_variable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let error = check_free(Port { name: "Postgres", variable: "TWINPAY_POSTGRES_PORT", port })
            .expect_err("taken");
        assert_eq!(
            error.to_string(),
            format!(
                "port {port} for Postgres is taken; free it, or choose another: TWINPAY_POSTGRES_PORT=<port>"
            )
        );
    }

    #[test]
    fn settings_of_the_services_are_passed_on_and_ours_are_not() {
        assert!(is_passed_on("TWINPAY_LOG_LEVEL") && is_passed_on("ACQUIRER_LATENCY"));
        for name in
            ["TWINPAY_GO_HTTP_PORT", "TWINPAY_BIN_GO", "TWINPAY_PEPPER", "TWINPAY_HTTP_ADDR", "ACQUIRER_ADDR"]
        {
            assert!(!is_passed_on(name), "{name}");
        }
    }
}

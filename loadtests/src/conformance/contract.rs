//! The contract as data: operations, errors and messages, read from `proto/` and `loadtests/conformance/operations.toml`,
//! so that no operation and no error needs code in the runner.

use anyhow::{Context, anyhow};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use serde::Deserialize;
use tonic::Code;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// With the admin token.
    Admin,
    /// With a merchant's API key.
    Merchant,
}

/// Whether an operation takes an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// It needs one.
    Required,
    /// It may have one.
    Optional,
    /// It ignores one.
    None,
}

/// One operation: an rpc and where it is over HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// `payments.v1.PaymentService/CapturePayment`.
    pub rpc: String,
    /// The HTTP method.
    pub method: String,
    /// The HTTP path; `{name}` is a member of the request message.
    pub path: String,
    /// The HTTP status of success.
    pub status: u16,
    /// Who may call it.
    pub caller: Caller,
    /// Whether it takes a key.
    pub key: Key,
}

impl Operation {
    /// `CapturePayment`.
    pub fn name(&self) -> &str {
        self.rpc.rsplit('/').next().unwrap_or(&self.rpc)
    }
}

/// One row of `proto/errors.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRow {
    /// The reason.
    pub reason: String,
    /// The HTTP status.
    pub status: u16,
    /// The gRPC code by name; empty: never over gRPC.
    pub grpc: String,
    /// Seconds.
    pub retry_after: Option<u32>,
    /// RFC 9457's title.
    pub title: String,
    /// RFC 9457's detail, and gRPC's message.
    pub detail: String,
}

/// `proto/errors.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// `ErrorInfo.domain`.
    pub domain: String,
    /// What stands before the reason in `type`.
    pub type_prefix: String,
    /// All reasons.
    #[serde(rename = "error")]
    pub rows: Vec<ErrorRow>,
    /// The description of a violation by its reason.
    pub violations: std::collections::BTreeMap<String, String>,
}

impl Errors {
    /// The row of a reason.
    pub fn row(&self, reason: &str) -> Option<&ErrorRow> {
        self.rows.iter().find(|row| row.reason == reason)
    }

    /// `type` of a problem.
    pub fn type_uri(&self, reason: &str) -> String {
        format!("{}{}", self.type_prefix, reason.to_lowercase())
    }

    /// What a violation says, with its bounds filled in.
    pub fn description(&self, reason: &str, min: Option<i64>, max: Option<i64>) -> Option<String> {
        let mut text = self.violations.get(reason)?.clone();
        for (name, bound) in [("{min}", min), ("{max}", max)] {
            if let Some(bound) = bound {
                text = text.replace(name, &bound.to_string());
            }
        }
        (!text.contains('{')).then_some(text)
    }
}

/// Everything that cases and checks look up.
#[derive(Debug)]
pub struct Contract {
    /// All operations.
    pub operations: Vec<Operation>,
    /// All errors.
    pub errors: Errors,
    /// All messages, with those of gRPC health and reflection.
    pub pool: DescriptorPool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operations {
    operation: Vec<Operation>,
}

impl Contract {
    /// The contract that this program was built with.
    pub fn load() -> anyhow::Result<Self> {
        let operations: Operations =
            toml::from_str(include_str!("../../conformance/operations.toml")).context("operations.toml")?;
        let errors = toml::from_str(include_str!("../../../proto/errors.toml")).context("errors.toml")?;
        let mut pool = DescriptorPool::decode(payments_proto::FILE_DESCRIPTOR_SET)?;
        pool.decode_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)?;
        pool.decode_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)?;
        let contract = Self { operations: operations.operation, errors, pool };
        for operation in &contract.operations {
            contract.method(&operation.rpc)?;
        }
        Ok(contract)
    }

    /// An operation by the name of its rpc.
    pub fn operation(&self, name: &str) -> anyhow::Result<&Operation> {
        self.operations
            .iter()
            .find(|operation| operation.name() == name)
            .ok_or_else(|| anyhow!("no operation {name}"))
    }

    /// The descriptor of `package.Service/Method`.
    pub fn method(&self, rpc: &str) -> anyhow::Result<MethodDescriptor> {
        let unknown = || anyhow!("no rpc {rpc} in proto/");
        let (service, name) = rpc.split_once('/').ok_or_else(unknown)?;
        let service = self.pool.get_service_by_name(service).ok_or_else(unknown)?;
        service.methods().find(|method| method.name() == name).ok_or_else(unknown)
    }
}

/// A gRPC code by its name in capitals, as `errors.toml` and the cases write it.
pub fn code(name: &str) -> Option<Code> {
    (0..=16).map(Code::from_i32).find(|code| code_name(*code) == name)
}

/// `INVALID_ARGUMENT` of `Code::InvalidArgument`.
pub fn code_name(code: Code) -> String {
    let camel = format!("{code:?}");
    let mut name = String::new();
    for (index, letter) in camel.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_every_error_is_known_on_both_doors() {
        let contract = Contract::load().unwrap();
        let rpcs: usize = [
            "AdminService",
            "VaultService",
            "PaymentService",
            "EventService",
            "LedgerService",
            "WebhookService",
        ]
        .map(|service| {
            contract.pool.get_service_by_name(&format!("payments.v1.{service}")).unwrap().methods().len()
        })
        .iter()
        .sum();
        assert_eq!(contract.operations.len(), rpcs);
        for row in &contract.errors.rows {
            assert!(row.grpc.is_empty() || code(&row.grpc).is_some(), "{}", row.reason);
        }
    }

    #[test]
    fn descriptions_need_their_bounds() {
        let errors = Contract::load().unwrap().errors;
        assert_eq!(
            errors.description("OUT_OF_RANGE", Some(1), Some(12)).as_deref(),
            Some("must be from 1 to 12")
        );
        assert_eq!(errors.description("OUT_OF_RANGE", Some(1), None), None);
        assert_eq!(errors.description("REQUIRED", None, None).as_deref(), Some("is required"));
    }

    #[test]
    fn codes_have_the_names_of_the_specification() {
        assert_eq!(code("INVALID_ARGUMENT"), Some(Code::InvalidArgument));
        assert_eq!(code_name(Code::DeadlineExceeded), "DEADLINE_EXCEEDED");
        assert_eq!(code_name(Code::Ok), "OK");
    }
}

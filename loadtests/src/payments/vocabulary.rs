//! The operations of the payment workload, and what is drawn for each request of a flow.

use acquirer::latency::Latency;
use serde_json::{Value, json};

use super::card;
use super::player::{PaymentPlayer, check_line};
use super::variables::Config;
use crate::draw::Draw;
use crate::scenario::{Flow, Parameters, Settings};
use crate::trace::Trace;
use crate::workload::{Operation, Player, PlayerTarget, Workload};

/// Merchants that the traffic is spread over: enough that no row of one merchant is special.
pub const MERCHANTS: usize = 8;

/// In the order of a payment's life.
const OPERATIONS: [Operation; 6] = [
    Operation { name: "tokenize", needs: &[] },
    Operation { name: "sale", needs: &["tokenize"] },
    Operation { name: "authorize", needs: &["tokenize"] },
    Operation { name: "capture", needs: &["authorize"] },
    Operation { name: "refund", needs: &["sale", "capture"] },
    Operation { name: "get", needs: &["sale", "authorize"] },
];
const CURRENCIES: [&str; 4] = ["USD", "EUR", "GBP", "JPY"];

/// The setting of a scenario that says how long the card network takes for an answer.
pub(super) const CARD_NETWORK_LATENCY: &str = "card_network_latency";
/// What it is where no setting says. A real one takes 20 to 200 ms; this is enough to be waited for, and short enough not to
/// hide the services behind it.
pub(super) const USUAL_LATENCY: &str = "fixed:2ms";
/// Settings that begin so are variables of both services.
pub(super) const OF_SERVICES: &str = "TWINPAY_";

/// The workload `payments`.
pub struct Payments;

impl Workload for Payments {
    fn name(&self) -> &'static str {
        "payments"
    }

    fn operations(&self) -> &'static [Operation] {
        &OPERATIONS
    }

    fn check_flow(&self, flow: &Flow) -> Result<(), String> {
        for (name, value) in &flow.parameters {
            match (name.as_str(), value.as_str()) {
                ("card", Some("approved" | "declined")) => {}
                ("card", _) => return Err(format!("`card` must be approved or declined, is {value}")),
                _ => return Err(format!("unknown parameter `{name}`, expected card")),
            }
        }
        let more = flow.steps.iter().any(|step| step == "authorize" || step == "refund");
        if is_declined(flow) && more {
            return Err(
                "`card = \"declined\"` goes with sale only: there would be nothing to capture or refund"
                    .into(),
            );
        }
        Ok(())
    }

    fn check_settings(&self, settings: &Settings) -> Result<(), (String, String)> {
        let config = Config::read().map_err(|error| (String::new(), format!("{error:#}")))?;
        for (name, value) in settings {
            let checked = match name.as_str() {
                CARD_NETWORK_LATENCY if Latency::parse(value).is_some() => Ok(()),
                CARD_NETWORK_LATENCY => Err(format!(
                    "must be like fixed:2ms or lognormal:p50=20ms,p99=200ms, from 0 to 30s, p99 above p50, is {value}"
                )),
                name if name.starts_with(OF_SERVICES) => config.check(name, value),
                _ => Err(format!("unknown setting, expected {CARD_NETWORK_LATENCY} or {OF_SERVICES}…")),
            };
            checked.map_err(|problem| (name.clone(), problem))?;
        }
        Ok(())
    }

    fn check_trace(&self, trace: &Trace) -> Result<(), (u64, String)> {
        trace
            .lines
            .iter()
            .try_for_each(|line| check_line(line).map_err(|error| (line.id, format!("{error:#}"))))
    }

    /// All but tokens and reads wait for the card network's answer. What a token takes is hashing: how long that is, only the
    /// machine can say (`Bench::floor_us`).
    fn floor_us(&self, operation: &str, settings: &Settings) -> Option<u64> {
        let asks = matches!(operation, "sale" | "authorize" | "capture" | "refund");
        let latency = settings.get(CARD_NETWORK_LATENCY).map_or(USUAL_LATENCY, String::as_str);
        if asks { fixed_us(latency) } else { None }
    }

    fn draw_flow(&self, flow: &Flow, about: Option<&Parameters>, draw: &mut Draw) -> Vec<Parameters> {
        let owner = about.and_then(|parameters| parameters.get("merchant")?.as_u64());
        let merchant = owner.unwrap_or_else(|| draw.below(MERCHANTS as u64));
        let number = if is_declined(flow) { card::declined(draw) } else { card::approved(draw) };
        let amount = 100 + draw.below(50_000);
        let currency = CURRENCIES[draw.below(CURRENCIES.len() as u64) as usize];
        let month = 1 + draw.below(12);
        let parameters = |step: &String| {
            let value = match step.as_str() {
                "tokenize" => {
                    json!({"merchant": merchant, "number": number, "exp_month": month, "exp_year": 2090, "cvc": "737"})
                }
                "refund" => json!({"merchant": merchant, "amount": amount}),
                "sale" | "authorize" => {
                    json!({"merchant": merchant, "amount": amount, "currency": currency, "declined": is_declined(flow)})
                }
                _ => json!({"merchant": merchant}),
            };
            match value {
                Value::Object(map) => map,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    Parameters::new()
                }
            }
        };
        flow.steps.iter().map(parameters).collect()
    }

    fn player(&self, trace: &Trace, target: &PlayerTarget) -> anyhow::Result<Box<dyn Player>> {
        Ok(Box::new(PaymentPlayer::new(trace, target)?))
    }
}

/// `fixed:2ms` in µs; nothing where the latency varies.
fn fixed_us(latency: &str) -> Option<u64> {
    match Latency::parse(latency)? {
        Latency::Fixed(latency) => Some(latency.as_micros() as u64),
        Latency::LogNormal { .. } => None,
    }
}

fn is_declined(flow: &Flow) -> bool {
    flow.parameters.get("card").and_then(Value::as_str) == Some("declined")
}

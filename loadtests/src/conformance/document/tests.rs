//! The document against `proto/errors.toml`, both routers and its own examples; and that every kind of difference is named.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jsonschema::Registry;
use regex::Regex;

use super::super::case::Door;
use super::super::contract::Contract;
use super::super::reply::from_http;
use super::super::wire::Incomings;
use super::compile::{NAME, Source, escape, members};
use super::*;

fn root() -> Value {
    serde_json::from_str(TEXT).unwrap()
}

/// Path, method, and what is at a pointer below the operation.
fn operations(root: &Value) -> impl Iterator<Item = (String, String, &Value)> {
    members(&root["paths"]).flat_map(|(path, item)| {
        members(item).map(|(method, operation)| (path.clone(), method.to_uppercase(), operation))
    })
}

fn followed<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
    let other = value["$ref"].as_str().map(|reference| &reference[1..]);
    other.map_or(value, |pointer| root.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is missing")))
}

#[test]
fn every_reason_stands_in_the_document_with_its_status_and_texts_and_no_other_does() {
    let (root, errors) = (root(), Contract::load().unwrap().errors);
    let mut documented = BTreeSet::new();
    for (path, method, operation) in operations(&root) {
        for (status, response) in members(&operation["responses"]) {
            let schema = &followed(&root, response)["content"]["application/problem+json"]["schema"];
            let one = std::slice::from_ref(schema);
            for schema in schema["oneOf"].as_array().map_or(one, Vec::as_slice) {
                let members = &followed(&root, schema)["properties"];
                let Some(reason) = members["reason"]["const"].as_str() else { continue };
                let row = errors.row(reason).unwrap_or_else(|| panic!("{reason} isn't in errors.toml"));
                let wanted = json!([errors.type_uri(reason), row.title, row.status, row.detail]);
                let found = ["type", "title", "status", "detail"].map(|name| &members[name]["const"]);
                assert_eq!(json!(found), wanted, "{reason}");
                assert_eq!(status, &row.status.to_string(), "{method} {path}: {reason}");
                documented.insert(reason.to_owned());
            }
        }
    }
    let said = errors.rows.iter().filter(|row| row.status > 0).map(|row| row.reason.clone());
    assert_eq!(documented, said.collect());
    let violations = &root["components"]["schemas"]["Violation"]["properties"]["reason"]["enum"];
    let rules: BTreeSet<_> = violations.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(rules, errors.violations.keys().map(String::as_str).collect());
}

#[test]
fn every_route_of_both_services_is_documented_and_no_other() {
    let root = root();
    let documented: BTreeSet<_> = operations(&root).map(|(path, method, _)| (method, path)).collect();
    let known = Contract::load().unwrap().operations;
    for operation in &known {
        let (path, method) = (&operation.path, operation.method.to_lowercase());
        let answers = &root["paths"][path][&method]["responses"];
        assert!(answers[operation.status.to_string()].is_object(), "{method} {path}: {}", operation.status);
    }
    let of_contract = known.into_iter().map(|operation| (operation.method, operation.path));
    let public = ["/livez", "/openapi.json"].map(|path| ("GET".to_owned(), path.to_owned()));
    assert_eq!(documented, of_contract.chain(public).collect());
    let paths: BTreeSet<_> = documented.into_iter().map(|(_, path)| path).collect();
    let literal = Regex::new(r#""(/[^"]*)""#).unwrap();
    for file in ["services/payments/src/httpapi/router.rs", "go-service/internal/httpapi/router.go"] {
        let text = std::fs::read_to_string(format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let routed: BTreeSet<_> = literal.captures_iter(&text).map(|found| found[1].to_owned()).collect();
        assert_eq!(routed, paths, "{file}");
    }
}

#[test]
fn every_example_is_as_its_schema_says() {
    let root = root();
    let registry = Registry::new().add(NAME, &root).unwrap().prepare().unwrap();
    let source = Source { root: &root, registry: &registry };
    let (mut open, mut seen) = (vec![(String::new(), &root)], 0);
    while let Some((pointer, value)) = open.pop() {
        open.extend(members(value).map(|(name, inner)| (format!("{pointer}/{}", escape(name)), inner)));
        if value["schema"].is_null() || value["schema"]["type"] == "object" && value["examples"].is_null() {
            continue;
        }
        let schema = source.schema(&format!("{pointer}/schema")).unwrap();
        let listed = members(&value["examples"]).map(|(_, example)| &followed(&root, example)["value"]);
        for example in listed.chain(value.get("example")) {
            let mut faults = Vec::new();
            check(&schema, example, &format!("{pointer}: /"), &mut faults);
            assert!(faults.is_empty(), "{faults:?}");
            seen += 1;
        }
    }
    assert!(seen > 60, "only {seen} examples");
}

const PATH: &str = "http://127.0.0.1:1/v1/payments/pay_01h455vb4pex5vsknk084sn02q/capture?";

/// A capture that was done, as it is documented.
fn capture() -> (Outgoing, String) {
    let headers = [("Idempotency-Key", "k"), ("Request-Timeout-Ms", "100")];
    let sent = Outgoing {
        method: Method::POST,
        uri: PATH.into(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).into(),
        body: Bytes::from_static(br#"{"amount":400}"#),
        chunked: false,
        stalls: false,
        items: 0,
    };
    let root = root();
    let capture = &root["paths"]["/v1/payments/{id}/capture"]["post"];
    let body = &capture["responses"]["200"]["content"]["application/json"]["examples"]["All"]["value"];
    (sent, body.to_string())
}

fn judged(text: &str, sent: &Outgoing, status: u16, headers: &[(&str, &str)], body: &str) -> Vec<String> {
    let usual = [
        ("request-id", "req_01h455vb4pex5vsknk084sn02q"),
        ("cache-control", "no-store"),
        ("content-type", if status < 400 { "application/json" } else { "application/problem+json" }),
    ];
    let mut map = HeaderMap::new();
    for (name, value) in usual.iter().chain(headers) {
        map.insert(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    let incomings = Incomings { status, headers: map, body: Bytes::from(body.to_owned()) };
    Document::compile(text).unwrap().faults(sent, &from_http(Door::Http, incomings))
}

#[test]
fn an_exchange_as_documented_has_no_faults_and_each_difference_is_named() {
    let (sent, body) = capture();
    let what = "openapi: POST /v1/payments/{id}/capture, 200: ";
    let told = |text: &str, sent: &Outgoing, headers: &[(&str, &str)], body: &str, wanted: &str| {
        let faults = judged(text, sent, 200, headers, body);
        assert_eq!(faults, [format!("{what}{wanted}")]);
    };
    assert_eq!(judged(TEXT, &sent, 200, &[], &body), Vec::<String>::new());
    told(
        TEXT,
        &sent,
        &[],
        &body.replace("\"authorized\":1000,", ""),
        "/: \"authorized\" is a required property",
    );
    let odd = body.replace("\"capture\":\"manual\"", "\"capture\":\"odd\"");
    told(TEXT, &sent, &[], &odd, "/capture: value is not one of \"automatic\" or \"manual\"");
    told(TEXT, &sent, &[("x-more", "1")], &body, "the header x-more isn't documented");
    told(
        TEXT,
        &sent,
        &[("request-id", "1")],
        &body,
        "the header Request-Id is \"1\", which isn't as documented",
    );
    let mut other = sent.clone();
    other.body = Bytes::from_static(br#"{"amount":0}"#);
    told(
        TEXT,
        &other,
        &[],
        &body,
        "the request was done, its body /amount: value is less than the minimum of 1",
    );
    other = sent.clone();
    other.headers.remove(0);
    told(TEXT, &other, &[], &body, "the request was done, its header parameter Idempotency-Key is missing");
    other = Outgoing { uri: format!("{PATH}page=1"), ..sent.clone() };
    told(
        TEXT,
        &other,
        &[],
        &body,
        "the request was done with the query parameter page, which isn't documented",
    );
}

#[test]
fn what_the_document_leaves_out_is_a_fault() {
    let (sent, body) = capture();
    let mut root = root();
    let capture = &mut root["paths"]["/v1/payments/{id}/capture"]["post"]["responses"];
    capture.as_object_mut().unwrap().remove("200");
    let faults = judged(&root.to_string(), &sent, 200, &[], &body);
    assert_eq!(faults, ["openapi: POST /v1/payments/{id}/capture, 200: the status isn't documented"]);

    let problem = &root["components"]["examples"]["PaymentBusy"]["value"];
    let busy = problem.to_string().replace("PAYMENT_BUSY", "PAYMENT_LOST");
    let faults = judged(TEXT, &sent, 409, &[("retry-after", "1")], &busy);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("openapi: POST /v1/payments/{id}/capture, 409: /reason: "), "{faults:?}");
}

#[test]
fn unknown_paths_and_methods_have_answers_too() {
    let (sent, _) = capture();
    let root = root();
    let example = |name: &str| root["components"]["examples"][name]["value"].to_string();
    let nowhere = Outgoing { uri: "http://127.0.0.1:1/v1/payments/".into(), ..sent.clone() };
    let faults = judged(TEXT, &nowhere, 404, &[], &example("ResourceNotFound"));
    let all = |fault: &String| fault.starts_with("openapi: a path that isn't documented, 404: /");
    assert!(faults.len() == 4 && faults.iter().all(all), "{faults:?}");
    let livez = Outgoing { uri: "http://127.0.0.1:1/livez".into(), ..sent };
    let faults = judged(TEXT, &livez, 405, &[("allow", "GET, POST")], &example("MethodNotAllowed"));
    assert_eq!(faults[0], "openapi: POST /livez, 405: the header cache-control isn't documented");
    assert_eq!(faults[1], "openapi: POST /livez, 405: Allow is Some(\"GET, POST\"), documented are GET");
}

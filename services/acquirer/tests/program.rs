//! The program itself: its first log line, its spans, its exit codes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use payments_proto::acquirer::v1::acquirer_service_client::AcquirerServiceClient;
use payments_proto::acquirer::v1::{CaptureRequest, SaleRequest};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

const TOKEN: &str = "ntk_4242_0123456789abcdef0123456789abcdef";
const LOST: &str = "ntk_3063_0123456789abcdef0123456789abcdef";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID: &str = "b7ad6b7169203331";

struct Program {
    child: Child,
    addr: String,
    rest: BufReader<ChildStdout>,
}

impl Program {
    fn start(env: &[(&str, &str)]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acquirer"));
        command.env("ACQUIRER_ADDR", "127.0.0.1:0").env("ACQUIRER_LATENCY", "fixed:0ms");
        let mut child = command.envs(env.iter().copied()).stdout(Stdio::piped()).spawn().expect("starts");
        let mut rest = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        rest.read_line(&mut line).expect("reads");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((line["message"].as_str(), line["level"].as_str()), (Some("listening"), Some("info")));
        let addr = line["grpc_addr"].as_str().expect("an address").to_string();
        Program { child, addr, rest }
    }

    /// SIGTERM; the exit code and what else was logged.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("runs");
        let mut logged = String::new();
        self.rest.read_to_string(&mut logged).expect("reads");
        (self.child.wait().expect("ends").code(), logged)
    }
}

/// What an exporter sent.
#[derive(Debug, Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let spans =
            resources.into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.0.lock().await.extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Receiver {
    async fn start() -> (Receiver, String) {
        let receiver = Receiver::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let addr = listener.local_addr().expect("bound");
        let incoming = tokio::net::TcpListener::from_std(listener).expect("listens");
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(receiver.clone()));
        tokio::spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(incoming)));
        (receiver, format!("http://{addr}"))
    }
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    if let Some(Value::StringValue(text)) = &value.value { Some(text) } else { None }
}

fn traced<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let traceparent = format!("00-{TRACE_ID}-{PARENT_ID}-01");
    request.metadata_mut().insert("traceparent", traceparent.parse().expect("ASCII"));
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_makes_one_server_span_below_its_callers() {
    let (receiver, endpoint) = Receiver::start().await;
    let program = Program::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let mut client =
        AcquirerServiceClient::connect(format!("http://{}", program.addr)).await.expect("connects");
    let (amount, currency) = (5, String::from("EUR"));
    let capture = CaptureRequest { operation_id: "c".into(), network_token: TOKEN.into(), amount, currency };
    client.capture(traced(capture.clone())).await.expect("answers");
    client.capture(traced(CaptureRequest { amount: 6, ..capture.clone() })).await.expect_err("conflict");
    let (operation_id, network_token, currency) = ("s".into(), LOST.into(), capture.currency);
    client
        .sale(traced(SaleRequest { operation_id, network_token, amount, currency }))
        .await
        .expect_err("lost");
    let (code, _) = tokio::task::spawn_blocking(|| program.stop()).await.expect("no panic");
    assert_eq!(code, Some(0));

    let spans = receiver.0.lock().await.clone();
    let seen: Vec<_> = spans
        .iter()
        .map(|span| (span.name.as_str(), attribute(span, "rpc.response.status_code").expect("a status")))
        .collect();
    let capture = "acquirer.v1.AcquirerService/Capture";
    let lost = "acquirer.v1.AcquirerService/Sale";
    assert_eq!(seen, [(capture, "OK"), (capture, "ALREADY_EXISTS"), (lost, "INTERNAL")]);
    for span in &spans {
        assert_eq!(span.kind, SpanKind::Server as i32);
        assert_eq!(attribute(span, "rpc.system.name"), Some("grpc"));
        assert_eq!(attribute(span, "rpc.method"), Some(span.name.as_str()));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!((hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()), (TRACE_ID, PARENT_ID));
        let failed = span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
        assert_eq!(failed, span.name == lost, "{span:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_zero_on_sigterm_and_logs_no_card() {
    let program = Program::start(&[]);
    let mut client =
        AcquirerServiceClient::connect(format!("http://{}", program.addr)).await.expect("connects");
    let card = payments_proto::acquirer::v1::ProvisionTokenRequest {
        operation_id: "p".into(),
        card_number: "4242424242424242".into(),
        exp_month: 1,
        exp_year: 2030,
        cvc: "987".into(),
    };
    client.provision_token(card).await.expect("answers");
    let (code, logged) = tokio::task::spawn_blocking(|| program.stop()).await.expect("no panic");
    assert_eq!(code, Some(0));
    assert!(logged.contains("\"stopping\"") && logged.contains("\"stopped\""), "{logged}");
    assert!(!logged.contains("4242424242424242"), "{logged}");
}

#[test]
fn a_wrong_setting_is_one_line_and_exit_code_two() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_acquirer")).env("ACQUIRER_LATENCY", "soon").output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(
        said.starts_with("ACQUIRER_LATENCY is \"soon\": it must be ") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_taken_port_is_named_and_exit_code_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound").to_string();
    let output =
        Command::new(env!("CARGO_BIN_EXE_acquirer")).env("ACQUIRER_ADDR", &addr).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("ACQUIRER_ADDR") && said.contains(&addr), "{said}");
}

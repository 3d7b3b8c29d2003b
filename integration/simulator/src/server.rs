//! Owns the HTTP server: connections, the processing of a request, and broken replies.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::api;
use crate::call::{Call, Service};
use crate::control;
use crate::http_date::http_date;
use crate::record::Recorded;
use crate::reply::{Failure, Reply};
use crate::state::{Shared, State};
use crate::transport::Transport;
use emr_world::command::Moment;
use emr_world::faults::FaultKind;
use emr_world::sessions::SessionState;
use emr_world::world::{Caller, World};

/// Serves until stopped, over TLS if given.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        // A connection that failed before it was accepted concerns only its client.
        let Ok((stream, _)) = accepted else { continue };
        // Without this, small replies wait for the client's delayed acknowledgement.
        drop(stream.set_nodelay(true));
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&shared);
        match &tls {
            None => drop(tokio::spawn(connection(stream, shared))),
            Some(tls) => {
                let handshake = tls.accept(stream);
                tokio::spawn(async move {
                    // A client that does not trust the certificate disconnects.
                    if let Ok(stream) = handshake.await {
                        connection(stream, shared).await;
                    }
                });
            }
        }
    }
}

async fn connection(stream: impl Transport, shared: Arc<Shared>) {
    let reset = Arc::new(AtomicBool::new(false));
    let tap = Tap { stream: TokioIo::new(stream), reset: Arc::clone(&reset) };
    let service =
        service_fn(move |request| handle(Arc::clone(&shared), Arc::clone(&reset), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(tap, service);
    // Errors here are clients that disconnected, and requested faults.
    drop(served.await);
}

/// A connection that can be made to end with a reset.
struct Tap<S: Transport> {
    stream: TokioIo<S>,
    reset: Arc<AtomicBool>,
}

impl<S: Transport> Drop for Tap<S> {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Acquire) {
            // Closing a socket with a linger time of zero sends RST instead of FIN.
            drop(self.stream.inner().socket().set_zero_linger());
        }
    }
}

impl<S: Transport> Read for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Transport> Write for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A reply's body: complete, or cut off in the middle.
struct Payload {
    bytes: Option<Bytes>,
    breaks_off: bool,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.bytes.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        Poll::Ready(self.breaks_off.then(|| Err(io::ErrorKind::BrokenPipe.into())))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.bytes {
            Some(bytes) if !self.breaks_off => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.breaks_off && self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }
}

/// Ends the connection: returned to hyper as a service error.
#[derive(Debug, thiserror::Error)]
#[error("the connection is reset, as asked")]
struct ResetConnection;

async fn handle(
    shared: Arc<Shared>,
    reset: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Payload>, ResetConnection> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Err(ResetConnection) };
    let body = body.to_bytes();
    if parts.uri.path().starts_with("/_control/") {
        let reply = control::answer(&shared, &parts, &body);
        return Ok(response(reply, "control", &http_date(OffsetDateTime::now_utc()), false));
    }
    let call = Call::new(parts, &body);
    let Handled { seq, delay, mut outcome } = process(&shared, &call);
    if matches!(outcome, Outcome::Held) {
        outcome = released(&shared, &call, seq).await;
    }
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    hold(&shared).await;
    let outcome = match outcome {
        Outcome::Reply(reply) => Outcome::Reply(wait_for_messages(&shared, &call, reply).await),
        other => other,
    };
    let (reply, breaks_off) = match outcome {
        Outcome::Hang | Outcome::Held => match std::future::pending::<Infallible>().await {},
        Outcome::Reset => {
            reset.store(true, Ordering::Release);
            return Err(ResetConnection);
        }
        Outcome::Reply(reply) => (reply, false),
        Outcome::Truncated(reply) => (reply, true),
        Outcome::ProxyPage(status) => return Ok(proxy_page(&call, status)),
    };
    // AWS's Date header and the dates of objects are from the same clock.
    let date = {
        let mut state = shared.lock();
        let elapsed = state.elapsed_ms();
        if let Some(record) = record(&mut state, seq) {
            record.replied_ms = Some(elapsed);
        }
        http_date(state.simulation.world.now)
    };
    shared.notify();
    Ok(response(reply, &request_id(seq), &date, breaks_off))
}

/// Long polling: a request for messages waits, in real time, until there are some.
async fn wait_for_messages(shared: &Shared, call: &Call, mut reply: Reply) -> Reply {
    let waits = call.json["WaitTimeSeconds"]
        .as_u64()
        .filter(|_| call.service == Service::Sqs && call.subject.operation == "ReceiveMessage");
    let Some(seconds) = waits else { return reply };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while reply.status == 200 && reply.body == b"{}" && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut state = shared.lock();
        state.simulation.catch_up();
        if let Ok(again) = serve_call(&mut state, call) {
            reply = again;
        }
    }
    reply
}

/// In rounds mode, waits until the round is over.
async fn hold(shared: &Arc<Shared>) {
    let Some((released, first)) = shared.lock().rounds.hold() else { return };
    if first {
        tokio::spawn(release_when_quiet(Arc::clone(shared)));
    }
    // An error is the release: the sender was dropped.
    drop(released.await);
}

async fn release_when_quiet(shared: Arc<Shared>) {
    loop {
        let wait = shared.lock().rounds.try_release();
        match wait {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return,
        }
    }
}

struct Handled {
    seq: u64,
    delay: Duration,
    outcome: Outcome,
}

enum Outcome {
    Reply(Reply),
    Truncated(Reply),
    Reset,
    Hang,
    Held,
    ProxyPage(u16),
}

/// Waits until a held call is released, and processes it then.
async fn released(shared: &Shared, call: &Call, seq: u64) -> Outcome {
    while shared.lock().simulation.faults.still_hold(&call.subject) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut state = shared.lock();
    state.simulation.catch_up();
    let outcome = answer(&mut state, call, seq, None);
    note_status(&mut state, seq, &outcome);
    run_hooks(&mut state, call, Moment::Reply);
    drop(state);
    shared.notify();
    outcome
}

/// Records the status of a reply.
fn note_status(state: &mut State, seq: u64, outcome: &Outcome) {
    if let Outcome::Reply(reply) | Outcome::Truncated(reply) = outcome
        && let Some(record) = record(state, seq)
    {
        record.status = Some(reply.status);
        record.error_code.clone_from(&reply.error);
    }
}

/// The processing of a call under the lock: record, hooks, faults, effect, response.
fn process(shared: &Shared, call: &Call) -> Handled {
    let mut state = shared.lock();
    state.simulation.catch_up();
    let seq = begin_record(&mut state, call);
    run_hooks(&mut state, call, Moment::Arrival);
    let verdict = state.simulation.faults.judge(&call.subject);
    let outcome = answer(&mut state, call, seq, verdict.kind.as_ref());
    let mut delay = Duration::from_millis(verdict.latency_ms);
    if !state.rounds.is_on() {
        delay += state.latency;
    }
    let fault = match &verdict.kind {
        Some(kind) => serde_json::to_value(kind).ok(),
        None if verdict.latency_ms > 0 => {
            serde_json::to_value(FaultKind::Latency { ms: verdict.latency_ms }).ok()
        }
        None => None,
    };
    if let Some(record) = record(&mut state, seq) {
        record.fault = fault;
    }
    note_status(&mut state, seq, &outcome);
    if !matches!(outcome, Outcome::Held) {
        run_hooks(&mut state, call, Moment::Reply);
    }
    drop(state);
    shared.notify();
    Handled { seq, delay, outcome }
}

fn answer(state: &mut State, call: &Call, seq: u64, fault: Option<&FaultKind>) -> Outcome {
    let service = call.service;
    let id = request_id(seq);
    let shape =
        |failure: Failure| Outcome::Reply(failure.reply(service, &id, call.method == "HEAD"));
    match fault {
        Some(FaultKind::Throttle) => return shape(Failure::throttled(service)),
        Some(FaultKind::ServerError { status }) => return shape(Failure::server(service, *status)),
        Some(FaultKind::AccessDenied) => {
            let caller = call
                .access_key
                .as_ref()
                .and_then(|key| state.simulation.world.access_keys.get(key));
            let arn = caller.map_or("anonymous", |caller| caller.arn.as_str());
            return shape(Failure::access_denied(service, &call.subject.operation, arn));
        }
        Some(FaultKind::Error { status, code, message }) => {
            return shape(Failure::new(*status, code, message.as_str()));
        }
        Some(FaultKind::ErrorIn200 { code, message }) => {
            let failure = Failure::new(200, code, message.as_str());
            return shape(failure);
        }
        Some(FaultKind::Reset) => return Outcome::Reset,
        Some(FaultKind::Hang) => return Outcome::Hang,
        Some(FaultKind::Hold) => return Outcome::Held,
        Some(FaultKind::ProxyPage { status }) => return Outcome::ProxyPage(*status),
        _ => {}
    }
    let first_page = match fault {
        Some(FaultKind::FirstPageAgain { .. }) => call.for_first_page(),
        _ => None,
    };
    let reply = match serve_call(state, first_page.as_ref().unwrap_or(call)) {
        Ok(reply) => reply,
        Err(failure) => failure.reply(service, &id, call.method == "HEAD"),
    };
    match fault {
        Some(FaultKind::FirstPageAgain { ends: true }) if first_page.is_some() => {
            Outcome::Reply(reply.into_last_page())
        }
        Some(FaultKind::TruncatedBody) => Outcome::Truncated(reply),
        // The response to a HEAD has no body; its headers describe the object, and are not garbage.
        Some(FaultKind::GarbageBody) if call.method == "HEAD" => Outcome::Reply(reply),
        Some(FaultKind::GarbageBody) => {
            Outcome::Reply(Reply { body: b"\x00}<{garbage".to_vec(), length: None, ..reply })
        }
        Some(FaultKind::EmptyAnswer) => {
            Outcome::Reply(Reply { body: emptied(&reply.body), length: None, ..reply })
        }
        Some(FaultKind::NoBody) => {
            Outcome::Reply(Reply { body: Vec::new(), length: None, ..reply })
        }
        Some(FaultKind::AppliedThen5xx { status }) => shape(Failure::server(service, *status)),
        Some(FaultKind::AppliedThenReset) => Outcome::Reset,
        Some(FaultKind::AppliedThenHang) => Outcome::Hang,
        _ => Outcome::Reply(reply),
    }
}

/// A proxy's response in AWS's place: a page, without any of AWS's headers.
fn proxy_page(call: &Call, status: u16) -> Response<Payload> {
    let page = "<!DOCTYPE html>\n<html><head><title>Blocked by policy</title></head></html>";
    let text = if call.method == "HEAD" { "" } else { page };
    let payload = Payload { bytes: Some(Bytes::from(text)), breaks_off: false };
    let mut response = Response::new(payload);
    *response.status_mut() =
        hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::BAD_GATEWAY);
    let kind = hyper::header::HeaderValue::from_static("text/html");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

/// An empty document of the same kind: an object, or the outermost element.
fn emptied(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    if text.starts_with('{') {
        return b"{}".to_vec();
    }
    let start = text.find("?>").map_or(0, |end| end + 2);
    let root = text[start..].trim_start();
    match root.split_once('>') {
        Some((open, _)) => format!("{}/>", open.trim_end_matches('/')).into_bytes(),
        None => Vec::new(),
    }
}

/// The caller, then quotas, then the service itself.
fn serve_call(state: &mut State, call: &Call) -> Result<Reply, Failure> {
    let caller = caller(&state.simulation.world, call)?;
    if call.service == Service::Emr
        && let (Some(quotas), Some(caller)) = (&mut state.simulation.quotas, &caller)
        && !quotas.take(
            &caller.account,
            &call.region,
            &call.subject.operation,
            state.simulation.world.now,
        )
    {
        return Err(Failure::throttled(call.service));
    }
    let answer = api::answer(&mut state.simulation.world, call, caller.as_ref());
    state.simulation.world.tell();
    answer
}

/// Who calls: none if the request is unsigned.
fn caller(world: &World, call: &Call) -> Result<Option<Caller>, Failure> {
    let Some(key) = &call.access_key else { return Ok(None) };
    let unknown = || Failure::unknown_key(call.service, key);
    let caller = world.access_keys.get(key).ok_or_else(unknown)?;
    match world.session_state(key, call.session_token()) {
        SessionState::Valid => {}
        SessionState::WrongToken => return Err(unknown()),
        SessionState::Expired => return Err(Failure::expired(call.service)),
    }
    // A region that the account has not switched on knows none of its credentials. Seen in
    // ekristen/aws-nuke #774 and nccgroup/ScoutSuite #1389; of EC2 in fog/fog-aws #585. IAM is
    // not regional, and S3 answers for buckets anywhere.
    let is_regional = !matches!(call.service, Service::Iam | Service::S3 | Service::S3Control);
    if is_regional && !world.opt_in_status(&caller.account, &call.region).is_enabled() {
        return Err(unknown());
    }
    Ok(Some(caller.clone()))
}

fn run_hooks(state: &mut State, call: &Call, moment: Moment) {
    for command in state.simulation.hooks.due(&call.subject, moment) {
        if let Err(error) = state.apply(command) {
            eprintln!("emr-simulator: a hook on {}: {error}", call.subject.operation);
        }
    }
}

fn begin_record(state: &mut State, call: &Call) -> u64 {
    let seq = state.next_seq;
    state.next_seq += 1;
    let round = state.rounds.arrive();
    let caller =
        call.access_key.as_ref().and_then(|key| state.simulation.world.access_keys.get(key));
    let record = Recorded {
        seq,
        at: state.simulation.world.now,
        arrived_ms: state.elapsed_ms(),
        replied_ms: None,
        subject: call.subject.clone(),
        access_key: call.access_key.clone(),
        account: caller.map(|caller| caller.account.clone()),
        region: call.region.clone(),
        method: call.method.clone(),
        path: call.path.clone(),
        query: call.query.clone(),
        headers: call.recorded_headers(),
        body: call.recorded_body(),
        status: None,
        error_code: None,
        round,
        fault: None,
    };
    state.requests.push(record);
    seq
}

/// The record of a request, unless the records were cleared meanwhile.
fn record(state: &mut State, seq: u64) -> Option<&mut Recorded> {
    state.requests.iter_mut().rev().find(|record| record.seq == seq)
}

/// Looks like AWS's, but is a counter.
fn request_id(seq: u64) -> String {
    format!("5e1ec7ed-0000-4000-8000-{seq:012}")
}

fn response(reply: Reply, request_id: &str, date: &str, breaks_off: bool) -> Response<Payload> {
    let mut bytes = Bytes::from(reply.body);
    let mut builder = Response::builder()
        .status(reply.status)
        .header("x-amzn-requestid", request_id)
        .header("x-amz-request-id", request_id)
        .header("x-amz-id-2", "c2ltdWxhdG9y")
        .header("date", date)
        .header("server", "emr-simulator");
    for (name, value) in reply.headers {
        builder = builder.header(name, value);
    }
    if breaks_off {
        builder = builder.header("content-length", bytes.len().max(2));
        bytes.truncate(bytes.len() / 2);
    } else if let Some(length) = reply.length {
        builder = builder.header("content-length", length);
    }
    let payload = Payload { bytes: Some(bytes), breaks_off };
    builder.body(payload).unwrap_or_else(|_| {
        // Only an invalid header value gets here, from an unusual text of an object or a command.
        let mut response = Response::new(Payload { bytes: None, breaks_off: false });
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

//! Commands in pods, over web sockets as an API server speaks them.

use super::Shared;
use super::answer::{Body, full, query};
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// What a command does.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// What it writes to stdout, in pieces.
    pub stdout: Vec<Vec<u8>>,
    /// What it writes to stderr.
    pub stderr: String,
    /// Its exit code.
    pub code: i32,
    /// How long it takes.
    pub takes: Duration,
}

pub(crate) fn begin(mut request: Request<Incoming>, shared: &Arc<Shared>) -> Response<Body> {
    let asked = query(request.uri().query().unwrap_or_default());
    let pod = request.uri().path().split('/').rev().nth(1).unwrap().to_owned();
    let words = asked.get("command").cloned().unwrap_or_default();
    let container = asked.get("container").map(|names| names[0].clone()).unwrap_or_default();
    let command = {
        let mut world = shared.world();
        world.ran.push((pod, container, words.clone()));
        world.commands.get(&words[0]).cloned()
    };
    let command = command.unwrap_or_else(|| Command {
        stderr: format!("{}: not found", words[0]),
        code: 127,
        ..Command::default()
    });
    let key = request.headers()["sec-websocket-key"].as_bytes().to_owned();
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        run(socket, command).await;
    });
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "Upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    headers.insert("sec-websocket-accept", derive_accept_key(&key).parse().unwrap());
    headers.insert("sec-websocket-protocol", "v5.channel.k8s.io".parse().unwrap());
    response
}

async fn run(mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>, command: Command) {
    tokio::time::sleep(command.takes).await;
    let mut messages: Vec<Vec<u8>> = command.stdout.iter().map(|piece| channel(1, piece)).collect();
    messages.push(channel(2, command.stderr.as_bytes()));
    let status = match command.code {
        0 => json!({ "status": "Success", "metadata": {} }),
        code => json!({
            "status": "Failure", "reason": "NonZeroExitCode", "metadata": {},
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] }
        }),
    };
    messages.push(channel(3, status.to_string().as_bytes()));
    for message in messages {
        // A client that gave the command up is gone.
        if socket.send(Message::binary(message)).await.is_err() {
            return;
        }
    }
    if socket.close(None).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

fn channel(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![number];
    message.extend_from_slice(bytes);
    message
}

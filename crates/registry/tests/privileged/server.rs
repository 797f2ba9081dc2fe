//! A small HTTP server with faults: what it answers is a function of the request, and how it
//! sends the answer is part of the answer.
//!
//! Faults wait for the client, never for a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// One request, and what was sent for it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Bytes of the body of the answer.
    pub(crate) sent: usize,
    /// Of its connection.
    pub(crate) is_first: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) sending: Sending,
}

/// How an answer is sent.
pub(crate) enum Sending {
    /// As it should be.
    Whole,
    /// Not at all: the connection ends.
    Never,
    /// In chunks, with no length.
    Chunked,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// After so many bytes nothing more comes until the client goes.
    Hang(usize),
    /// One byte after the other, for as long as the client listens.
    Dripping,
    /// After so many bytes the gate is told, and waited for.
    Gate(usize, Arc<Gate>),
}

/// A place where the server waits for the test.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    /// Waits until the server stands at the gate.
    pub(crate) fn reached(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !state.0).unwrap());
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.1).unwrap());
    }
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), sending: Sending::Whole }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn sending(mut self, sending: Sending) -> Self {
        self.sending = sending;
        self
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on a port of its own; it ends with its handle.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Box<Handler>,
    seen: Mutex<Vec<Request>>,
    ended: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(Box::new(handler), None)
    }

    /// With the certificate for `registry.localhost` in `tls/`.
    pub(crate) fn start_tls(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let certificate = include_bytes!("tls/server.der").to_vec().into();
        let key =
            rustls::pki_types::PrivatePkcs8KeyDer::from(&include_bytes!("tls/server.key.der")[..]);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        Self::start_with(Box::new(handler), Some(Arc::new(config)))
    }

    fn start_with(handler: Box<Handler>, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, ended) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { handler, seen, ended, tls });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// All requests so far, in the order of their ends.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Those whose target has `part` in it.
    pub(crate) fn seen_with(&self, part: &str) -> Vec<Request> {
        self.seen().into_iter().filter(|request| request.target.contains(part)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let (stream, shared) = (stream.unwrap(), Arc::clone(shared));
        std::thread::spawn(move || {
            stream.set_nodelay(true).unwrap();
            // A client may go at any moment.
            let _ = match &shared.tls {
                // At loopback addresses TLS is tried first.
                None if begins_handshake(&stream) => Ok(()),
                None => converse(BufReader::new(stream), &shared),
                Some(config) => {
                    let tls = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                    converse(BufReader::new(rustls::StreamOwned::new(tls, stream)), &shared)
                }
            };
        });
    }
}

fn begins_handshake(stream: &TcpStream) -> bool {
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    stream.peek(&mut first).is_ok() && first == [HANDSHAKE]
}

fn converse<S: Read + Write>(mut stream: BufReader<S>, shared: &Shared) -> std::io::Result<()> {
    let mut is_first = true;
    while let Some(mut request) = read(&mut stream)? {
        request.is_first = std::mem::replace(&mut is_first, false);
        let reply = (shared.handler)(&request);
        let head = head(&reply);
        let mut log = |sent| {
            request.sent = sent;
            shared.seen.lock().unwrap().push(request.clone());
        };
        let body = &reply.body;
        match reply.sending {
            Sending::Whole => {
                // Noted before it is sent, so that whoever has the answer finds the request.
                log(body.len());
                stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
            }
            Sending::Never => {
                log(0);
                return Ok(());
            }
            Sending::Chunked => {
                log(body.len());
                stream.get_mut().write_all(head.as_bytes())?;
                for chunk in body.chunks(10_000) {
                    write!(stream.get_mut(), "{:x}\r\n", chunk.len())?;
                    stream.get_mut().write_all(&[chunk, b"\r\n"].concat())?;
                }
                stream.get_mut().write_all(b"0\r\n\r\n")?;
            }
            Sending::Cut(at) => {
                log(at);
                stream.get_mut().write_all(&[head.as_bytes(), &body[..at]].concat())?;
                return stream.get_mut().flush();
            }
            Sending::Hang(at) => {
                log(at);
                stream.get_mut().write_all(&[head.as_bytes(), &body[..at]].concat())?;
                return stream.read_to_end(&mut Vec::new()).map(drop);
            }
            Sending::Dripping => {
                log(body.len());
                stream.get_mut().write_all(head.as_bytes())?;
                for byte in body {
                    stream.get_mut().write_all(&[*byte])?;
                    stream.get_mut().flush()?;
                }
            }
            Sending::Gate(at, gate) => {
                log(body.len());
                stream.get_mut().write_all(&[head.as_bytes(), &body[..at]].concat())?;
                gate.pass();
                stream.get_mut().write_all(&body[at..])?;
            }
        }
        stream.get_mut().flush()?;
    }
    Ok(())
}

fn head(reply: &Reply) -> String {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    match reply.sending {
        Sending::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        Sending::Whole
        | Sending::Never
        | Sending::Cut(_)
        | Sending::Hang(_)
        | Sending::Dripping
        | Sending::Gate(..) => {
            head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
        }
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request =
        Request { method, target, headers, body: String::new(), sent: 0, is_first: false };
    let length = request.header("content-length").and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(request))
}

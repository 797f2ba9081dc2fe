//! The dashboard over sockets, in front of a server that says what it was asked.

use super::*;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Response;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// What stands for the API: it says what it was asked, and what is written to a terminal in capitals.
async fn said(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let line = format!("{} {}", request.method(), request.uri());
    if path == "/exec/there/start" {
        let upgraded = hyper::upgrade::on(&mut request);
        let start = request.into_body().collect().await.unwrap().to_bytes();
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            io.write_all(&start).await.unwrap();
            let mut typed = [0; 2];
            io.read_exact(&mut typed).await.unwrap();
            io.write_all(&typed.to_ascii_uppercase()).await.unwrap();
        });
        let response = Response::builder().status(101).header("connection", "upgrade");
        return Ok(response.header("upgrade", "tcp").body(Full::default()).unwrap());
    }
    let names: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let status = if path.contains("gone") { 404 } else { 200 };
    let text = if status == 404 {
        r#"{"message":"No such thing"}"#.to_owned()
    } else {
        format!("{line} {} {}", names.join(","), String::from_utf8_lossy(&body))
    };
    Ok(Response::builder().status(status).body(Full::from(text)).unwrap())
}

fn engine() -> Transport {
    engine_that_tells().0
}

/// The same, and what it was asked.
fn engine_that_tells() -> (Transport, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let transport = Transport::memory(move || {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let tell = tell.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let _ = tell.send(format!("{} {}", request.method(), request.uri()));
            said(request)
        });
        let served =
            http1::Builder::new().serve_connection(TokioIo::new(theirs), service).with_upgrades();
        tokio::spawn(served);
        Ok(Box::new(ours))
    });
    (transport, told)
}

/// A dashboard, and a session with it.
struct Shown {
    at: String,
    session: String,
    key: String,
}

impl Shown {
    async fn before(transport: Transport) -> Self {
        let token = Token::random().unwrap();
        let shown = Dashboard::bind("127.0.0.1:0".parse().unwrap(), token.clone()).unwrap();
        let at = shown.at.to_string();
        tokio::spawn(shown.serve(transport, std::future::pending()));
        let mut shown = Self { at, session: String::new(), key: String::new() };
        let own =
            format!("Origin: http://{}\r\nContent-Length: {}\r\n", shown.at, token.text().len());
        let signed_in = shown.ask("POST /session", &own, &token.text()).await;
        let after = |what: &str, end: char| {
            let rest = signed_in.split_once(what).unwrap_or_else(|| panic!("{signed_in}")).1;
            rest.split(end).next().unwrap().to_owned()
        };
        shown.key = after(r#""key":""#, '"');
        shown.session =
            format!("Cookie: {}\r\nX-Dhow-Key: {}\r\n", after("set-cookie: ", ';'), shown.key);
        shown
    }

    async fn new() -> Self {
        Self::before(engine()).await
    }

    /// All that is answered to a request on a connection of its own.
    async fn ask(&self, line: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.at).await.unwrap();
        let text = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n{body}",
            self.at
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path}"), &self.session, "").await
    }

    /// What is answered to somebody who wants a websocket, and the connection.
    async fn open(&self, path: &str, origin: &str, key: &str) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(&self.at).await.unwrap();
        let cookie = self.session.lines().next().unwrap();
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n{cookie}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: dhow, dhow-key.{key}\r\n\r\n",
            self.at
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (String::from_utf8(head).unwrap(), stream)
    }

    async fn live(&self, path: &str) -> WebSocketStream<TcpStream> {
        let (head, stream) = self.open(path, &format!("http://{}", self.at), &self.key).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-protocol: dhow\r\n"), "{head}");
        WebSocketStream::from_raw_socket(stream, Role::Client, None).await
    }
}

#[tokio::test]
async fn the_page_is_everybodys_and_loads_nothing_from_elsewhere() {
    let shown = Shown::new().await;
    let page = shown.ask("GET /", "", "").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    for line in [
        "content-type: text/html; charset=utf-8\r\n",
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; ",
        "frame-ancestors 'none'\r\n",
        "x-content-type-options: nosniff\r\n",
        "referrer-policy: no-referrer\r\n",
        "cross-origin-resource-policy: same-origin\r\n",
        "cache-control: no-cache\r\n",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let tag = page.split_once("etag: ").unwrap().1.split("\r\n").next().unwrap();
    let again = shown.ask("GET /", &format!("If-None-Match: {tag}\r\n"), "").await;
    assert!(again.starts_with("HTTP/1.1 304 ") && again.ends_with("\r\n\r\n"), "{again}");
    assert!(shown.ask("GET /nosuch", "", "").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn what_is_asked_is_carried_with_nothing_of_the_browsers() {
    let shown = Shown::new().await;
    let told = shown.get("/api/containers/json?all=1").await;
    assert!(told.contains("cache-control: no-store\r\n"), "{told}");
    // Neither the cookie nor the key is the API's business.
    assert!(told.ends_with("GET /containers/json?all=1 host "), "{told}");
    let own = format!("{}Origin: http://{}\r\nContent-Length: 2\r\n", shown.session, shown.at);
    let told = shown.ask("POST /api/exec/a/resize", &own, "{}").await;
    assert!(told.ends_with("POST /exec/a/resize host,content-type,content-length {}"), "{told}");
    let wish = r#"{"Cmd":["id"],"Privileged":true,"User":"root"}"#;
    let own_wish = own.replace("Length: 2", &format!("Length: {}", wish.len()));
    let told = shown.ask("POST /api/containers/a/exec", &own_wish, wish).await;
    assert!(told.contains("POST /containers/a/exec host,") && told.contains("exec bash"), "{told}");
    assert!(!told.contains("Privileged") && !told.contains("User"), "{told}");
    let refused = shown.get("/api/containers/gone/json").await;
    assert!(refused.starts_with("HTTP/1.1 404 ") && refused.contains("No such thing"));
    let refused = shown.ask("POST /api/containers/create", &own, "{}").await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(refused.contains("the dashboard does not ask for POST /containers/create"));
}

#[tokio::test]
async fn nothing_is_told_to_who_has_not_signed_in() {
    let shown = Shown::new().await;
    let own = format!("Origin: http://{}\r\n", shown.at);
    for (line, headers) in [("GET /api/_ping", ""), ("DELETE /api/containers/a", own.as_str())] {
        let refused = shown.ask(line, headers, "").await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    }
    // A page that this one is not sends the cookie as well, and says who it is.
    let foreign = format!("{}Origin: http://127.0.0.1:1\r\n", shown.session);
    for line in ["GET /api/_ping", "POST /api/containers/a/stop", "POST /session"] {
        let refused = shown.ask(line, &foreign, "").await;
        assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    }
    let refused = shown.ask("POST /api/containers/a/stop", &shown.session, "").await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "no origin: {refused}");
    let here = format!("http://{}", shown.at);
    for path in ["/stream/events", "/terminal/there"] {
        let (head, _) = shown.open(path, "http://127.0.0.1:1", &shown.key).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{path}: {head}");
        let (head, _) = shown.open(path, &here, "wrong").await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{path}: {head}");
    }
    let (head, _) = shown.open("/stream/containers/a/export", &here, &shown.key).await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
}

#[tokio::test]
async fn what_goes_on_comes_by_websocket_to_its_end() {
    let shown = Shown::new().await;
    let mut events = shown.live("/stream/events?since=0").await;
    let begun = events.next().await.unwrap().unwrap();
    assert_eq!(begun, Message::text(r#"{"begun":true}"#));
    let told = events.next().await.unwrap().unwrap();
    assert_eq!(told, Message::binary("GET /events?since=0 host "));
    assert!(matches!(events.next().await, Some(Ok(Message::Close(_)))));
    let mut gone = shown.live("/stream/containers/gone/logs").await;
    let why = gone.next().await.unwrap().unwrap();
    assert_eq!(why, Message::text(r#"{"message":"No such thing","status":404}"#));
}

#[tokio::test]
async fn a_terminal_is_joined_and_its_size_is_told() {
    let shown = Shown::new().await;
    let mut terminal = shown.live("/terminal/there?h=24&w=80").await;
    let begun = terminal.next().await.unwrap().unwrap();
    assert_eq!(begun, Message::text(r#"{"begun":true}"#));
    let started = terminal.next().await.unwrap().unwrap();
    assert_eq!(started, Message::binary(r#"{"ConsoleSize":[24,80],"Tty":true}"#));
    // A page that has enough to draw is told nothing until it asks for more.
    terminal.send(Message::text("stop")).await.unwrap();
    terminal.send(Message::binary("hi")).await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(50), terminal.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    terminal.send(Message::text("go")).await.unwrap();
    assert_eq!(terminal.next().await.unwrap().unwrap(), Message::binary("HI"));
    assert!(matches!(terminal.next().await, Some(Ok(Message::Close(_)))));
    let mut gone = shown.live("/terminal/gone").await;
    let why = gone.next().await.unwrap().unwrap();
    assert_eq!(why, Message::text(r#"{"message":"No such thing","status":404}"#));
}

#[tokio::test]
async fn a_shell_whose_page_has_gone_is_hung_up() {
    let (transport, mut told) = engine_that_tells();
    let shown = Shown::before(transport).await;
    let mut terminal = shown.live("/terminal/there").await;
    assert!(terminal.next().await.unwrap().unwrap().is_text());
    assert!(terminal.next().await.unwrap().unwrap().is_binary());
    drop(terminal);
    assert_eq!(told.recv().await.unwrap(), "POST /exec/there/start");
    assert_eq!(told.recv().await.unwrap(), "POST /dhow/exec/there/kill?signal=HUP");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told_of() {
    let shown = Shown::before(Transport::Unix("/nonexistent/sock".into())).await;
    let told = shown.get("/api/_ping").await;
    assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
    assert!(told.contains("unix:///nonexistent/sock does not answer: No such file"), "{told}");
}

#[tokio::test]
async fn who_is_silent_keeps_nobody_out() {
    let shown = Shown::new().await;
    let mut terminal = shown.live("/terminal/there?h=24&w=80").await;
    assert!(terminal.next().await.unwrap().unwrap().is_text());
    assert!(terminal.next().await.unwrap().unwrap().is_binary());
    let begun = format!(
        "POST /session HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nContent-Length: 43\r\n\r\n",
        shown.at
    );
    let mut silent = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(&shown.at).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert!(shown.get("/api/_ping").await.starts_with("HTTP/1.1 200 "));
    // Who has been silent longest has gone.
    let mut rest = Vec::new();
    let _ = silent[0].read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    // Who has signed in has not.
    terminal.send(Message::binary("hi")).await.unwrap();
    assert_eq!(terminal.next().await.unwrap().unwrap(), Message::binary("HI"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_awaited() {
    let never = futures_util::stream::pending::<Result<hyper::body::Frame<Bytes>, io::Error>>();
    let late = body(http_body_util::StreamBody::new(never)).await.unwrap_err();
    assert_eq!(late.status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn localhost_leads_to_the_address() {
    let shown = Shown::new().await;
    let port = shown.at.rsplit_once(':').unwrap().1;
    let mut stream = TcpStream::connect(&shown.at).await.unwrap();
    let text = format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 307 "), "{reply}");
    assert!(reply.contains(&format!("location: http://{}/\r\n", shown.at)), "{reply}");
}

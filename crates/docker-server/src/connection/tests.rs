//! Requests by hand and by client over a pipe in memory, against an engine on an empty root.

use std::path::PathBuf;

use docker_api::query::{AttachQuery, Filters, ListContainers, ListImages, WaitCondition};
use docker_api::types::containers::{CreateContainer, Extension};
use docker_api::{ApiError, Client, Transport};
use engine::Paths;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::service::{Form as LogForm, Level, Log, Metrics, Wiring};

/// An engine on a root of its own, which goes with it.
struct Fresh {
    dir: PathBuf,
    engine: Engine,
}

impl Fresh {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("dhow-server-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let paths = Paths::new(dir.join("root"), dir.join("run")).with_config(dir.join("etc"));
        let engine = Engine::open(paths).unwrap();
        Self { dir, engine }
    }

    fn connect(&self) -> DuplexStream {
        self.connect_to(Metrics::Hidden)
    }

    fn connect_to(&self, metrics: Metrics) -> DuplexStream {
        let (near, far) = tokio::io::duplex(4096);
        tokio::spawn(served(far, self.engine.clone(), metrics));
        near
    }

    fn client(&self) -> Client {
        let engine = self.engine.clone();
        Client::new(Transport::memory(move || {
            let (near, far) = tokio::io::duplex(4096);
            tokio::spawn(served(far, engine.clone(), Metrics::Hidden));
            Ok(Box::new(near))
        }))
    }

    /// Sends bytes, and reads until the server has nothing more to say.
    async fn say(&self, request: &str) -> String {
        self.say_to(Metrics::Hidden, request).await
    }

    async fn say_to(&self, metrics: Metrics, request: &str) -> String {
        let mut io = self.connect_to(metrics);
        io.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
        let mut reply = String::new();
        io.read_to_string(&mut reply).await.unwrap();
        reply
    }
}

/// Serves a connection as the service does.
async fn served(io: DuplexStream, engine: Engine, metrics: Metrics) -> Result<(), ServeError> {
    let log = Log { least: Level::Error, form: LogForm::Text, write: |_| {} };
    let shared = Arc::new(Shared::new(Wiring { log, unread: |_| 0, trim: || {}, metrics }));
    serve_for(io, (engine, shared), |_| 0, std::future::pending()).await
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn refusal(error: ApiError) -> (u16, String) {
    let status = error.status().unwrap_or_else(|| panic!("{error}"));
    (status, error.to_string())
}

#[tokio::test]
async fn every_answer_has_dockers_headers() {
    let fresh = Fresh::new("headers");
    let reply = fresh.say("GET /_ping HTTP/1.1\nHost: d\nConnection: close\n\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    for header in ["api-version: 1.51", "ostype: linux", "docker-experimental: false"] {
        assert!(reply.contains(header), "{header}: {reply}");
    }
    assert!(reply.contains("server: Docker/"), "{reply}");
    assert!(reply.ends_with("\r\n\r\nOK"), "{reply}");
}

#[tokio::test]
async fn head_has_the_head_alone() {
    let fresh = Fresh::new("head");
    let reply = fresh.say("HEAD /_ping HTTP/1.1\nHost: d\nConnection: close\n\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.contains("content-length: 0"), "{reply}");
    assert!(reply.ends_with("\r\n\r\n"), "{reply}");
}

#[tokio::test]
async fn figures_are_told_where_they_are_shown() {
    let fresh = Fresh::new("metrics");
    let ask = "GET /metrics HTTP/1.1\nHost: d\nConnection: close\n\n";
    let hidden = fresh.say(ask).await;
    assert!(hidden.starts_with("HTTP/1.1 404 Not Found\r\n"), "{hidden}");
    let request = ask.replace("GET /metrics", "GET /nosuch").replace("close", "keep-alive");
    let shown = fresh.say_to(Metrics::Shown, &format!("{request}{ask}")).await;
    let (_, text) = shown.rsplit_once("\r\n\r\n").unwrap();
    for line in [
        "engine_daemon_container_states_containers{state=\"running\"} 0\n",
        "dhow_http_requests_total{code=\"404\",method=\"GET\"} 1\n",
        "# TYPE process_open_fds gauge\n",
    ] {
        assert!(text.contains(line), "{line}: {shown}");
    }
    assert!(
        shown.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{shown}"
    );
}

#[tokio::test]
async fn unknown_paths_and_methods_are_not_found_without_a_version() {
    let fresh = Fresh::new("nowhere");
    for line in ["GET /nosuch", "POST /v1.51/info", "GET /v1.51/containers/a/start"] {
        let reply = fresh.say(&format!("{line} HTTP/1.1\nHost: d\nConnection: close\n\n")).await;
        assert!(reply.starts_with("HTTP/1.1 404 Not Found\r\n"), "{reply}");
        assert!(!reply.contains("api-version"), "{reply}");
        assert!(reply.ends_with("{\"message\":\"page not found\"}\n"), "{reply}");
    }
}

#[tokio::test]
async fn versions_out_of_range_are_refused() {
    let fresh = Fresh::new("versions");
    let reply = fresh.say("GET /v1.99/_ping HTTP/1.1\nHost: d\nConnection: close\n\n").await;
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    let message = "client version 1.99 is too new. Maximum supported API version is 1.51";
    assert!(reply.ends_with(&format!("{{\"message\":\"{message}\"}}\n")), "{reply}");
    let reply = fresh.say("GET /v1.10/info HTTP/1.1\nHost: d\nConnection: close\n\n").await;
    assert!(reply.contains("content-type: text/plain"), "{reply}");
    assert!(reply.contains("client version 1.10 is too old."), "{reply}");
}

#[tokio::test]
async fn bodies_are_json_and_say_so() {
    let fresh = Fresh::new("bodies");
    let create = |headers: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /containers/create HTTP/1.1\nHost: d\nConnection: close\n{headers}Content-Length: {length}\n\n{body}"
        )
    };
    let json = "Content-Type: application/json\n";
    for (headers, body, want) in [
        (
            "Content-Type: text/plain\n",
            "{}",
            "unsupported Content-Type header (text/plain): must be 'application/json'",
        ),
        ("", "{}", "unsupported Content-Type header (): must be 'application/json'"),
        (json, "{}", "config cannot be empty in order to create a container"),
        (json, "", "invalid JSON: got EOF while reading request body"),
        (json, "{", "invalid JSON: got EOF while reading request body"),
        (json, "{}{}", "unexpected content after JSON"),
        (json, r#"{"Image":"a","image":"b"}"#, "invalid JSON: duplicate key image"),
    ] {
        let reply = fresh.say(&create(headers, body)).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
        assert!(reply.ends_with(&format!("{{\"message\":\"{want}\"}}\n")), "{body}: {reply}");
    }
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let fresh = Fresh::new("limit");
    let label = "x".repeat(9 << 20);
    let client = fresh.client();
    let mut request = CreateContainer::default();
    request.config.labels = Some([("a".to_owned(), label)].into());
    let (status, message) =
        refusal(client.container_create(&request, None, None).await.unwrap_err());
    assert_eq!((status, message.as_str()), (413, "request body is larger than 8388608 bytes"));
}

#[tokio::test]
async fn a_head_has_a_limit() {
    let fresh = Fresh::new("long-head");
    let long = format!("GET /_ping HTTP/1.1\nHost: d\nX-Long: {}\n", "x".repeat(HEAD_MAX));
    let mut io = fresh.connect();
    // The server stops to listen before all of it is there.
    let _ = io.write_all(long.replace('\n', "\r\n").as_bytes()).await;
    let mut reply = String::new();
    io.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 431 "), "{reply}");
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let fresh = Fresh::new("missing");
    let client = fresh.client();
    let container = (404, "No such container: nosuch".to_owned());
    assert_eq!(refusal(client.container_inspect("nosuch").await.unwrap_err()), container);
    assert_eq!(refusal(client.container_start("nosuch", None).await.unwrap_err()), container);
    let attach = client.container_attach("nosuch", &AttachQuery::default()).await;
    assert_eq!(refusal(attach.unwrap_err()), container);
    let wait = client.container_wait("nosuch", WaitCondition::Removed).await;
    assert_eq!(refusal(wait.unwrap_err()), container);
    let exec = refusal(client.exec_inspect("abc").await.unwrap_err());
    assert_eq!(exec, (404, "No such exec instance: abc".to_owned()));
    let volume = refusal(client.volume_inspect("nosuch").await.unwrap_err());
    assert_eq!(volume, (404, "get nosuch: no such volume".to_owned()));
    let mut request = CreateContainer::default();
    request.config.image = "nosuch".to_owned();
    let image = refusal(client.container_create(&request, None, None).await.unwrap_err());
    assert_eq!(image, (404, "No such image: nosuch:latest".to_owned()));
}

#[tokio::test]
async fn empty_lists_are_lists() {
    let fresh = Fresh::new("lists");
    let client = fresh.client();
    assert_eq!(client.container_list(&ListContainers::default()).await.unwrap(), []);
    assert_eq!(client.image_list(&ListImages::default()).await.unwrap(), []);
    assert_eq!(client.volume_list(&Filters::default()).await.unwrap().volumes, []);
    let reply = fresh.say("GET /volumes HTTP/1.1\nHost: d\nConnection: close\n\n").await;
    assert!(reply.ends_with("{\"Volumes\":[],\"Warnings\":null}\n"), "{reply}");
}

#[tokio::test]
async fn volumes_are_made_found_and_removed() {
    let fresh = Fresh::new("volumes");
    let client = fresh.client();
    let request = docker_api::types::volumes::VolumeCreate {
        name: "data".to_owned(),
        labels: Some([("a".to_owned(), "1".to_owned())].into()),
        ..Default::default()
    };
    let made = client.volume_create(&request).await.unwrap();
    assert_eq!((made.driver.as_str(), made.scope.as_str()), ("local", "local"));
    let mut filters = Filters::default();
    filters.add("name", "^da");
    assert_eq!(client.volume_list(&filters).await.unwrap().volumes, [made]);
    filters.add("name", "^x$");
    filters.add("label", "a=2");
    assert_eq!(client.volume_list(&filters).await.unwrap().volumes, []);
    client.volume_remove("data", Default::default()).await.unwrap();
    let again = client.volume_remove("data", Default::default()).await;
    assert_eq!(refusal(again.unwrap_err()).0, 404);
    client.volume_remove("data", docker_api::client::volumes::Force::Yes).await.unwrap();
}

/// A container without an image; nothing of it is there but its row and its directory.
async fn made(client: &Client, name: &str) -> String {
    let mut request = CreateContainer::default();
    request.config.cmd = Some(vec!["true".to_owned()].into());
    request.dhow = Some(Extension { rootfs: "/".to_owned(), ..Extension::default() });
    client.container_create(&request, Some(name), None).await.unwrap().id
}

#[tokio::test]
async fn who_waits_for_a_removal_hears_of_it_and_of_nothing_else() {
    let fresh = Fresh::new("removal");
    let client = fresh.client();
    let (id, other) = (made(&client, "waited").await, made(&client, "other").await);
    // A directory may be lost, and is no sign of a removal.
    let dir = |id: &str| fresh.dir.join("root/containers").join(id);
    std::fs::remove_dir_all(dir(&id)).unwrap();
    let waiting = client.container_wait(&id, WaitCondition::Removed).await.unwrap();
    let mut waiting = tokio::spawn(waiting.finish());
    client.container_remove("other", Default::default()).await.unwrap();
    assert!(!dir(&other).exists());
    // Taken away and made again, as by a removal that fails.
    std::fs::rename(dir(&id), fresh.dir.join("away")).unwrap();
    std::fs::rename(fresh.dir.join("away"), dir(&id)).unwrap();
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    client.container_remove("waited", Default::default()).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().status_code, 0);
}

#[tokio::test]
async fn what_does_not_run_says_so() {
    let fresh = Fresh::new("stopped");
    let client = fresh.client();
    let id = made(&client, "idle").await;
    let kill = refusal(client.container_kill("idle", None).await.unwrap_err());
    let words = format!("cannot kill container: idle: container {id} is not running");
    assert_eq!(kill, (409, words));
    let not_running = (409, format!("container {id} is not running"));
    let exec = docker_api::types::exec::ExecCreate {
        cmd: Some(vec!["true".to_owned()].into()),
        ..Default::default()
    };
    assert_eq!(refusal(client.exec_create("idle", &exec).await.unwrap_err()), not_running);
    assert_eq!(refusal(client.container_pause("idle").await.unwrap_err()), not_running);
    let stopped = client.container_stop("idle", &Default::default()).await.unwrap();
    assert_eq!(stopped, docker_api::client::containers::Changed::Already, "304");
    let mut request = CreateContainer::default();
    request.config.cmd = Some(vec!["true".to_owned()].into());
    request.dhow = Some(Extension { rootfs: "/".to_owned(), ..Extension::default() });
    let taken = client.container_create(&request, Some("idle"), None).await.unwrap_err();
    let words = format!(
        "Conflict. The container name \"/idle\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    );
    assert_eq!(refusal(taken), (409, words));
}

#[tokio::test]
async fn a_container_gets_another_name() {
    let fresh = Fresh::new("rename");
    let client = fresh.client();
    let (id, other) = (made(&client, "old").await, made(&client, "taken").await);
    let rename = async |who: &'static str, name: &'static str| {
        client.container_rename(who, name).await.map_err(refusal)
    };
    rename("old", "new").await.unwrap();
    let now = client.container_inspect("new").await.unwrap().value;
    assert_eq!((now.id.as_str(), now.name.as_str()), (id.as_str(), "/new"));
    assert_eq!(now.config.hostname, id[..12], "its host name stays");
    for name in ["x1", "x", "bad name"] {
        assert_eq!(rename("old", name).await.unwrap_err(), (404, "No such container: old".into()));
    }
    rename("new", "/slashed").await.unwrap();
    for (name, status, words) in [
        ("", 400, "Neither old nor new names may be empty".to_owned()),
        ("slashed", 400, "Renaming a container with the same name as its current name".to_owned()),
        ("x", 400, "Error when allocating new name: Invalid container name (/x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed".to_owned()),
        ("taken", 409, format!("Error when allocating new name: Conflict. The container name \"/taken\" is already in use by container \"{other}\". You have to remove (or rename) that container to be able to reuse that name.")),
    ] {
        assert_eq!(rename("slashed", name).await.unwrap_err(), (status, words));
    }
    // The old name is free.
    made(&client, "old").await;
}

#[tokio::test]
async fn what_needs_a_swarm_or_is_not_there_yet_says_so() {
    let fresh = Fresh::new("later");
    for (line, status, words) in [
        ("GET /services", 503, "This node is not a swarm manager. Use \\\"docker swarm init\\\""),
        ("POST /secrets/create", 503, "This node is not a swarm manager."),
        ("GET /tasks/a/logs", 503, "This node is not a swarm manager."),
        ("POST /swarm/leave", 503, "\"This node is not part of a swarm\""),
        ("POST /swarm/init", 501, "not supported yet: swarms"),
        ("POST /session", 501, "not supported yet: build sessions"),
        ("POST /build", 501, "not supported yet: build"),
        ("POST /plugins/pull", 501, "not supported yet: plugins"),
        ("GET /plugins/a/b/json", 404, "plugin \\\"a/b\\\" not found"),
        ("DELETE /plugins/a", 404, "plugin \\\"a\\\" not found"),
        ("POST /plugins/a/enable", 404, "plugin \\\"a\\\" not found"),
        ("POST /nodes", 404, "page not found"),
    ] {
        let reply = fresh.say(&format!("{line} HTTP/1.1\nHost: d\nConnection: close\n\n")).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {reply}");
        assert!(reply.contains(words), "{line}: {reply}");
    }
    let reply =
        fresh.say("GET /containers/x/attach/ws HTTP/1.1\nHost: d\nConnection: close\n\n").await;
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    assert!(reply.contains("a websocket of version 13 is needed"), "{reply}");
}

async fn give_away(hijack: Option<Hijack>, connection: mpsc::Sender<Hijack>) -> Reply {
    match hijack {
        None => reply::empty(StatusCode::OK),
        Some(hijack) => {
            hijack.send(&connection).await;
            std::future::pending().await
        }
    }
}

/// The head of a taken connection, with the literal words of Docker, then bytes both ways; what
/// the client had sent behind its request is input, and a request before it does not matter.
#[tokio::test]
async fn a_taken_connection_is_raw() {
    for (upgrade, first_line) in
        [(true, "HTTP/1.1 101 UPGRADED\r\n"), (false, "HTTP/1.1 200 OK\r\n")]
    {
        let (container, mut far) = UnixStream::pair().unwrap();
        let content_type = "application/vnd.docker.raw-stream";
        let form = Form::Stream { upgrade, content_type, frames: Frames::AsItIs };
        let hijack = Hijack { form, container, leaving: None, keeps_early: true };
        let (mut client, server) = tokio::io::duplex(4096);
        let hijack = std::sync::Mutex::new(Some(hijack));
        let serving = tokio::spawn(serve(
            server,
            None,
            (std::future::pending(), |_| 0),
            move |request, connection| {
                let is_attach = request.uri().path() == "/attach";
                let hijack = hijack.lock().unwrap().take_if(|_| is_attach);
                give_away(hijack, connection)
            },
        ));
        client.write_all(b"GET /first HTTP/1.1\r\nHost: d\r\n\r\n").await.unwrap();
        let mut first = Vec::new();
        while !first.ends_with(b"\r\n\r\n") {
            first.push(client.read_u8().await.unwrap());
        }
        client.write_all(b"POST /attach HTTP/1.1\r\nHost: d\r\n\r\nearly").await.unwrap();
        let mut input = [0; 5];
        far.read_exact(&mut input).await.unwrap();
        assert_eq!(&input, b"early");
        far.write_all(b"out").await.unwrap();
        drop(far);
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with(first_line), "{reply}");
        assert!(reply.contains(&format!("Content-Type: {content_type}\r\n")), "{reply}");
        assert!(reply.ends_with("\r\n\r\nout"), "{reply}");
        serving.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn that_a_client_left_by_its_keys_is_told_once_it_has() {
    for (typed, is_told) in [(&b"xab"[..], true), (b"xac", false)] {
        let (container, far) = UnixStream::pair().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let leaving = Leaving {
            keys: model::detach::DetachKeys::parse(Some("a,b")).unwrap(),
            tell: Box::new(move || tell.send(()).unwrap()),
        };
        let (content_type, leaving) = ("application/vnd.docker.raw-stream", Some(leaving));
        let form = Form::Stream { upgrade: true, content_type, frames: Frames::AsItIs };
        let hijack = Hijack { form, container, leaving, keeps_early: true };
        let (mut client, server) = tokio::io::duplex(4096);
        let running = tokio::spawn(hijack.run(server, Bytes::new(), |_| 0));
        client.write_all(typed).await.unwrap();
        if !is_told {
            drop(far);
        }
        client.read_to_end(&mut Vec::new()).await.unwrap();
        running.await.unwrap().unwrap();
        assert_eq!(told.recv().is_ok(), is_told);
    }
}

/// A registry that answers one request so.
fn registry(status: &'static str, body: &'static str) -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        // TLS is tried first, and there is none.
        let mut first = [0];
        let mut stream = loop {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut first).unwrap();
            if first[0].is_ascii_alphabetic() {
                break stream;
            }
        };
        // The rest of a small client's request comes in one piece.
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let len = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
    });
    address
}

#[tokio::test]
async fn a_registrys_refusal_keeps_its_sense() {
    let fresh = Fresh::new("registry");
    for (answer, body, want) in [
        (
            "404 Not Found",
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            (404, "manifest for HOST/app:1 not found: manifest unknown: manifest unknown"),
        ),
        (
            "404 Not Found",
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such name"}]}"#,
            (404, "repository HOST/app not found: name unknown: no such name"),
        ),
        (
            "403 Forbidden",
            r#"{"errors":[{"code":"DENIED","message":"no"}]}"#,
            (
                404,
                "pull access denied for HOST/app, repository does not exist or may require 'docker login': denied: no",
            ),
        ),
        (
            "200 OK",
            r#"{"schemaVersion":1,"name":"app","tag":"1"}"#,
            (
                400,
                "HOST/app:1 is in Docker's image format v2, schema 1, which is not supported: it has to be pushed again by a newer tool",
            ),
        ),
        (
            "418 I'm a teapot",
            "",
            (500, "pull HOST/app:1 from HOST: the registry answered 418 I'm a teapot"),
        ),
    ] {
        let host = registry(answer, body).to_string();
        let pulled = fresh.client().image_pull(&format!("{host}/app"), Some("1"), None, None).await;
        let (status, message) = refusal(pulled.err().unwrap());
        assert_eq!((status, message.replace(&host, "HOST")), (want.0, want.1.to_owned()));
    }
}

//! A server that writes down what it is asked, answers the little that a client cannot go on
//! without, and refuses the rest.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The server.
pub(super) struct Recorder {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

const ID: &str = "1111111111111111111111111111111111111111111111111111111111111111";

impl Recorder {
    /// Listens in this directory until the test's process ends.
    pub(super) fn start(directory: &Path) -> Self {
        let socket = directory.join("recorder.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = log.clone();
                std::thread::spawn(move || serve(stream, &log));
            }
        });
        Self { socket, asked }
    }

    /// Where clients find it.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// What was asked since the last look: a line for each request, its body behind it.
    pub(super) fn take(&self) -> String {
        std::mem::take(&mut *self.asked.lock().unwrap()).join("\n")
    }
}

fn serve(mut stream: UnixStream, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((line, body)) = request(&mut reader) {
        let (status, answer) = answer(&line);
        log.lock().unwrap().push(format!("{} {body}", decoded(&line)));
        let head = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        if stream.write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

/// The first line and the body; a body of unknown length is not waited for.
fn request(reader: &mut BufReader<UnixStream>) -> Option<(String, String)> {
    let (mut first, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        first.get_or_insert_with(|| line.to_owned());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first?, String::from_utf8_lossy(&body).into_owned()))
}

fn answer(line: &str) -> (&'static str, String) {
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let container = format!(
        r#"{{"Id":"{ID}","Name":"/x","State":{{"Status":"running","Running":true}},"Config":{{"OpenStdin":true,"AttachStdin":true,"AttachStdout":true,"AttachStderr":true}},"HostConfig":{{"LogConfig":{{"Type":"json-file"}}}}}}"#
    );
    match method {
        "GET"
            if path.ends_with("/json")
                && path.contains("/containers/")
                && !path.ends_with("containers/json") =>
        {
            ("200 OK", container)
        }
        "POST" if path.ends_with("/create") || path.ends_with("/exec") => {
            ("201 Created", format!(r#"{{"Id":"{ID}","Warnings":[]}}"#))
        }
        "POST" if path.ends_with("/wait") => ("200 OK", r#"{"StatusCode":0}"#.to_owned()),
        "POST" if path.ends_with("/prune") => ("200 OK", "{}".to_owned()),
        _ => ("500 Internal Server Error", r#"{"message":"that will do"}"#.to_owned()),
    }
}

/// Without the escapes of a query.
fn decoded(line: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), line.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%') {
            Some(value) => {
                out.push(value);
                rest = &after[2..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

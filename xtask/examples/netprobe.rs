//! Both ends of the bench's network part that are inside of a container: a web server that costs next to nothing,
//! and one who asks for a name without end.
//!
//! `netprobe serve PORT` answers `GET /` with some bytes and `GET /large` with many, by as many connections as there
//! are. `netprobe ask NAME SECONDS AT_ONCE` asks 127.0.0.11 for the IPv4 address of a name, always with so many
//! questions that are not answered yet, and prints how many answers there were in a second.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Bytes of a small answer, as of a web server's first page.
const SMALL: usize = 612;
/// Bytes of a large answer.
const LARGE: usize = 16 << 20;
/// Bytes of one write of it.
const PIECE: usize = 256 << 10;
/// How long an answer to a question may take until it counts as lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// What a container asks.
const RESOLVER: &str = "127.0.0.11:53";

type Done = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Done {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", port] => serve(port.parse()?),
        ["ask", name, seconds, at_once] => ask(name, seconds.parse()?, at_once.parse()?),
        _ => Err("usage: netprobe serve PORT | ask NAME SECONDS AT_ONCE".into()),
    }
}

fn serve(port: u16) -> Done {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    loop {
        let (stream, _) = listener.accept()?;
        // A connection that breaks is its client's affair.
        std::thread::spawn(move || converse(stream));
    }
}

fn converse(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let small = [head(SMALL), vec![b'x'; SMALL]].concat();
    let (large, piece) = (head(LARGE), vec![b'x'; PIECE]);
    let (mut buffer, mut held) = ([0; 4096], 0);
    loop {
        let read = stream.read(&mut buffer[held..])?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        if !buffer[..held].ends_with(b"\r\n\r\n") {
            continue;
        }
        if buffer[..held].starts_with(b"GET /large ") {
            stream.write_all(&large)?;
            for _ in 0..LARGE / PIECE {
                stream.write_all(&piece)?;
            }
        } else {
            stream.write_all(&small)?;
        }
        held = 0;
    }
}

fn head(length: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

fn ask(name: &str, seconds: u64, at_once: u16) -> Done {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(RESOLVER)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut question = question(name);
    let mut number = 0_u16;
    let mut next = |socket: &UdpSocket| {
        number = number.wrapping_add(1);
        question[..2].copy_from_slice(&number.to_be_bytes());
        socket.send(&question)
    };
    for _ in 0..at_once {
        next(&socket)?;
    }
    let (start, mut answers, mut lost) = (Instant::now(), 0_u32, 0_u32);
    let mut buffer = [0; 4096];
    while start.elapsed() < Duration::from_secs(seconds) {
        match socket.recv(&mut buffer) {
            // Without an error, and with a record in it.
            Ok(length) if length > 12 && buffer[3] & 15 == 0 && buffer[7] > 0 => {
                answers += 1;
                next(&socket)?;
            }
            Ok(_) => return Err(format!("{name}: the answer has no address").into()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                lost += u32::from(at_once);
                for _ in 0..at_once {
                    next(&socket)?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    let rate = f64::from(answers) / start.elapsed().as_secs_f64();
    writeln!(io::stdout(), "{rate:.0} {lost}")?;
    Ok(())
}

/// A question for the IPv4 address of a name, whose number is still to be written.
fn question(name: &str) -> Vec<u8> {
    let mut question = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.extend(u8::try_from(label.len()));
        question.extend(label.bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    question
}

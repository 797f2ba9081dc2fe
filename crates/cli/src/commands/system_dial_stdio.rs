//! `system dial-stdio`

use crate::argv::{Arity, Outcome, command};
use crate::cx::Cx;
use crate::error::Failure;
use docker_api::Transport;
use docker_api::transport::Io;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// Read at once.
const BUFFER: usize = 64 << 10;

/// Connect the standard streams with the server
///
/// This is what clients on other machines start by ssh (-H ssh://HOST). Where there is no service, it is the engine in
/// this process that they ask.
#[derive(clap::Args, Debug)]
pub(super) struct DialStdioArgs {}

command!(DialStdioArgs, dial_stdio, ["system dial-stdio"], "", Arity::Exactly(0));

async fn dial_stdio(cx: &Cx, _: DialStdioArgs) -> Outcome {
    let transport = cx.client()?.transport();
    let connected = transport.connect().await;
    let io =
        connected.map_err(|e| Failure::error(format!("cannot connect to {transport}: {e}")))?;
    let (from, to) = tokio::io::split(io);
    let (send, heard) = mpsc::channel(4);
    std::thread::spawn(move || read(&send));
    // The end of what the client says is passed on; the end of what it is told is the end.
    let input = async {
        match pass_on(heard, to).await {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };
    tokio::select! {
        // What was said last is told, also when the client can say no more.
        biased;
        told = tell(from, transport) => told?,
        error = input => return Err(Failure::error(format!("send to {transport}: {error}"))),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the standard input to its end, or until nobody wants more of it.
fn read(send: &mpsc::Sender<Vec<u8>>) {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = vec![0; BUFFER];
    while let Ok(n @ 1..) = stdin.read(&mut buffer) {
        if send.blocking_send(buffer[..n].to_vec()).is_err() {
            return;
        }
    }
}

async fn pass_on(
    mut heard: mpsc::Receiver<Vec<u8>>,
    mut to: WriteHalf<Box<dyn Io>>,
) -> std::io::Result<()> {
    while let Some(bytes) = heard.recv().await {
        to.write_all(&bytes).await?;
        to.flush().await?;
    }
    to.shutdown().await
}

async fn tell(mut from: ReadHalf<Box<dyn Io>>, transport: &Transport) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await;
        let n = read.map_err(|e| Failure::error(format!("{transport}: {e}")))?;
        if n == 0 {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        out.write_all(&buffer[..n])?;
        out.flush()?;
    }
}

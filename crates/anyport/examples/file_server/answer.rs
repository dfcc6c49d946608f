//! An answer: a file, whose bytes need not pass through this program, or why there is none.

use crate::request::Request;
use anyport::rt::fs::File;
use anyport::rt::net::TcpStream;
use anyport::rt::spawn_blocking;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Answers a request. Break: it was the last of its connection, by its own will or as it was refused.
pub(crate) async fn answer(
    stream: &mut TcpStream,
    head: &[u8],
    directory: &Path,
) -> io::Result<ControlFlow<()>> {
    let request = match Request::parse(head) {
        Ok(request) => request,
        Err(status) => return refuse(stream, status).await,
    };
    let (file, length) = match open(&request.path, directory).await {
        Ok(opened) => opened,
        Err(error) => return refuse(stream, status_of(&error)).await,
    };
    let connection = if request.is_last { "close" } else { "keep-alive" };
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n");
    stream.send(head.into_bytes()).await?;
    if !request.is_head && length > 0 {
        let sent = stream.send_file(&file, 0, Some(length)).await?;
        if sent as u64 != length {
            // What the head has promised cannot be kept any more; only a close tells.
            return Err(io::Error::other(format!("{:?} has become shorter", request.path)));
        }
    }
    Ok(if request.is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
}

async fn refuse(stream: &mut TcpStream, status: &str) -> io::Result<ControlFlow<()>> {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\nAllow: GET, HEAD\r\n\r\n"
    );
    stream.send(answer.into_bytes()).await?;
    Ok(ControlFlow::Break(()))
}

/// Opens a file of the directory; says how long it is.
async fn open(path: &Path, directory: &Path) -> io::Result<(File, u64)> {
    let (path, directory) = (directory.join(path), directory.to_owned());
    let path = spawn_blocking(move || found(&path, &directory)).await??;
    let file = File::open(path).await?;
    let length = file.metadata().await?.len();
    Ok((file, length))
}

/// The path without links, if it is that of a file in the directory: a link may lead out of it, and to
/// open a pipe would wait for who writes to it.
fn found(path: &Path, directory: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    match path.starts_with(directory) && path.is_file() {
        true => Ok(path),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

fn status_of(error: &io::Error) -> &'static str {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    match error.kind() {
        NotFound | NotADirectory | InvalidInput | InvalidFilename => "404 Not Found",
        PermissionDenied => "403 Forbidden",
        _ => "500 Internal Server Error",
    }
}

//! What a client asks for: the head of an HTTP/1.1 request.

use std::path::{Component, PathBuf};

pub(crate) struct Request {
    /// Only the head of the answer is wanted.
    pub(crate) is_head: bool,
    /// Nothing but names: it does not lead out of where it begins, unless by a link.
    pub(crate) path: PathBuf,
    /// The client asks for nothing else.
    pub(crate) is_last: bool,
}

impl Request {
    /// Reads a request, without the empty line at its end; fails with the status of the answer.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, &'static str> {
        const BAD: &str = "400 Bad Request";
        let mut lines = str::from_utf8(head).map_err(|_| BAD)?.split("\r\n");
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let (method, target, mut is_last) = match first[..] {
            [method, target, "HTTP/1.1"] => (method, target, false),
            [method, target, "HTTP/1.0"] => (method, target, true),
            _ => return Err(BAD),
        };
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(BAD)?;
            match name.to_ascii_lowercase().as_str() {
                // Neither method has a body here, and its bytes must not be taken for a request.
                "content-length" | "transfer-encoding" => return Err("413 Content Too Large"),
                "connection" => is_last |= value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let is_head = match method {
            "GET" => false,
            "HEAD" => true,
            _ => return Err("405 Method Not Allowed"),
        };
        let path = path_of(target).ok_or("404 Not Found")?;
        Ok(Request { is_head, path, is_last })
    }
}

fn path_of(target: &str) -> Option<PathBuf> {
    let target = target.split('?').next()?.strip_prefix('/')?;
    let mut path = PathBuf::from(String::from_utf8(decode(target)?).ok()?);
    if target.is_empty() || target.ends_with('/') {
        path.push("index.html");
    }
    path.components().all(|part| matches!(part, Component::Normal(_))).then_some(path)
}

/// `%20` is a space, and so on.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            plain => plain,
        });
    }
    Some(decoded)
}

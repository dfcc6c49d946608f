//! A client of HTTP/1 that writes its bytes itself, and reads answers as strictly as it can.

use super::world::DEADLINE;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

pub(crate) struct Peer(BufReader<TcpStream>);

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in small letters.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a write timeout");
        Peer(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Its connection, for another thread to write to.
    pub(crate) fn stream(&self) -> TcpStream {
        self.0.get_ref().try_clone().expect("a clone")
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(request(path));
        self.answer()
    }

    /// As `get`; `None` when the server ends the connection before it answers.
    pub(crate) fn try_get(&mut self, path: &str) -> Option<Answer> {
        self.0.get_mut().write_all(request(path).as_bytes()).ok()?;
        let has_begun = self.0.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        has_begun.then(|| self.answer())
    }

    /// The next answer, to anything but a `HEAD`.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if let Some(len) = answer.header("content-length") {
            answer.body = self.bytes(len.parse().expect("a length"));
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    break;
                }
                answer.body.extend_from_slice(&chunk);
            }
        } else if answer.status >= 200 {
            self.0.read_to_end(&mut answer.body).expect("an orderly end");
        }
        answer
    }

    /// The next status and its headers.
    pub(crate) fn head(&mut self) -> Answer {
        let line = self.line();
        let status = line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("a status line, not {line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "", "a header");
                return Answer { status, headers, body: Vec::new() };
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).expect("it comes whole");
        bytes
    }

    /// The next chunk of a body.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let len = usize::from_str_radix(&self.line(), 16).expect("a chunk's length");
        let chunk = self.bytes(len);
        assert_eq!(self.line(), "", "a chunk's end");
        chunk
    }

    /// Whether the server has ended the connection, in whatever way, with nothing before; waits for it.
    pub(crate) fn has_ended(&mut self) -> bool {
        loop {
            match self.0.read(&mut [0]) {
                Ok(len) => return len == 0,
                // Of a thread that has started operations itself, in `block_on`.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Else nothing came for too long.
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    /// Sends what the server may not stay to read, and reads on to the end of the connection, which
    /// need not be an orderly one.
    pub(crate) fn rest_after(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.get_mut().write_all(bytes);
        let _ = self.0.read_to_end(&mut rest);
        rest
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line comes");
        let end = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("a whole line, not {line:?}"));
        end.to_owned()
    }
}

pub(crate) fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n")
}

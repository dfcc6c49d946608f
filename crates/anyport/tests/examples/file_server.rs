//! `file_server`: what it serves, what it does not, and that it stays in its directory.

use crate::program::Server;
use crate::world::{assert_same, bytes, connect, rest_of};
use anyport::BackendKind;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

/// A folder with a directory to serve in it; removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str, kind: BackendKind) -> Self {
        let name = format!("anyport-{test}-{kind}-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        let _ = fs::remove_dir_all(&folder.0);
        fs::create_dir_all(folder.served().join("in")).expect("a place for temporary files");
        folder.write("secret.txt", b"not for you");
        folder
    }

    fn served(&self) -> PathBuf {
        self.0.join("served")
    }

    fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).expect("it can be written");
    }

    fn server(&self, kind: BackendKind) -> Option<Server> {
        Server::start("file_server", kind, &[self.served().to_str().expect("plain names")])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An answer as it came: the status line, the length that the head tells, and the bytes behind it.
struct Answer {
    status: String,
    length: usize,
    bytes: Vec<u8>,
}

fn answer(from: &mut BufReader<TcpStream>, has_bytes: bool) -> Answer {
    let mut line = || {
        let mut line = String::new();
        from.read_line(&mut line).expect("an answer in time");
        line.trim_end().to_owned()
    };
    let status = line();
    let mut length = None;
    while let Some((name, value)) = line().split_once(": ") {
        if name == "Content-Length" {
            length = value.parse().ok();
        }
    }
    let length = length.unwrap_or_else(|| panic!("no length behind {status:?}"));
    let mut bytes = vec![0; if has_bytes { length } else { 0 }];
    from.read_exact(&mut bytes).expect("as many as the head tells");
    Answer { status, length, bytes }
}

fn request(stream: &mut BufReader<TcpStream>, method: &str, path: &str) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).expect("connected");
}

/// Asks for one file on a connection of its own, which the answer must be the last of when it is
/// refused.
fn refusal(server: &Server, request: &str) -> String {
    let mut stream = BufReader::new(connect(server.address));
    stream.get_mut().write_all(request.as_bytes()).expect("connected");
    let status = answer(&mut stream, true).status;
    assert_same(&rest_of(stream.get_mut()), b"");
    status
}

fn refusal_of(server: &Server, path: &str) -> String {
    refusal(server, &format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"))
}

pub(crate) fn files_come_whole_one_after_the_other(kind: BackendKind) {
    let folder = Folder::new("files", kind);
    let large = bytes(5, 8 << 20);
    let files: [(&str, &str, &[u8]); 5] = [
        ("served/small.txt", "/small.txt", b"hello, file"),
        ("served/large", "/large", &large),
        ("served/empty", "/empty?version=1", b""),
        ("served/in/with a space", "/in/with%20a%20space", b"found"),
        ("served/index.html", "/", b"<p>hello"),
    ];
    for (name, _, content) in files {
        folder.write(name, content);
    }
    let Some(server) = folder.server(kind) else { return };
    let mut stream = BufReader::new(connect(server.address));
    for (_, path, content) in files {
        request(&mut stream, "GET", path);
        let came = answer(&mut stream, true);
        assert_eq!((came.status.as_str(), came.length), ("HTTP/1.1 200 OK", content.len()));
        assert_same(&came.bytes, content);
        request(&mut stream, "HEAD", path);
        assert_eq!(answer(&mut stream, false).length, content.len());
    }
    // All at once: the answers are in the order of the requests.
    for (_, path, _) in files {
        request(&mut stream, "GET", path);
    }
    for (_, _, content) in files {
        assert_same(&answer(&mut stream, true).bytes, content);
    }
    // The last one says so.
    let last = b"GET /small.txt HTTP/1.1\r\nconnection: Close\r\n\r\n";
    stream.get_mut().write_all(last).expect("connected");
    assert_same(&answer(&mut stream, true).bytes, b"hello, file");
    assert_same(&rest_of(stream.get_mut()), b"");
    drop(stream);
    assert_eq!(server.ends_well_at("TERM"), "");
}

pub(crate) fn what_is_not_there_is_not_found(kind: BackendKind) {
    let folder = Folder::new("missing", kind);
    folder.write("served/file", b"a file");
    let Some(server) = folder.server(kind) else { return };
    for path in ["/missing", "/in", "/in/", "/", "/file/below", "/a%00b", "/%zz", "/%f"] {
        assert_eq!(refusal_of(&server, path), "HTTP/1.1 404 Not Found", "{path}");
    }
}

pub(crate) fn no_path_leads_out_of_the_directory(kind: BackendKind) {
    let folder = Folder::new("outside", kind);
    let mut paths: Vec<String> = [
        "/../secret.txt",
        "/in/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
    ]
    .map(Into::into)
    .into();
    let secret = folder.0.join("secret.txt");
    paths.push(format!("/{}", secret.display()));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, folder.served().join("link")).expect("a link");
        std::os::unix::fs::symlink(&folder.0, folder.served().join("up")).expect("a link");
        paths.extend(["/link".into(), "/up/secret.txt".into()]);
    }
    let Some(server) = folder.server(kind) else { return };
    for path in paths {
        assert_eq!(refusal_of(&server, &path), "HTTP/1.1 404 Not Found", "{path}");
    }
}

pub(crate) fn what_it_does_not_do_is_refused(kind: BackendKind) {
    let folder = Folder::new("refused", kind);
    folder.write("served/file", b"a file");
    let Some(server) = folder.server(kind) else { return };
    for (request, status) in [
        ("DELETE /file HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
        ("GET /file HTTP/2.0\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        ("GET /file\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        ("GET /file HTTP/1.1\r\nno header\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ] {
        assert_eq!(refusal(&server, request), status, "{request}");
    }
    // What follows as a body is not taken for a request.
    let with_body =
        "GET /file HTTP/1.1\r\nContent-Length: 27\r\n\r\nGET /file HTTP/1.1\r\na: b\r\n\r\n";
    assert_eq!(refusal(&server, with_body), "HTTP/1.1 413 Content Too Large");
}

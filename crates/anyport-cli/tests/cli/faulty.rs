//! Echo servers that do one thing wrong, each connection on a thread of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Accepts for as long as the test program runs, and gives each connection to `handle`.
pub(crate) fn serve(handle: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    addr
}

/// Sends back what comes. `before` sees each piece, and may change it; false ends the connection
/// in place of the answer.
pub(crate) fn echo(mut stream: TcpStream, mut before: impl FnMut(&mut [u8]) -> bool) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if !before(&mut buffer[..len]) || stream.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}

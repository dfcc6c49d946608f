//! Local sockets (AF_UNIX): made, connected, and their addresses as the standard library has them.

use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// Connects a new stream socket; `WouldBlock` when the listener's queue is full.
pub(crate) fn connect_local(peer: &SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A call that waits would wait for as long as the listener does not accept.
    socket.set_nonblocking(true)?;
    socket.connect(&to_system(peer)?)?;
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// As the standard library has it; without a name where the system says none.
pub(crate) fn local_name(address: &SockAddr) -> SocketAddr {
    let name = match address.as_pathname() {
        Some(path) => SocketAddr::from_pathname(path),
        None => abstract_name(address),
    };
    name.unwrap_or_else(|_| unnamed_local())
}

/// No name.
pub(crate) fn unnamed_local() -> SocketAddr {
    SocketAddr::from_pathname("").expect("an empty path is no name, and fits")
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_name(address: &SockAddr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    match address.as_abstract_namespace() {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => Ok(unnamed_local()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_name(_: &SockAddr) -> io::Result<SocketAddr> {
    Ok(unnamed_local())
}

fn to_system(address: &SocketAddr) -> io::Result<SockAddr> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::ffi::OsStr;
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;
        if let Some(name) = address.as_abstract_name() {
            return SockAddr::unix(OsStr::from_bytes(&[&[0], name].concat()));
        }
    }
    // A connect to what has no name is refused by the system.
    SockAddr::unix(address.as_pathname().unwrap_or(Path::new("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back(address: &SocketAddr) -> bool {
        let name = local_name(&to_system(address).expect("a name"));
        name.as_pathname() == address.as_pathname() && name.is_unnamed() == address.is_unnamed()
    }

    #[test]
    fn an_address_comes_out_as_it_went_in() {
        assert!(comes_back(&SocketAddr::from_pathname("/tmp/a name").expect("a name")));
        assert!(comes_back(&unnamed_local()));
        assert!(unnamed_local().is_unnamed());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_no_path_comes_out_as_it_went_in() {
        use std::os::linux::net::SocketAddrExt;
        let address = SocketAddr::from_abstract_name(b"of no\0path").expect("a name");
        let name = local_name(&to_system(&address).expect("a name"));
        assert_eq!(name.as_abstract_name(), Some(&b"of no\0path"[..]));
    }
}

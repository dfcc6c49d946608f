//! Sockets of the other ends: the standard library's, or those of a simulated world for the tests
//! that run there. What is in both has one name and one meaning, so that tests are written once.

#[cfg(feature = "sim")]
#[allow(unused_imports, reason = "not every suite needs all")]
pub(crate) use simulated::{
    Here, TcpListener, TcpStream, UdpSocket, any_local, into_stream, run_in_world,
};
#[cfg(not(feature = "sim"))]
#[path = "system_net.rs"]
mod system_net;

#[cfg(not(feature = "sim"))]
#[allow(unused_imports, reason = "not every suite needs all")]
pub(crate) use std::net::UdpSocket;
#[cfg(not(feature = "sim"))]
#[allow(unused_imports, reason = "not every suite needs all")]
pub(crate) use system_net::{TcpListener, TcpStream, any_local};

/// An accepted connection, as its other end would have it.
#[cfg(not(feature = "sim"))]
#[allow(dead_code, reason = "not every test accepts")]
pub(crate) fn into_stream(socket: anyport::net::Socket) -> TcpStream {
    socket.into_tcp_stream()
}

/// Where the calling thread is, for another that is to be there as well: there is one place only.
#[cfg(not(feature = "sim"))]
#[allow(dead_code, reason = "not every suite has other threads open sockets")]
pub(crate) struct Here;

#[cfg(not(feature = "sim"))]
#[allow(dead_code, reason = "as above")]
impl Here {
    pub(crate) fn now() -> Self {
        Here
    }

    pub(crate) fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use anyport::net::Socket;
    use anyport::sim::{Datagrams, Entered, Listener, Stream, World};
    use std::collections::BTreeMap;
    use std::io::{self, Read, Write};
    use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, ToSocketAddrs};
    use std::sync::Mutex;
    use std::time::Duration;

    /// Where the calling thread is, for another that is to be there as well.
    #[allow(dead_code, reason = "not every suite has other threads open sockets")]
    pub(crate) struct Here(Option<World>);

    #[allow(dead_code, reason = "as above")]
    impl Here {
        pub(crate) fn now() -> Self {
            Here(World::current())
        }

        pub(crate) fn run<R>(&self, f: impl FnOnce() -> R) -> R {
            let _entered = self.0.as_ref().map(World::enter);
            f()
        }
    }

    /// An accepted connection, as its other end would have it.
    #[allow(dead_code, reason = "not every suite accepts")]
    pub(crate) fn into_stream(socket: Socket) -> TcpStream {
        match Stream::try_from(socket) {
            Ok(stream) => TcpStream::Simulated(stream),
            Err(socket) => TcpStream::System(socket.into_tcp_stream()),
        }
    }

    /// Each world has a host of its own, so that an address says which world is meant, also to
    /// threads that are in none.
    static WORLDS: Mutex<BTreeMap<IpAddr, World>> = Mutex::new(BTreeMap::new());

    /// Calls `f` with the calling thread in this world, whose host has this number.
    pub(crate) fn run_in_world(world: &World, number: u32, f: impl FnOnce()) {
        let host = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
        WORLDS.lock().expect("nobody panics with it").insert(host, world.clone());
        let _entered = world.enter();
        world.on_host(host, f);
        WORLDS.lock().expect("nobody panics with it").remove(&host);
    }

    /// The calling thread's own host, at a port that is chosen.
    pub(crate) fn any_local() -> SocketAddr {
        let here = World::current();
        let worlds = WORLDS.lock().expect("nobody panics with it");
        let host =
            worlds.iter().find(|(_, world)| Some(world.seed()) == here.as_ref().map(World::seed));
        let host = host.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |(&host, _)| host);
        SocketAddr::from((host, 0))
    }

    /// Enters the world of this address, if it is of one and the thread is in none.
    fn world_of(address: SocketAddr) -> (bool, Option<Entered>) {
        if World::current().is_some() {
            return (true, None);
        }
        let worlds = WORLDS.lock().expect("nobody panics with it");
        let entered = worlds.get(&address.ip()).map(World::enter);
        (entered.is_some(), entered)
    }

    #[derive(Debug)]
    pub(crate) enum TcpStream {
        System(std::net::TcpStream),
        Simulated(Stream),
    }

    #[allow(dead_code, reason = "not every test uses all that the standard library has")]
    impl TcpStream {
        pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
            match world_of(address) {
                (true, _entered) => Stream::connect(address).map(TcpStream::Simulated),
                (false, _) => std::net::TcpStream::connect(address).map(TcpStream::System),
            }
        }

        pub(crate) fn connect_timeout(address: &SocketAddr, time: Duration) -> io::Result<Self> {
            match world_of(*address) {
                (true, _entered) => {
                    Stream::connect_timeout(*address, time).map(TcpStream::Simulated)
                }
                (false, _) => {
                    std::net::TcpStream::connect_timeout(address, time).map(TcpStream::System)
                }
            }
        }

        pub(crate) fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
            match self {
                TcpStream::System(stream) => stream.set_read_timeout(time),
                TcpStream::Simulated(stream) => stream.set_read_timeout(time),
            }
        }

        pub(crate) fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
            match self {
                TcpStream::System(stream) => stream.set_write_timeout(time),
                TcpStream::Simulated(stream) => stream.set_write_timeout(time),
            }
        }

        pub(crate) fn set_nodelay(&self, is_on: bool) -> io::Result<()> {
            match self {
                TcpStream::System(stream) => stream.set_nodelay(is_on),
                TcpStream::Simulated(_) => Ok(()),
            }
        }

        /// A simulated one has no mode.
        pub(crate) fn set_nonblocking(&self, is_on: bool) -> io::Result<()> {
            match self {
                TcpStream::System(stream) => stream.set_nonblocking(is_on),
                TcpStream::Simulated(_) => Ok(()),
            }
        }

        pub(crate) fn try_clone(&self) -> io::Result<Self> {
            match self {
                TcpStream::System(stream) => stream.try_clone().map(TcpStream::System),
                TcpStream::Simulated(stream) => stream.try_clone().map(TcpStream::Simulated),
            }
        }

        pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            match self {
                TcpStream::System(stream) => stream.shutdown(how),
                TcpStream::Simulated(stream) => stream.shutdown(how),
            }
        }

        pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
            match self {
                TcpStream::System(stream) => stream.local_addr(),
                TcpStream::Simulated(stream) => stream.local_addr(),
            }
        }

        pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
            match self {
                TcpStream::System(stream) => stream.peer_addr(),
                TcpStream::Simulated(stream) => stream.peer_addr(),
            }
        }

        pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
            match self {
                TcpStream::System(stream) => stream.take_error(),
                TcpStream::Simulated(stream) => stream.take_error(),
            }
        }
    }

    impl Read for &TcpStream {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            match self {
                TcpStream::System(stream) => (&*stream).read(to),
                TcpStream::Simulated(stream) => (&*stream).read(to),
            }
        }
    }

    impl Write for &TcpStream {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            match self {
                TcpStream::System(stream) => (&*stream).write(from),
                TcpStream::Simulated(stream) => (&*stream).write(from),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for TcpStream {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            (&*self).read(to)
        }
    }

    impl Write for TcpStream {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            (&*self).write(from)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl From<TcpStream> for Socket {
        fn from(stream: TcpStream) -> Self {
            match stream {
                TcpStream::System(stream) => stream.into(),
                TcpStream::Simulated(stream) => stream.into(),
            }
        }
    }

    impl From<std::net::TcpStream> for TcpStream {
        fn from(stream: std::net::TcpStream) -> Self {
            TcpStream::System(stream)
        }
    }

    #[derive(Debug)]
    pub(crate) enum TcpListener {
        System(std::net::TcpListener),
        Simulated(Listener),
    }

    #[allow(dead_code, reason = "as above")]
    impl TcpListener {
        pub(crate) fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
            match World::current() {
                Some(_) => Listener::bind(first(address)?).map(TcpListener::Simulated),
                None => std::net::TcpListener::bind(address).map(TcpListener::System),
            }
        }

        pub(crate) fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
            match self {
                TcpListener::System(listener) => {
                    listener.accept().map(|(stream, peer)| (TcpStream::System(stream), peer))
                }
                TcpListener::Simulated(listener) => {
                    listener.accept().map(|(stream, peer)| (TcpStream::Simulated(stream), peer))
                }
            }
        }

        pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
            match self {
                TcpListener::System(listener) => listener.local_addr(),
                TcpListener::Simulated(listener) => listener.local_addr(),
            }
        }

        pub(crate) fn set_nonblocking(&self, is_on: bool) -> io::Result<()> {
            match self {
                TcpListener::System(listener) => listener.set_nonblocking(is_on),
                TcpListener::Simulated(_) => Ok(()),
            }
        }
    }

    impl From<std::net::TcpListener> for TcpListener {
        fn from(listener: std::net::TcpListener) -> Self {
            TcpListener::System(listener)
        }
    }

    impl From<TcpListener> for Socket {
        fn from(listener: TcpListener) -> Self {
            match listener {
                TcpListener::System(listener) => listener.into(),
                TcpListener::Simulated(listener) => listener.into(),
            }
        }
    }

    #[derive(Debug)]
    pub(crate) enum UdpSocket {
        System(std::net::UdpSocket),
        Simulated(Datagrams),
    }

    #[allow(dead_code, reason = "as above")]
    impl UdpSocket {
        pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
            match World::current() {
                Some(_) => Datagrams::bind(address).map(UdpSocket::Simulated),
                None => std::net::UdpSocket::bind(address).map(UdpSocket::System),
            }
        }

        pub(crate) fn connect(&self, peer: SocketAddr) -> io::Result<()> {
            match self {
                UdpSocket::System(socket) => socket.connect(peer),
                UdpSocket::Simulated(socket) => socket.connect(peer),
            }
        }

        pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
            match self {
                UdpSocket::System(socket) => socket.send(bytes),
                UdpSocket::Simulated(socket) => socket.send(bytes),
            }
        }

        pub(crate) fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
            match self {
                UdpSocket::System(socket) => socket.send_to(bytes, to),
                UdpSocket::Simulated(socket) => socket.send_to(bytes, to),
            }
        }

        pub(crate) fn recv_from(&self, to: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
            match self {
                UdpSocket::System(socket) => socket.recv_from(to),
                UdpSocket::Simulated(socket) => socket.recv_from(to),
            }
        }

        pub(crate) fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
            match self {
                UdpSocket::System(socket) => socket.set_read_timeout(time),
                UdpSocket::Simulated(socket) => socket.set_read_timeout(time),
            }
        }

        pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
            match self {
                UdpSocket::System(socket) => socket.local_addr(),
                UdpSocket::Simulated(socket) => socket.local_addr(),
            }
        }
    }

    impl From<UdpSocket> for Socket {
        fn from(socket: UdpSocket) -> Self {
            match socket {
                UdpSocket::System(socket) => socket.into(),
                UdpSocket::Simulated(socket) => socket.into(),
            }
        }
    }

    fn first(address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        address.to_socket_addrs()?.next().ok_or(io::ErrorKind::InvalidInput.into())
    }
}

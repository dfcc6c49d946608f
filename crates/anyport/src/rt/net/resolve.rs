//! From the name of a host to its addresses. The system's way of asking blocks for as long as a name
//! server takes to answer, so it is asked on the pool of blocking calls, never on a worker; what is
//! an address already needs nobody.

use crate::error::{Error, ErrorKind};
use crate::rt::blocking::BlockingPool;
use crate::rt::shared::expect_current;
use sealed::Target;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::vec;

/// What a host and a port may be given as, where an address is wanted:
///
/// | | |
/// |---|---|
/// | `&str`, `String`, `&String` | `"host:port"`, `"127.0.0.1:port"`, `"[::1]:port"` |
/// | `(&str, u16)`, `(String, u16)` | a name or an address (without brackets), and the port |
/// | `(IpAddr, u16)` | an address and the port |
/// | `SocketAddr`, `&SocketAddr` | that one |
/// | `&[SocketAddr]` | these, in this order |
///
/// The trait is sealed: it may grow without breaking anybody.
pub trait ToSocketAddrs: sealed::Resolve {}

impl<T: sealed::Resolve> ToSocketAddrs for T {}

/// The addresses of a host, as the system gives them and in its order; at least one, but of an empty
/// list none.
///
/// An address, be it a value or written as one, comes back as it is; nobody is asked and nothing is
/// allocated. For a name the system is asked (its list of hosts, its name servers) on a thread of the
/// pool of blocking calls. There is no limit on how long it takes but the system's own; answers are
/// not kept. In a simulated world the system is asked all the same: tests there use addresses.
///
/// ```
/// # anyport::rt::Runtime::new()?.block_on(async {
/// for address in anyport::rt::net::lookup_host("localhost:80").await? {
///     println!("{address}");
/// }
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// Outside of a runtime.
///
/// # Errors
/// `InvalidInput` for what is no host and port; the system's error for a name that it does not know
/// or cannot ask for; `NotFound` when a name has no address. The text names the host.
///
/// # Cancel safety
/// Dropping it loses the answer only: the system cannot be stopped asking, and goes on with it on the
/// pool.
pub async fn lookup_host<T: ToSocketAddrs>(
    host: T,
) -> io::Result<impl Iterator<Item = SocketAddr> + use<T>> {
    lookup_host_on(&expect_current("look up a host").blocking, host).await
}

/// [`lookup_host`] with this pool.
pub(crate) async fn lookup_host_on<T: ToSocketAddrs>(
    pool: &BlockingPool,
    host: T,
) -> io::Result<Addresses<T::Known>> {
    let (host, port) = match host.target()? {
        Target::Known(known) => return Ok(Addresses::Known(known)),
        Target::Host(host, port) => (host, port),
    };
    let asked = host.clone();
    let found = pool.spawn(move || (asked.as_str(), port).to_socket_addrs()).await;
    let found = found.unwrap_or_else(|e| Err(e.into()));
    let addresses = found.map_err(|e| {
        io::Error::new(e.kind(), format!("look up the host {host:?}: {e}; check its name"))
    })?;
    if addresses.as_slice().is_empty() {
        let text = format!("look up the host {host:?}: it has no address");
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(Addresses::Found(addresses))
}

/// As [`lookup_host`], for who makes a socket of what is found.
pub(super) async fn addresses_of<T: ToSocketAddrs>(
    host: T,
) -> Result<impl Iterator<Item = SocketAddr> + use<T>, Error> {
    lookup_host(host).await.map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::OutOfMemory => ErrorKind::NoMemory,
            _ => ErrorKind::Other,
        };
        Error::new(kind, "look up a host").with_text(&error.to_string())
    })
}

/// The addresses of a host: known without asking, or found.
pub(crate) enum Addresses<K> {
    Known(K),
    Found(vec::IntoIter<SocketAddr>),
}

impl<K: Iterator<Item = SocketAddr>> Iterator for Addresses<K> {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Addresses::Known(known) => known.next(),
            Addresses::Found(found) => found.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Addresses::Known(known) => known.size_hint(),
            Addresses::Found(found) => found.size_hint(),
        }
    }
}

mod sealed {
    use std::io;
    use std::net::SocketAddr;

    /// What is to be done about a host.
    pub enum Target<K> {
        /// Nothing.
        Known(K),
        /// Ask the system.
        Host(String, u16),
    }

    pub trait Resolve {
        /// The addresses, when they are known without asking.
        type Known: Iterator<Item = SocketAddr>;

        fn target(self) -> io::Result<Target<Self::Known>>;
    }
}

type One = std::option::IntoIter<SocketAddr>;

fn one(address: SocketAddr) -> Target<One> {
    Target::Known(Some(address).into_iter())
}

impl sealed::Resolve for SocketAddr {
    type Known = One;

    fn target(self) -> io::Result<Target<One>> {
        Ok(one(self))
    }
}

impl sealed::Resolve for &SocketAddr {
    type Known = One;

    fn target(self) -> io::Result<Target<One>> {
        Ok(one(*self))
    }
}

impl sealed::Resolve for (IpAddr, u16) {
    type Known = One;

    fn target(self) -> io::Result<Target<One>> {
        Ok(one(self.into()))
    }
}

impl<'a> sealed::Resolve for &'a [SocketAddr] {
    type Known = std::iter::Copied<std::slice::Iter<'a, SocketAddr>>;

    fn target(self) -> io::Result<Target<Self::Known>> {
        Ok(Target::Known(self.iter().copied()))
    }
}

impl sealed::Resolve for (&str, u16) {
    type Known = One;

    fn target(self) -> io::Result<Target<One>> {
        let (host, port) = self;
        match host.parse::<IpAddr>() {
            Ok(address) => Ok(one((address, port).into())),
            Err(_) if host.is_empty() => Err(refused(host, "there is no host in it")),
            Err(_) => Ok(Target::Host(host.to_owned(), port)),
        }
    }
}

impl sealed::Resolve for (String, u16) {
    type Known = One;

    fn target(self) -> io::Result<Target<One>> {
        (self.0.as_str(), self.1).target()
    }
}

impl sealed::Resolve for &str {
    type Known = One;

    fn target(self) -> io::Result<Target<One>> {
        if let Ok(address) = self.parse() {
            return Ok(one(address));
        }
        let (host, port) =
            self.rsplit_once(':').ok_or_else(|| refused(self, "it has no port; append \":80\""))?;
        let port =
            port.parse().map_err(|_| refused(self, "the port is not a number up to 65535"))?;
        match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            // What the standard library does not read and the system does: the name of an interface
            // behind the address.
            Some(address) if address.contains(':') => (address, port).target(),
            None if !host.contains([':', '[', ']']) => (host, port).target(),
            _ => Err(refused(self, "write an IPv6 address as in \"[::1]:80\"")),
        }
    }
}

impl sealed::Resolve for String {
    type Known = One;

    fn target(self) -> io::Result<Target<One>> {
        self.as_str().target()
    }
}

impl sealed::Resolve for &String {
    type Known = One;

    fn target(self) -> io::Result<Target<One>> {
        self.as_str().target()
    }
}

fn refused(text: &str, detail: &str) -> io::Error {
    let text = format!("{text:?} is no host with a port: {detail}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::rt::blocking::BlockingOptions;
    use crate::rt::park_on::park_on;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn pool() -> BlockingPool {
        BlockingPool::new(BlockingOptions::new().threads_max(2))
    }

    fn all<T: ToSocketAddrs>(pool: &BlockingPool, host: T) -> io::Result<Vec<SocketAddr>> {
        park_on(lookup_host_on(pool, host)).map(Iterator::collect)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_is_an_address_needs_no_thread() {
        let pool = pool();
        let (v4, v6) = (address("127.0.0.1:80"), address("[::1]:80"));
        let (borrowed, text) = (&v6, &String::from("[::1]:80"));
        let known = |result: io::Result<Vec<SocketAddr>>| result.expect("known");
        assert_eq!(known(all(&pool, "127.0.0.1:80")), [v4]);
        assert_eq!(known(all(&pool, "[::1]:80")), [v6]);
        assert_eq!(known(all(&pool, String::from("127.0.0.1:80"))), [v4]);
        assert_eq!(known(all(&pool, text)), [v6]);
        assert_eq!(known(all(&pool, ("127.0.0.1", 80))), [v4]);
        assert_eq!(known(all(&pool, (String::from("::1"), 80))), [v6]);
        assert_eq!(known(all(&pool, (IpAddr::from(Ipv4Addr::LOCALHOST), 80))), [v4]);
        assert_eq!(known(all(&pool, (IpAddr::from(Ipv6Addr::LOCALHOST), 80))), [v6]);
        assert_eq!(known(all(&pool, v4)), [v4]);
        assert_eq!(known(all(&pool, borrowed)), [v6]);
        assert_eq!(known(all(&pool, [v6, v4].as_slice())), [v6, v4]);
        assert_eq!(known(all(&pool, [].as_slice())), []);
        let stats = pool.stats();
        assert_eq!((stats.threads, stats.done), (0, 0));
    }

    #[test]
    fn a_name_is_asked_for_on_a_thread_of_the_pool() {
        let pool = pool();
        for result in [all(&pool, "localhost:80"), all(&pool, ("localhost", 80))] {
            let addresses = result.expect("every system knows it");
            assert!(!addresses.is_empty());
            assert!(addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 80));
        }
        assert_eq!(pool.shut_down(None), 0);
        assert_eq!(pool.stats().done, 2);
    }

    #[test]
    fn an_error_names_the_host() {
        let pool = pool();
        // Not a name that a name server could be asked for.
        let error = all(&pool, ("no\0name", 80)).expect_err("there is no such host");
        assert!(error.to_string().contains("look up the host \"no\\0name\""), "{error}");
        pool.shut_down(None);
        let error = all(&pool, "localhost:80").expect_err("nobody can ask");
        assert!(error.to_string().contains("\"localhost\": the task was cancelled"), "{error}");
    }

    #[test]
    fn who_makes_a_socket_is_told_the_host_and_what_the_system_says() {
        let runtime = crate::rt::Runtime::new().expect("a runtime");
        let asked = ("no\0name", 80);
        let said = runtime.block_on(lookup_host(asked)).map(|_| ()).expect_err("no such host");
        let error = runtime.block_on(addresses_of(asked)).map(|_| ()).expect_err("no such host");
        assert_eq!(error.to_string(), said.to_string());
        let refused = runtime.block_on(addresses_of("localhost")).map(|_| ()).expect_err("no port");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("\"localhost\""), "{refused}");
        assert!(refused.to_string().contains("it has no port"), "{refused}");
    }

    #[test]
    fn what_is_no_host_and_port_is_refused_without_asking() {
        let pool = pool();
        for (text, detail) in [
            ("", "no port"),
            ("localhost", "no port"),
            ("localhost:", "not a number"),
            ("localhost:http", "not a number"),
            ("localhost:65536", "not a number"),
            (":80", "no host"),
            ("::1:80", "IPv6"),
            ("[localhost]:80", "IPv6"),
            ("[::1:80", "IPv6"),
            ("[]:80", "IPv6"),
        ] {
            let error = all(&pool, text).expect_err(text);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text}");
            assert!(error.to_string().contains(detail), "{text}: {error}");
        }
        assert!(all(&pool, ("", 80)).is_err());
        assert_eq!(pool.stats().threads, 0);
    }

    #[test]
    fn an_interface_behind_an_address_is_for_the_system_to_read() {
        let target = sealed::Resolve::target("[fe80::1%lo]:80").expect("is well formed");
        assert!(matches!(target, Target::Host(host, 80) if host == "fe80::1%lo"));
    }

    #[test]
    fn a_task_that_looks_up_may_move_between_threads() {
        fn sendable<T: Send>(future: T) -> T {
            future
        }
        let pool = pool();
        let addresses = park_on(sendable(lookup_host_on(&pool, ("::1", 80)))).expect("known");
        assert_eq!(sendable(addresses).count(), 1);
    }

    #[test]
    fn the_public_function_finds_the_pool_of_the_runtime() {
        let runtime = crate::rt::Runtime::new().expect("a runtime");
        let mut addresses = runtime.block_on(lookup_host("127.0.0.1:9")).expect("known");
        assert_eq!(addresses.next(), Some(address("127.0.0.1:9")));
        assert_eq!(addresses.next(), None);
    }
}

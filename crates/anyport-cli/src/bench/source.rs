//! Source addresses of connections: one address has ports for some 28,000 connections at a time,
//! so more connections, or many short ones, take several.
//!
//! `127.0.0.1,127.0.0.2`, `127.0.1.1-127.0.1.200`, or both mixed. No I/O. Called by `args`.

use std::net::{IpAddr, Ipv4Addr};

/// More than anybody needs: each has tens of thousands of ports.
const ADDRESSES_MAX: usize = 65_536;

/// Source addresses, used in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources(Vec<IpAddr>);

impl Sources {
    /// Reads what stands on the command line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut list = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => append_range(&mut list, first, last)?,
                None => list.push(parse_address(part)?),
            }
        }
        Ok(Self(list))
    }

    /// The source of connection `number`; none: the system chooses.
    pub(crate) fn of(&self, number: usize) -> Option<IpAddr> {
        self.0.get(number.checked_rem(self.0.len())?).copied()
    }

    /// Whether all of them can connect to `peer`: both are IPv4 or both IPv6.
    pub(crate) fn fit(&self, peer: IpAddr) -> bool {
        self.0.iter().all(|source| source.is_ipv4() == peer.is_ipv4())
    }
}

fn append_range(list: &mut Vec<IpAddr>, first: &str, last: &str) -> Result<(), String> {
    let (IpAddr::V4(first), IpAddr::V4(last)) = (parse_address(first)?, parse_address(last)?)
    else {
        return Err("a range is of IPv4 addresses: list IPv6 ones".into());
    };
    let numbers = u32::from(first)..=u32::from(last);
    let count = u64::from(u32::from(last)) + 1;
    let count = count.saturating_sub(u64::from(u32::from(first)));
    if count == 0 || list.len() as u64 + count > ADDRESSES_MAX as u64 {
        return Err(format!("{first}-{last} holds {count} addresses: 1 to {ADDRESSES_MAX} go"));
    }
    list.extend(numbers.map(|number| IpAddr::V4(Ipv4Addr::from(number))));
    Ok(())
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    let text = text.trim();
    text.parse().map_err(|_| {
        format!("`{text}` is not an IP address: write 127.0.0.1,127.0.0.2 or 127.0.0.1-127.0.0.20")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_used_in_turn() {
        let sources = Sources::parse("127.0.0.9,127.0.1.254-127.0.2.1").expect("addresses");
        let used: Vec<String> =
            (0..6).filter_map(|n| sources.of(n)).map(|address| address.to_string()).collect();
        let expected = ["127.0.0.9", "127.0.1.254", "127.0.1.255", "127.0.2.0", "127.0.2.1"];
        assert_eq!(used[..5], expected);
        assert_eq!(used[5], "127.0.0.9");
    }

    #[test]
    fn without_addresses_the_system_chooses() {
        assert_eq!(Sources::default().of(7), None);
        assert!(Sources::default().fit(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in ["", "localhost", "127.0.0.2-127.0.0.1", "0.0.0.0-255.255.255.255", "::1-::2"] {
            assert!(Sources::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_another_family_do_not_fit() {
        let sources = Sources::parse("127.0.0.1,::1").expect("addresses");
        assert!(!sources.fit(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}

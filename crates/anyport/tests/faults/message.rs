//! Numbered, checksummed messages of mixed sizes, and who checks that all come back: each whole,
//! once, in order.

use std::sync::OnceLock;

/// The largest message.
pub(crate) const SIZE_MAX: usize = 8 << 20;

/// Bytes before the contents: connection, number, size and checksum. A message that has no room for
/// them all has as many as fit.
pub(crate) const HEAD: usize = 24;

/// The contents of all messages, each from a place of its own.
const NOISE: usize = SIZE_MAX + (1 << 20);

const SIZES: [usize; 14] =
    [1, 2, 7, 24, 64, 64, 900, 4_096, 4_097, 16_384, 20_000, 65_537, 70_001, 300_000];

/// What one connection says: its number and that of the run.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) connection: u32,
    pub(crate) seed: u64,
    pub(crate) messages: u32,
}

impl Script {
    /// The size of a message: mixed, and on the first connections a large one among them.
    pub(crate) fn size(self, number: u32) -> usize {
        match (self.connection, number == self.messages / 2) {
            (0, true) => SIZE_MAX,
            (1, true) => SIZE_MAX / 4,
            _ => SIZES[self.mixed(number) as usize % SIZES.len()],
        }
    }

    pub(crate) fn message(self, number: u32) -> Vec<u8> {
        self.sized(number, self.size(number))
    }

    /// A message of another size than its own.
    pub(crate) fn sized(self, number: u32, size: usize) -> Vec<u8> {
        let from = self.mixed(number) as usize % (NOISE - SIZE_MAX);
        let mut bytes = noise()[from..from + size].to_vec();
        let contents = &bytes[HEAD.min(size)..];
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&number.to_le_bytes());
        head[4..8].copy_from_slice(&self.connection.to_le_bytes());
        head[8..16].copy_from_slice(&(size as u64).to_le_bytes());
        head[16..].copy_from_slice(&checksum(contents).to_le_bytes());
        let room = HEAD.min(size);
        // The smallest have the number's lowest bytes.
        bytes[..room].copy_from_slice(&head[..room]);
        bytes
    }

    fn mixed(self, number: u32) -> u64 {
        mixed(self.seed ^ u64::from(self.connection) << 32 ^ u64::from(number))
    }
}

/// Takes what comes back, piece by piece.
pub(crate) struct Checker {
    script: Script,
    number: u32,
    expected: Vec<u8>,
    at: usize,
}

impl Checker {
    pub(crate) fn new(script: Script) -> Self {
        Checker { script, number: 0, expected: script.message(0), at: 0 }
    }

    /// The number and the connection that a head tells of.
    pub(crate) fn name_of(head: &[u8; HEAD]) -> (u32, u32) {
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        (word(0), word(4))
    }

    /// The message that is coming.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// True when all has come.
    pub(crate) fn is_done(&self) -> bool {
        self.number == self.script.messages
    }

    /// Takes the next bytes of the connection; says how many messages they end.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<u32, String> {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.is_done() {
                return Err(format!("{} bytes too many: {}", bytes.len(), told(bytes)));
            }
            let count = bytes.len().min(self.expected.len() - self.at);
            let expected = &self.expected[self.at..self.at + count];
            if let Some(wrong) = (bytes[..count] != *expected)
                .then(|| (0..count).find(|&at| bytes[at] != expected[at]))
                .flatten()
            {
                return Err(format!(
                    "connection {}, message {} of {} bytes: wrong from byte {}; what came: {}",
                    self.script.connection,
                    self.number,
                    self.expected.len(),
                    self.at + wrong,
                    told(&bytes[wrong..])
                ));
            }
            self.at += count;
            bytes = &bytes[count..];
            if self.at == self.expected.len() {
                ended += 1;
                self.number += 1;
                self.at = 0;
                if !self.is_done() {
                    self.expected = self.script.message(self.number);
                }
            }
        }
        Ok(ended)
    }

    /// Where it stands.
    pub(crate) fn progress(&self) -> String {
        format!("{} of {} messages and {} bytes", self.number, self.script.messages, self.at)
    }
}

/// What these bytes look like, for who has to find out where they come from.
fn told(bytes: &[u8]) -> String {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    match (word(0), word(4)) {
        (Some(number), Some(connection)) if connection < 1_000 && number < 1_000_000 => {
            let size = word(8).unwrap_or(0) as usize;
            let sum = bytes.get(HEAD..size).map(checksum);
            let is_whole = sum.map(|sum| bytes[16..HEAD] == sum.to_le_bytes());
            format!("message {number} of connection {connection}, whole: {is_whole:?}")
        }
        _ => format!("{:?}", &bytes[..bytes.len().min(16)]),
    }
}

/// By words, and in order: bytes that changed places show.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

fn noise() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| (0..NOISE as u64 / 8).flat_map(|at| mixed(at).to_le_bytes()).collect())
}

/// Spreads a number over all bits (splitmix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

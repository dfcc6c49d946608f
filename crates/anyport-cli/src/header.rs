//! The 8-byte header of a frame: `PacketHeader { dataLength: u32, commandType: u32 }`, both
//! little-endian; `dataLength` counts the payload only.
//!
//! Both ends use it: `serve echo --framed` to find the frames, `bench --framed` to make them. The
//! top bit of `commandType` is the server's: it marks the reply to a message whose handler stalled.

/// Bytes of a header on the wire.
pub(crate) const HEADER_LEN: usize = 8;

/// Set in `commandType` by `serve echo --stall-every` in the reply to a stalled message.
pub(crate) const STALLED_FLAG: u32 = 1 << 31;

/// The byte of a frame that holds `STALLED_FLAG`, and the flag within it.
pub(crate) const STALLED_BYTE: usize = HEADER_LEN - 1;
pub(crate) const STALLED_BIT: u8 = (STALLED_FLAG >> 24) as u8;

/// What stands in front of each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketHeader {
    /// Payload bytes that follow the header.
    pub(crate) data_length: u32,
    /// What the payload is, chosen by the sender, who leaves `STALLED_FLAG` clear; an echo returns
    /// it as it came.
    pub(crate) command_type: u32,
}

impl PacketHeader {
    /// The header at the start of `bytes`; none when fewer than `HEADER_LEN` are there.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (command, _) = rest.split_first_chunk::<4>()?;
        Some(Self {
            data_length: u32::from_le_bytes(*length),
            command_type: u32::from_le_bytes(*command),
        })
    }

    /// The header as it goes over the wire.
    pub(crate) fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&self.data_length.to_le_bytes());
        bytes[4..].copy_from_slice(&self.command_type.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_fields_are_little_endian_length_first() {
        let header = PacketHeader { data_length: 0x0403_0201, command_type: 0x0807_0605 };
        assert_eq!(header.encode(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(PacketHeader::decode(&header.encode()), Some(header));
    }

    #[test]
    fn the_mark_of_a_stall_is_where_its_constants_say() {
        let header = PacketHeader { data_length: 0, command_type: STALLED_FLAG };
        assert_eq!(header.encode()[STALLED_BYTE], STALLED_BIT);
    }

    #[test]
    fn seven_bytes_are_no_header() {
        assert_eq!(PacketHeader::decode(&[0; 7]), None);
    }
}

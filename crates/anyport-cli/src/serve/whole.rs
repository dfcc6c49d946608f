//! The whole frames of a received buffer as one buffer to send, marked where a stall is due.

use anyport::buf::Buffer;

use super::framed::FrameBytes;
use super::stall::Stall;

/// What is to be sent of `received` and what was kept before it; none when no frame is whole. Stalls
/// for those of its `count` frames whose turn it is.
pub(super) fn whole(
    received: Buffer,
    bytes: FrameBytes,
    count: u64,
    stall: &Stall,
) -> Option<Buffer> {
    match bytes {
        FrameBytes::Prefix(0) => None,
        FrameBytes::Prefix(len) => Some(match received.into_pooled() {
            Ok(mut pooled) => {
                pooled.truncate(len);
                stall.on_frames(count, &mut pooled);
                pooled.into()
            }
            // Receives give pooled buffers; any other is copied rather than trusted.
            Err(other) => {
                let mut copied = other.as_slice()[..len].to_vec();
                stall.on_frames(count, &mut copied);
                copied.into()
            }
        }),
        FrameBytes::Joined(mut bytes) => {
            stall.on_frames(count, &mut bytes);
            Some(bytes.into())
        }
    }
}

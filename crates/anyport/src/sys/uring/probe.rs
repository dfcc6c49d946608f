//! Which features this kernel offers: asked of the kernel itself, by trying each, since version
//! numbers do not tell what a container forbids nor what a distribution has brought over.
//!
//! Whether there is io_uring at all is asked for each port: a process may lose the right to it. What
//! the kernel can do beyond that is tried once, since it stays.

use super::features::{Feature, Features};
use super::trials;
use io_uring::{IoUring, Probe, opcode};
use std::io;
use std::sync::OnceLock;

/// What a kernel offers.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) features: Features,
    /// Operations that it lacks, by name.
    pub(super) missing_opcodes: Vec<&'static str>,
}

/// The opcodes that `translate` uses.
const OPCODES: [(u8, &str); 13] = [
    (opcode::AsyncCancel::CODE, "async_cancel"),
    (opcode::PollAdd::CODE, "poll_add"),
    (opcode::Recv::CODE, "recv"),
    (opcode::RecvMsg::CODE, "recvmsg"),
    (opcode::Send::CODE, "send"),
    (opcode::SendMsg::CODE, "sendmsg"),
    (opcode::Accept::CODE, "accept"),
    (opcode::Connect::CODE, "connect"),
    (opcode::Read::CODE, "read"),
    (opcode::Readv::CODE, "readv"),
    (opcode::Write::CODE, "write"),
    (opcode::Writev::CODE, "writev"),
    (opcode::MsgRingData::CODE, "msg_ring"),
];

/// Asks the kernel; the error is the reason why there is no io_uring, in words.
pub(super) fn ask() -> Result<Offer, String> {
    static OFFER: OnceLock<Offer> = OnceLock::new();
    let ring = first_ring().map_err(|e| match e.raw_os_error() {
        Some(libc::EPERM) => {
            "io_uring is forbidden here (EPERM, as container runtimes do)".to_owned()
        }
        Some(libc::ENOSYS) => "this kernel has no io_uring (ENOSYS)".to_owned(),
        Some(libc::ENOMEM) => {
            "the limit of locked memory (ulimit -l) lets no io_uring in".to_owned()
        }
        _ => format!("io_uring_setup failed: {e}"),
    })?;
    if let Some(offer) = OFFER.get() {
        return Ok(offer.clone());
    }
    // A failure is none of the kernel's answers: no descriptors or no memory now. The next port
    // asks again.
    let offer = try_all(&ring).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOMEM) => {
            "the limit of locked memory (ulimit -l) is too low to try io_uring out".to_owned()
        }
        _ => format!("trying out io_uring failed: {e}"),
    })?;
    Ok(OFFER.get_or_init(|| offer).clone())
}

/// The plainest ring there is.
fn first_ring() -> io::Result<IoUring> {
    IoUring::builder().setup_clamp().build(2)
}

fn try_all(ring: &IoUring) -> io::Result<Offer> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let lacks = |&&(code, _): &&(u8, _)| !probe.is_supported(code);
    let missing_opcodes: Vec<_> = OPCODES.iter().filter(lacks).map(|&(_, name)| name).collect();
    let mut features = Features::default()
        .with(Feature::Linux61, probe.is_supported(opcode::SendMsgZc::CODE))
        .with(Feature::NoDrop, ring.params().is_feature_nodrop())
        .with(Feature::ExtArg, ring.params().is_feature_ext_arg())
        .with(Feature::Opcodes, missing_opcodes.is_empty());
    let is_worth_a_trial = [Feature::Linux61, Feature::NoDrop, Feature::ExtArg, Feature::Opcodes];
    if is_worth_a_trial.into_iter().all(|feature| features.has(feature)) {
        features = trials::run(features)?;
    }
    Ok(Offer { features, missing_opcodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_offers_io_uring_answers_each_trial_the_same_again() {
        let Ok(offer) = ask() else { return println!("not run: no io_uring here") };
        let ring = first_ring().expect("there was one");
        for _ in 0..3 {
            let again = try_all(&ring).expect("descriptors and memory are there");
            assert_eq!(again.features, offer.features);
        }
    }
}

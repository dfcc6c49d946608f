//! Whether this kernel offers all that the backend takes, and if not, why not: asked of the kernel
//! itself, since version numbers do not tell what a container forbids.

use io_uring::{IoUring, Probe, opcode};

/// Asks the kernel; the error is the reason, in words.
pub(crate) fn probe() -> Result<(), String> {
    let ring: IoUring =
        IoUring::builder().setup_submit_all().build(4).map_err(|e| match e.raw_os_error() {
            Some(libc::EPERM) => {
                "io_uring is forbidden here (EPERM, as container runtimes do)".to_owned()
            }
            Some(libc::ENOSYS) => "this kernel has no io_uring (ENOSYS)".to_owned(),
            _ => format!("io_uring_setup failed: {e}"),
        })?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|e| format!("probing failed: {e}"))?;
    // Linux 6.1 has it and earlier ones have not; multishot receives and provided buffer rings,
    // which no probe tells, came before it.
    if !probe.is_supported(opcode::SendMsgZc::CODE) {
        return Err("io_uring of this kernel is older than Linux 6.1".to_owned());
    }
    if !ring.params().is_feature_nodrop() || !ring.params().is_feature_ext_arg() {
        return Err("io_uring of this kernel may drop completions".to_owned());
    }
    Ok(())
}

//! Transfers of files: late, short or failing, as the world's disk has it. What a file holds is the
//! real system's, which is asked when a transfer is done.

use super::code;
use super::lanes::{Due, LaneId, Told};
use super::state::State;
use super::timeline::Happening;
use crate::sys::{Outcome, Region, Request, Token};
use std::fs::File;
use std::io;

/// A transfer that is not done.
pub(super) struct Job {
    at: LaneId,
    token: Token,
    request: Request,
    file: File,
}

impl State {
    /// The system takes a request on a file.
    ///
    /// # Safety
    /// As for `Backend::issue`.
    pub(super) unsafe fn issue_transfer(
        &mut self,
        at: LaneId,
        file: io::Result<File>,
        request: Request,
        token: Token,
    ) {
        self.time.note("transfer", token.bits(), 0);
        if let Some(lane) = self.lane(at) {
            lane.under_way += 1;
        }
        match file {
            Ok(file) => {
                let number = self.time.number();
                let delay = self.time.random.within(&self.disk.latency);
                self.jobs.insert(number, Job { at, token, request, file });
                self.time.after(delay, Happening::Due(Due::Transfer(number)));
            }
            Err(e) => {
                let failed = Outcome::Failed(e.raw_os_error().unwrap_or(code::DISK_FAILS));
                self.tell(at, Told::last(token, failed), None);
            }
        }
    }

    /// Ends a transfer that the disk has not begun; of those that are not done, some.
    pub(super) fn cancel_transfer(&mut self, token: Token) {
        self.time.note("cancel transfer", token.bits(), 0);
        let found = self.jobs.iter().find(|(_, job)| job.token == token);
        let Some(number) = found.map(|(&number, _)| number) else { return };
        if self.time.random.chance(self.system.late_cancel) {
            return;
        }
        if let Some(job) = self.jobs.remove(&number) {
            self.tell(job.at, Told::last(token, Outcome::Interrupted), None);
        }
    }

    /// The disk does a transfer.
    pub(super) fn transfer(&mut self, number: u64) {
        let Some(job) = self.jobs.remove(&number) else { return };
        let outcome = match self.time.random.chance(self.disk.error) {
            true => Outcome::Failed(code::DISK_FAILS),
            false => match self.moved(&job) {
                Ok(bytes) => Outcome::Bytes(bytes),
                Err(e) => Outcome::Failed(e.raw_os_error().unwrap_or(code::DISK_FAILS)),
            },
        };
        let bytes = if let Outcome::Bytes(bytes) = outcome { bytes } else { 0 };
        self.time.note("transferred", job.token.bits(), bytes as u64);
        self.tell(job.at, Told::last(job.token, outcome), None);
    }

    fn moved(&mut self, job: &Job) -> io::Result<usize> {
        let (regions, offset): (Vec<Region>, u64) = match job.request {
            Request::ReadAt(region, offset) | Request::WriteAt(region, offset) => {
                (vec![region.region()], offset)
            }
            Request::ReadMessageAt(message, offset) | Request::WriteMessageAt(message, offset) => {
                // SAFETY: the message is valid until the last event was taken, by the promise given
                // when the request was issued, and nobody else accesses it meanwhile.
                (unsafe { &*message }.each_region().collect(), offset)
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let is_write = matches!(job.request, Request::WriteAt(..) | Request::WriteMessageAt(..));
        let mut left: usize = regions.iter().map(|region| region.len).sum();
        if left > 1 && self.time.random.chance(self.disk.short) {
            left = self.time.random.up_to(left - 1);
        }
        if is_write && let Some(space) = self.disk.space {
            left = left.min(usize::try_from(space).unwrap_or(usize::MAX));
            if left == 0 {
                return Err(io::Error::from_raw_os_error(code::NO_SPACE_LEFT));
            }
        }
        let mut done = 0;
        for region in regions {
            let len = region.len.min(left - done);
            if len == 0 {
                continue;
            }
            let at = offset.saturating_add(done as u64);
            let moved = match is_write {
                true => {
                    // SAFETY: a region of a request that is under way is valid for reads of its
                    // length, and nobody writes to it meanwhile.
                    let bytes = unsafe { std::slice::from_raw_parts(region.ptr, len) };
                    write(&job.file, bytes, at)
                }
                false => read(&job.file, region.ptr, len, at),
            };
            match moved {
                Ok(bytes) => {
                    done += bytes;
                    if bytes < len {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        if is_write && let Some(space) = &mut self.disk.space {
            *space -= done as u64;
        }
        Ok(done)
    }
}

/// Reads by way of memory of its own: what a request points to need not be initialised.
fn read(file: &File, to: *mut u8, len: usize, offset: u64) -> io::Result<usize> {
    let mut bytes = vec![0; len];
    #[cfg(unix)]
    let count = std::os::unix::fs::FileExt::read_at(file, &mut bytes, offset)?;
    #[cfg(windows)]
    let count = match std::os::windows::fs::FileExt::seek_read(file, &mut bytes, offset) {
        Err(e) if e.raw_os_error() == Some(code::END_OF_FILE) => 0,
        result => result?,
    };
    // SAFETY: a region of a request that is under way is valid for writes of its length, which
    // `len` and so `count` do not exceed, and nobody else accesses it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, count) };
    Ok(count)
}

fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_at(file, bytes, offset);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_write(file, bytes, offset);
}

//! What a run costs a server that is a process of this machine: CPU time and resident memory.
//!
//! Looks at the moments of a run; figures that the system does not tell stay unknown. Called by
//! `bench` and `suite` for `--pid`.

use std::time::Duration;

use super::generator::Moment;
use super::report::{Row, rounded};
use crate::process;

/// The watched process.
pub(crate) struct ServerSide {
    pid: u32,
    rss_before: Option<u64>,
    rss_peak: Option<u64>,
    cpu_begin: Option<Duration>,
    cpu_end: Option<Duration>,
}

impl ServerSide {
    /// Looks at process `pid` before anything is connected.
    pub(crate) fn new(pid: u32) -> Self {
        let rss_before = process::resident_bytes(pid).ok();
        Self { pid, rss_before, rss_peak: None, cpu_begin: None, cpu_end: None }
    }

    /// A moment of the run has come.
    pub(crate) fn on_moment(&mut self, moment: Moment) {
        match moment {
            Moment::Connecting { .. } => return,
            Moment::MeasureBegins => self.cpu_begin = process::cpu_time(self.pid).ok(),
            Moment::MeasureEnds => self.cpu_end = process::cpu_time(self.pid).ok(),
            Moment::Tick { .. } => {}
        }
        self.rss_peak = self.rss_peak.max(process::resident_bytes(self.pid).ok());
    }

    /// Fills the server's figures of `row`.
    pub(crate) fn fill(&self, row: &mut Row, messages: u64) {
        if let Some((begin, end)) = self.cpu_begin.zip(self.cpu_end)
            && messages > 0
        {
            let used = end.saturating_sub(begin);
            row.cpu_us_per_msg = Some(rounded(used.as_secs_f64() * 1e6 / messages as f64));
        }
        row.rss_kib_per_conn = self.rss_before.zip(self.rss_peak).map(|(before, peak)| {
            rounded(peak.saturating_sub(before) as f64 / 1024.0 / row.conns as f64)
        });
    }
}

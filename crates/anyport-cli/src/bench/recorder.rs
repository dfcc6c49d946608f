//! What one thread of the generator measures: latencies, counts, the time line, its own cost.
//!
//! A latency goes into the histogram of the interval that is under way; at its end the interval
//! is added to the whole and kept as its few non-empty counts. Messages count while the measured
//! window is open; answers to a constant rate that come after its end count as latencies only, so
//! that a stall at the end is seen. No I/O; the caller brings the time. Called by `steady`, `churn`.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::load::Load;
use super::system::thread_cpu_time;
use super::tally::{Interval, NOTES_MAX, Tally, new_histogram};

/// The times of a run, in nanoseconds since the load began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// The measured window begins and ends.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    interval: u64,
}

impl Window {
    /// The times of `load`.
    pub(crate) fn new(load: &Load) -> Self {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4);
        let begin = ns(load.ramp + load.warmup);
        Self { begin, end: begin + ns(load.measured), interval: ns(load.interval).max(1) }
    }
}

/// Takes the measurements of one thread.
pub(crate) struct Recorder {
    window: Window,
    tally: Tally,
    /// Latencies of the interval under way.
    current: Histogram<u64>,
    interval: Interval,
    /// When that interval ends.
    interval_end: u64,
    is_open: bool,
    is_over: bool,
    opened_at: u64,
    cpu_at_opening: Option<Duration>,
    /// Nanoseconds of the window in which the thread only looked for something to do.
    idle: u64,
}

impl Recorder {
    /// A recorder for a load that begins now, `payload_share` of whose wire bytes is payload.
    pub(crate) fn new(load: &Load, payload_share: f64) -> Self {
        let window = Window::new(load);
        let mut recorder = Self {
            tally: Tally { payload_share, ..Tally::new(load.sizes.parts().len()) },
            current: new_histogram(),
            interval: Interval::default(),
            interval_end: 0,
            is_open: false,
            is_over: false,
            opened_at: 0,
            cpu_at_opening: None,
            idle: 0,
            window,
        };
        // Before the window, intervals are counted back from its beginning.
        recorder.interval_end = match window.begin % window.interval {
            0 => window.interval.min(window.end),
            part => part,
        };
        recorder.roll(0);
        recorder
    }

    /// Ends the intervals, and opens and closes the window, whose time has come.
    pub(crate) fn roll(&mut self, now: u64) {
        if !self.is_open && !self.is_over && now >= self.window.begin {
            self.close_intervals(self.window.begin);
            self.is_open = true;
            self.opened_at = now;
            self.cpu_at_opening = thread_cpu_time();
        }
        if self.is_open && now >= self.window.end {
            // The last interval stays open for late answers.
            self.close_intervals(self.window.end - 1);
            self.close_window(now);
        }
        if !self.is_over {
            self.close_intervals(now);
        }
    }

    /// The window is over; what comes now is late.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// When the window ends, in nanoseconds since the load began.
    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// A message came back whole after `latency` nanoseconds.
    pub(crate) fn on_message(&mut self, latency: u64, part: u16, is_stalled: bool) {
        self.current.saturating_record(latency);
        self.interval.messages += u64::from(!self.is_over);
        if !self.is_open && !self.is_over {
            return;
        }
        self.tally.messages += u64::from(self.is_open);
        if is_stalled {
            self.tally.stalled.saturating_record(latency);
        }
        if let Some(histogram) = self.tally.by_part.get_mut(usize::from(part)) {
            histogram.saturating_record(latency);
        }
    }

    /// A message was due, and after `waited` nanoseconds, at the end of the window, not sent.
    pub(crate) fn on_unsent(&mut self, waited: u64) {
        self.current.saturating_record(waited);
        self.tally.unsent += 1;
    }

    /// `bytes` came back.
    pub(crate) fn on_bytes(&mut self, bytes: usize) {
        if !self.is_over {
            self.interval.wire_bytes += bytes as u64;
            self.tally.wire_bytes += if self.is_open { bytes as u64 } else { 0 };
        }
    }

    /// A message was sent `lag` nanoseconds after it was due.
    pub(crate) fn on_send_lag(&mut self, lag: u64) {
        if self.is_open {
            self.tally.send_lag.saturating_record(lag);
        }
    }

    /// For `time` nanoseconds there was nothing to do, and the thread did not sleep.
    pub(crate) fn on_idle(&mut self, time: u64) {
        self.idle += if self.is_open { time } else { 0 };
    }

    /// A connect took `time` nanoseconds.
    pub(crate) fn on_connect(&mut self, time: u64) {
        if self.is_open {
            self.tally.connect.saturating_record(time);
        }
    }

    /// `count` connections or exchanges are tried.
    pub(crate) fn on_attempts(&mut self, count: u64) {
        self.tally.attempts += count;
    }

    /// Counts `count` failures of one kind; `note` is kept if there is room.
    pub(crate) fn on_errors(
        &mut self,
        count: u64,
        kind: &'static str,
        note: impl FnOnce() -> String,
    ) {
        if count == 0 {
            return;
        }
        *self.tally.errors.entry(kind).or_default() += count;
        self.interval.errors += count;
        if self.tally.notes.len() < NOTES_MAX {
            self.tally.notes.push(note());
        }
    }

    /// `count` bytes came back other than they were sent.
    pub(crate) fn on_wrong_bytes(&mut self, count: u64) {
        self.tally.wrong_bytes += count;
    }

    /// Messages so far, for the progress line.
    pub(crate) fn messages(&self) -> u64 {
        self.tally.messages
    }

    /// What was measured. A load that ends before its window does was measured until `now`.
    pub(crate) fn finish(mut self, now: u64) -> Tally {
        if self.is_open {
            self.close_window(now);
        }
        self.close_interval(now.min(self.window.end));
        self.tally
    }

    fn close_window(&mut self, now: u64) {
        self.is_open = false;
        self.is_over = true;
        let measured = Duration::from_nanos(now - self.opened_at);
        // A thread that looks again at once burns its core; what counts is when it was busy.
        let busy = measured.saturating_sub(Duration::from_nanos(self.idle));
        let used = |(end, begin): (Duration, Duration)| end.saturating_sub(begin).min(busy);
        self.tally.measured = measured;
        self.tally.cpu = thread_cpu_time().zip(self.cpu_at_opening).map(used);
        self.tally.cpu_share =
            self.tally.cpu.map(|cpu| cpu.as_secs_f64() / measured.as_secs_f64().max(1e-9));
    }

    /// Closes every interval that has ended by `now`.
    fn close_intervals(&mut self, now: u64) {
        while now >= self.interval_end {
            self.close_interval(self.interval_end);
            self.interval.begin = self.interval_end;
            let limit = if self.interval_end < self.window.begin {
                self.window.begin
            } else {
                self.window.end
            };
            self.interval_end = (self.interval_end + self.window.interval).min(limit);
        }
    }

    fn close_interval(&mut self, end: u64) {
        if self.interval.begin >= self.window.begin {
            self.tally.latency += &self.current;
        }
        let mut interval = std::mem::take(&mut self.interval);
        interval.lasting = end.saturating_sub(interval.begin);
        interval.counts = self
            .current
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect();
        self.tally.intervals.push(interval);
        self.current.reset();
    }
}

/// The kind under which an error is counted.
pub(crate) fn kind_of(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "refused",
        Kind::ConnectionReset => "reset",
        Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => "aborted",
        Kind::TimedOut => "timed_out",
        Kind::AddrNotAvailable | Kind::AddrInUse => "no_address",
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => "unreachable",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn load(warmup_ms: u64, measured_ms: u64) -> Load {
        Load {
            warmup: Duration::from_millis(warmup_ms),
            measured: Duration::from_millis(measured_ms),
            ..Load::closed(([127, 0, 0, 1], 1).into(), 1)
        }
    }

    /// A message a tenth of a second, each as late as its number in microseconds.
    fn record(load: &Load, until_tenths: u64) -> Tally {
        let mut recorder = Recorder::new(load, 1.0);
        for tenth in 0..until_tenths {
            recorder.roll(tenth * SECOND / 10);
            recorder.on_message(tenth * 1000 + 1, 0, false);
            recorder.on_bytes(64);
        }
        recorder.roll(until_tenths * SECOND / 10);
        recorder.finish(until_tenths * SECOND / 10)
    }

    #[test]
    fn the_time_line_is_whole_and_its_window_adds_up() {
        for (warmup, measured) in [(0, 3000), (1000, 3000), (1500, 2500), (0, 200), (300, 1000)] {
            let load = load(warmup, measured);
            let tally = record(&load, (warmup + measured) / 100);
            let window = Window::new(&load);
            let mut end = 0;
            for interval in &tally.intervals {
                assert_eq!(interval.begin, end, "{warmup} {measured}");
                assert!(interval.lasting <= SECOND && interval.lasting > 0);
                assert_eq!(interval.messages, interval.lasting / (SECOND / 10));
                assert_eq!(interval.latency().len(), interval.messages);
                end += interval.lasting;
            }
            assert_eq!(end, window.end);
            assert_eq!(tally.messages, measured / 100, "{warmup} {measured}");
            assert_eq!(tally.latency.len(), tally.messages);
            assert_eq!(tally.wire_bytes, tally.messages * 64);
            assert_eq!(tally.measured, load.measured);
        }
    }

    #[test]
    fn a_late_answer_is_a_latency_and_no_throughput() {
        let load = load(0, 1000);
        let mut recorder = Recorder::new(&load, 1.0);
        recorder.roll(3 * SECOND);
        assert!(recorder.is_over());
        recorder.on_message(2 * SECOND, 0, true);
        recorder.on_bytes(64);
        let tally = recorder.finish(3 * SECOND);
        assert_eq!((tally.messages, tally.wire_bytes), (0, 0));
        assert_eq!((tally.latency.len(), tally.stalled.len()), (1, 1));
        assert!(tally.latency.max() >= 2 * SECOND);
    }

    #[test]
    fn seconds_without_an_answer_are_in_the_time_line() {
        let load = load(0, 5000);
        let mut recorder = Recorder::new(&load, 1.0);
        recorder.on_message(1, 0, false);
        recorder.roll(4 * SECOND);
        let messages: Vec<u64> =
            recorder.finish(4 * SECOND).intervals.iter().map(|i| i.messages).collect();
        assert_eq!(messages, [1, 0, 0, 0, 0]);
    }

    #[test]
    fn threads_that_measured_at_the_same_time_add_up() {
        let load = load(1000, 2000);
        let mut all = record(&load, 30);
        all.merge(record(&load, 30));
        assert_eq!(all.messages, 40);
        assert_eq!(all.latency.len(), 40);
        assert_eq!(all.intervals.len(), 3);
        assert!(all.intervals.iter().all(|interval| interval.messages == 20));
        assert_eq!(all.measured, load.measured);
    }
}

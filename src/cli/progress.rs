//! `smore data import | generate`: progress on standard error.

use crate::cli::note;
use crate::progress::{Progress, Watch};
use crate::table::{bytes, count, duration};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// When lines are written where standard error is no terminal: first after two seconds, then ever more rarely, up to
/// one a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sparse {
    last: Instant,
    wait: Duration,
}

impl Sparse {
    /// Before the first line.
    pub(super) fn start() -> Self {
        Sparse { last: Instant::now(), wait: Duration::from_secs(2) }
    }

    /// Whether a line is due `now`; if so it counts as written.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.last) >= self.wait;
        if due {
            self.last = now;
            self.wait = (self.wait * 3 / 2).min(Duration::from_secs(60));
        }
        due
    }
}

/// What is going on.
struct State {
    bar: Option<ProgressBar>,
    stage: String,
    began: Instant,
    lines: Sparse,
}

/// Shows stages, what is done of them, the rate and the time left: a line that changes on a terminal, else
/// `Sparse` lines. The stage "reading" counts bytes, all others count items.
pub fn printer() -> Progress {
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        bar.set_style(ProgressStyle::with_template("{wide_msg}").expect("a fixed template"));
        bar
    });
    on(bar)
}

/// As [`printer`], for a command that Ctrl-C ends at once.
pub(super) fn watch() -> Watch<'static> {
    Watch { progress: printer(), ..Watch::nobody() }
}

/// As [`printer`], with a terminal's line that is there already.
pub(super) fn on(bar: Option<ProgressBar>) -> Progress {
    let state =
        Mutex::new(State { bar, stage: String::new(), began: Instant::now(), lines: Sparse::start() });
    Progress::new(move |stage, done, of| {
        let Ok(mut state) = state.lock() else { return };
        let state = &mut *state;
        if state.stage != stage {
            stage.clone_into(&mut state.stage);
            state.began = Instant::now();
        }
        let text = line(stage, done, of, state.began.elapsed());
        match &state.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None if state.lines.is_due(Instant::now()) => note(text),
            None => {}
        }
    })
}

/// `sorting train  41,943,040 / 338,586,276  21,000,000/s  14 s left`.
fn line(stage: &str, done: u64, of: u64, elapsed: Duration) -> String {
    let show = |number: u64| if stage == "reading" { bytes(number) } else { count(number) };
    let mut text = stage.to_owned();
    if of == 0 {
        return text;
    }
    text += &format!("  {} / {}", show(done), show(of));
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
    if done > 0 && elapsed >= Duration::from_secs(1) {
        let left = Duration::from_secs_f64((of.saturating_sub(done) as f64 / rate).min(1e9));
        text += &format!("  {}/s  {} left", show(rate as u64), duration(left));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_after_two_seconds_and_thin_out_to_one_a_minute() {
        let mut lines = Sparse::start();
        let start = lines.last;
        let due: Vec<u64> = (0..3600).filter(|&s| lines.is_due(start + Duration::from_secs(s))).collect();
        assert_eq!(due[..6], [2, 5, 10, 17, 28, 44]);
        assert_eq!(due[due.len() - 1] - due[due.len() - 2], 60);
        assert!(due.len() < 70);
    }

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let text = line("sorting train", 50_000_000, 200_000_000, Duration::from_secs(5));
        assert_eq!(text, "sorting train  50,000,000 / 200,000,000  10,000,000/s  15 s left");
        assert_eq!(line("reading", 5_000_000, 20_000_000, Duration::ZERO), "reading  5.00 MB / 20.00 MB");
        assert_eq!(line("sorting names", 0, 0, Duration::ZERO), "sorting names");
    }
}

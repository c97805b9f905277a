//! `smore data import | generate`: progress on standard error.

use crate::cli::note;
use crate::progress::Progress;
use crate::table::{bytes, count, duration};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Where standard error is no terminal, a line is written so often at most; nothing shorter is shown.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is going on.
struct State {
    bar: Option<ProgressBar>,
    stage: String,
    began: Instant,
    last_line: Instant,
}

/// Shows stages, what is done of them, the rate and the time left: a line that changes on a terminal, else
/// a line every ten seconds. The stage "reading" counts bytes, all others count items.
pub fn printer() -> Progress {
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        bar.set_style(ProgressStyle::with_template("{wide_msg}").expect("a fixed template"));
        bar
    });
    let now = Instant::now();
    let state = Mutex::new(State { bar, stage: String::new(), began: now, last_line: now });
    Progress::new(move |stage, done, of| {
        let Ok(mut state) = state.lock() else { return };
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
            None if state.last_line.elapsed() >= LINE_EVERY => {
                state.last_line = Instant::now();
                note(text);
            }
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
    fn a_line_tells_rate_and_time_left() {
        let text = line("sorting train", 50_000_000, 200_000_000, Duration::from_secs(5));
        assert_eq!(text, "sorting train  50,000,000 / 200,000,000  10,000,000/s  15 s left");
        assert_eq!(line("reading", 5_000_000, 20_000_000, Duration::ZERO), "reading  5.00 MB / 20.0 MB");
        assert_eq!(line("sorting names", 0, 0, Duration::ZERO), "sorting names");
    }
}

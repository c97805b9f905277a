//! Ctrl-C and termination signals.

use super::note;
use indicatif::ProgressBar;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the first Ctrl-C is answered with.
const STOPPING: &str = "stopping as soon as the state is saved; once more stops at once";

/// Set by Ctrl-C or a termination signal; a second one ends the process at once. A hangup that is ignored at the start
/// (`nohup`) stays ignored.
pub(super) fn stop_flag(bar: Option<ProgressBar>) -> anyhow::Result<&'static AtomicBool> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let handler = move || {
        let second = STOP.swap(true, Ordering::Relaxed);
        match &bar {
            Some(bar) if second => bar.finish_and_clear(),
            Some(bar) => bar.println(STOPPING),
            None if second => {}
            None => note(STOPPING),
        }
        if second {
            std::process::exit(130);
        }
    };
    keeping_ignored_hangup(|| ctrlc::set_handler(handler))?;
    Ok(&STOP)
}

/// Lets a write beyond `ulimit -f` be an error with a name, not the end of the process.
pub(super) fn ignore_file_limit() {
    #[cfg(unix)]
    // SAFETY: ignoring a signal installs no code.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Calls `set`, which sets a handler of all signals that end a process, so that an ignored hangup stays ignored.
#[cfg(unix)]
fn keeping_ignored_hangup<T>(set: impl FnOnce() -> T) -> T {
    // SAFETY: all-zero bytes are a valid sigaction and a valid set of signals, which the calls fill.
    let (mut now, mut hangup): (libc::sigaction, libc::sigset_t) = unsafe { std::mem::zeroed() };
    // SAFETY: `now` is valid and nobody else has it; no handler is changed.
    let asked = unsafe { libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut now) };
    if asked != 0 || now.sa_sigaction != libc::SIG_IGN {
        return set();
    }
    // A hangup that comes in between waits, and is dropped when it is ignored again.
    // SAFETY: the set is valid; only the mask of this thread and the handling of one signal change.
    unsafe {
        libc::sigemptyset(&mut hangup);
        libc::sigaddset(&mut hangup, libc::SIGHUP);
        libc::pthread_sigmask(libc::SIG_BLOCK, &hangup, std::ptr::null_mut());
    }
    let value = set();
    // SAFETY: as above; ignoring a signal installs no code.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &hangup, std::ptr::null_mut());
    }
    value
}

#[cfg(not(unix))]
fn keeping_ignored_hangup<T>(set: impl FnOnce() -> T) -> T {
    set()
}

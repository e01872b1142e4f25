//! A progress bar drawn by a thread of its own, so that drawing never delays the injector.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A running bar; dropping it takes it off the screen.
pub struct Progress {
    /// Items or bytes done; the worker stores it.
    pub done: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Draws `done / total` ticks on stderr while that is a terminal.
    pub fn start(total: u64) -> Self {
        Self::drawn(total, "{bar:40} {human_pos}/{human_len} ticks  {per_sec}  {eta} left")
    }

    /// The same for bytes.
    pub fn bytes(total: u64) -> Self {
        Self::drawn(total, "{bar:40} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left")
    }

    fn drawn(total: u64, style: &'static str) -> Self {
        let (done, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (done, over) = (Arc::clone(&done), Arc::clone(&over));
            std::thread::spawn(move || draw(total, style, &done, &over))
        };
        Self { done, over, thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A bar that failed to draw is no reason to fail the run.
            let _ = thread.join();
        }
    }
}

fn draw(total: u64, style: &str, done: &AtomicU64, over: &AtomicBool) {
    let bar = ProgressBar::new(total)
        .with_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    while !over.load(Ordering::Relaxed) {
        bar.set_position(done.load(Ordering::Relaxed));
        std::thread::sleep(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}

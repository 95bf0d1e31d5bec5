//! A bar on standard error, if a person watches, and what is logged above it.

use std::{
    fmt,
    io::{self, Write},
    sync::LazyLock,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use spotify_etl::pipeline::Progress;

static BAR: LazyLock<ProgressBar> = LazyLock::new(|| {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {rate}, {eta} left");
    // Nothing to see until there is something to count.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
        let _ = write!(text, "{:.0}/s", state.per_sec());
    });
    ProgressBar::hidden().with_style(style)
});

/// The bar.
pub struct Bar;

impl Progress for Bar {
    fn begin(&self, what: &'static str, count: usize) {
        BAR.reset();
        BAR.set_message(what);
        BAR.set_length(0);
        self.expect(count);
    }

    fn expect(&self, more: usize) {
        BAR.inc_length(more as u64);
        if more > 0 {
            BAR.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    fn advance(&self) {
        BAR.inc(1);
    }

    fn end(&self) {
        BAR.finish_and_clear();
        BAR.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Standard error, with the bar kept out of the way.
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BAR.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

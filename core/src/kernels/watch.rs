//! Watching what is launched on adapters: which kernels, how many bytes they are given, and how long each takes.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cubecl::config::{TypeNameFormatLevel, type_name_format};
use cubecl::logging::{Duration, LaunchObservation, LaunchObserver, TimingMethod, TimingRequest};

/// A kernel that was launched.
#[derive(Debug, Clone, PartialEq)]
pub struct Launched {
    /// Its name: ours say their sizes, Burn's their types.
    pub kernel: String,
    /// The bytes of all its buffers; of Burn's own kernels they are not known.
    pub bytes: Option<u64>,
    /// How long it took; none where nobody asked.
    pub seconds: Option<f64>,
}

/// How many watch now: names are written down for them only.
static WATCHING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// What is about to be launched by us.
    static OURS: RefCell<Option<(String, u64)>> = const { RefCell::new(None) };
}

/// Says what the next launch on this thread is.
pub(super) fn announce(name: &str, bytes: u64) {
    if WATCHING.load(Ordering::Relaxed) > 0 {
        OURS.set(Some((name.to_owned(), bytes)));
    }
}

/// Watches every launch of the process from when it is made to when it [ends](Self::end).
#[expect(
    missing_debug_implementations,
    reason = "what observes is a foreign type"
)]
pub struct Watch {
    observation: LaunchObservation,
    seen: Arc<Seen>,
}

struct Seen {
    is_timed: bool,
    launched: Mutex<Vec<Launched>>,
}

impl LaunchObserver for Seen {
    fn launched(&self, kernel: &'static str) {
        let (kernel, bytes) = match OURS.take() {
            Some((name, bytes)) => (name, Some(bytes)),
            None => (
                type_name_format(kernel, TypeNameFormatLevel::Balanced),
                None,
            ),
        };
        let mut launched = self.launched.lock().unwrap_or_else(PoisonError::into_inner);
        launched.push(Launched {
            kernel,
            bytes,
            seconds: None,
        });
    }

    fn timing(&self) -> TimingRequest {
        match self.is_timed {
            true => TimingRequest::Resolved,
            false => TimingRequest::None,
        }
    }

    fn timed(&self, _: &'static str, duration: Duration, _: TimingMethod) {
        let mut launched = self.launched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = launched.last_mut() {
            last.seconds = Some(duration.as_secs_f64());
        }
    }
}

impl Watch {
    /// Begins to watch. Where launches are timed, each waits for the one before it to be over.
    pub fn begin(is_timed: bool) -> Self {
        let seen = Arc::new(Seen {
            is_timed,
            launched: Mutex::default(),
        });
        WATCHING.fetch_add(1, Ordering::Relaxed);
        let observer: Arc<dyn LaunchObserver> = Arc::clone(&seen) as _;
        Self {
            observation: LaunchObservation::new(observer),
            seen,
        }
    }

    /// What was launched meanwhile, in order.
    pub fn end(self) -> Vec<Launched> {
        drop(self.observation);
        WATCHING.fetch_sub(1, Ordering::Relaxed);
        let mut launched = self
            .seen
            .launched
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *launched)
    }
}

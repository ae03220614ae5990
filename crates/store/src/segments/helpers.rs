//! Threads that help a lookup to decode: as many as there are cores beside its own, for all lookups
//! together, so that many at once do not wait for each other's help.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tracelake_format::segment::{Decoding, OpenSegment};

/// Columns below which waking a thread costs more than its help brings: some fifty microseconds against ten a column.
const COLUMNS_MIN: usize = 16;

/// Who may help.
#[derive(Debug, Clone)]
pub(super) struct Helpers {
    idle: Arc<Semaphore>,
}

impl Helpers {
    pub(super) fn new(helpers_max: usize) -> Self {
        Self { idle: Arc::new(Semaphore::new(helpers_max)) }
    }

    /// Has an idle thread do a part of it, if there is one. Nobody need wait for it: what it has not begun, whoever
    /// finishes does.
    pub(super) fn help(&self, decoding: &Arc<Decoding<Arc<OpenSegment>>>) {
        if decoding.shared_columns() < COLUMNS_MIN {
            return;
        }
        let Ok(permit) = Arc::clone(&self.idle).try_acquire_owned() else { return };
        let decoding = Arc::clone(decoding);
        tokio::task::spawn_blocking(move || {
            decoding.work();
            drop(permit);
        });
    }
}

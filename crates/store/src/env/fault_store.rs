//! An object store that fails as told, in front of a real one: for tests of everything that must
//! survive a store that errs, loses answers, or hangs.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::local_store::sync_failure;

/// What is being done to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An object is put, or an upload in parts begins.
    Put,
    /// An object, a part of it or its description is read.
    Get,
    /// Objects are listed.
    List,
    /// An object is deleted.
    Delete,
    /// An object is copied or renamed.
    Copy,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error; nothing was done.
    Before,
    /// It is done; the answer is an error.
    AnswerLost,
    /// It is done; there is never an answer.
    Hang,
    /// "503 Slow Down"; nothing was done.
    Busy,
    /// The disk is full; nothing was done.
    DiskFull,
    /// It is done, but its folder could not be synced.
    SyncFailed,
    /// Nothing was done, as a folder could not be synced before.
    SyncRefused,
    /// It is done and answered, later.
    Delay(Duration),
}

/// One call: what is done, to which object, and how many calls came before it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What is done.
    pub operation: Operation,
    /// To what; for a listing, the prefix.
    pub path: &'a Path,
    /// Calls of any kind before this one.
    pub number: u64,
}

type Plan = Box<dyn FnMut(Call<'_>) -> Option<Fault> + Send>;

/// How often each fault strikes, of 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// Of [`Fault::Before`].
    pub before: f64,
    /// Of [`Fault::AnswerLost`].
    pub answer_lost: f64,
    /// Of [`Fault::Hang`].
    pub hang: f64,
    /// Of [`Fault::Busy`].
    pub busy: f64,
}

/// A store with faults.
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    plan: Mutex<Plan>,
    calls: AtomicU64,
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

impl FaultStore {
    /// Asks `plan` about every call.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        plan: impl FnMut(Call<'_>) -> Option<Fault> + Send + 'static,
    ) -> Self {
        Self { inner, plan: Mutex::new(Box::new(plan)), calls: AtomicU64::new(0) }
    }

    /// No faults, until [`Self::set_plan`].
    pub fn calm(inner: Arc<dyn ObjectStore>) -> Self {
        Self::new(inner, |_| None)
    }

    /// Faults by chance; the same seed gives the same ones for the same calls.
    pub fn seeded(inner: Arc<dyn ObjectStore>, seed: u64, odds: Odds) -> Self {
        Self::new(inner, by_chance(seed, odds))
    }

    /// These faults for the calls of one operation, in order; then none.
    pub fn scripted(
        inner: Arc<dyn ObjectStore>,
        operation: Operation,
        faults: impl IntoIterator<Item = Option<Fault>>,
    ) -> Self {
        let mut faults: VecDeque<_> = faults.into_iter().collect();
        Self::new(
            inner,
            move |call| {
                if call.operation == operation { faults.pop_front().flatten() } else { None }
            },
        )
    }

    /// One fault, at call number `k`, counted from 0.
    pub fn kth(inner: Arc<dyn ObjectStore>, k: u64, fault: Fault) -> Self {
        Self::new(inner, move |call| (call.number == k).then_some(fault))
    }

    /// Another plan from here on.
    pub fn set_plan(&self, plan: impl FnMut(Call<'_>) -> Option<Fault> + Send + 'static) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(plan);
    }

    /// Faults by chance from here on.
    pub fn set_odds(&self, seed: u64, odds: Odds) {
        self.set_plan(by_chance(seed, odds));
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn fault(&self, operation: Operation, path: &Path) -> Option<Fault> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan(Call { operation, path, number })
    }

    async fn strike<T>(
        &self,
        operation: Operation,
        path: &Path,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self.fault(operation, path) {
            None => call.await,
            Some(Fault::Before) => Err(failed("the connection was refused")),
            Some(Fault::Busy) => Err(failed("503 Slow Down")),
            Some(Fault::DiskFull) => {
                let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                Err(Error::Generic { store: "FaultStore", source: Box::new(full) })
            }
            Some(Fault::SyncFailed) => {
                drop(call.await);
                Err(sync_failure(false))
            }
            Some(Fault::SyncRefused) => Err(sync_failure(true)),
            Some(Fault::AnswerLost) => {
                // Its own error would be an answer.
                drop(call.await);
                Err(failed("the connection was reset"))
            }
            Some(Fault::Hang) => {
                drop(call.await);
                std::future::pending().await
            }
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                call.await
            }
        }
    }
}

fn by_chance(seed: u64, odds: Odds) -> impl FnMut(Call<'_>) -> Option<Fault> + Send + 'static {
    let mut rng = StdRng::seed_from_u64(seed);
    move |_| {
        let faults = [
            (odds.before, Fault::Before),
            (odds.answer_lost, Fault::AnswerLost),
            (odds.hang, Fault::Hang),
            (odds.busy, Fault::Busy),
        ];
        let mut drawn: f64 = rng.random();
        faults.into_iter().find_map(|(odds, fault)| {
            drawn -= odds;
            (drawn < 0.0).then_some(fault)
        })
    }
}

fn failed(what: &'static str) -> Error {
    Error::Generic { store: "FaultStore", source: what.into() }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.strike(Operation::Put, location, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.strike(Operation::Put, location, self.inner.put_multipart_opts(location, opts)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.strike(Operation::Get, location, self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.strike(Operation::Get, location, self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // The stream outlives the borrow of self, so what goes wrong is decided for all of it now.
        match self.fault(Operation::Delete, &Path::default()) {
            None => self.inner.delete_stream(locations),
            Some(Fault::Before | Fault::Busy | Fault::DiskFull | Fault::SyncFailed | Fault::SyncRefused) => {
                stream::once(async { Err(failed("nothing was deleted")) }).boxed()
            }
            Some(Fault::AnswerLost) => {
                self.inner.delete_stream(locations).map(|_| Err(failed("the connection was reset"))).boxed()
            }
            Some(Fault::Hang) => self
                .inner
                .delete_stream(locations)
                .chain(stream::pending())
                .filter(|_| async { false })
                .boxed(),
            Some(Fault::Delay(delay)) => self
                .inner
                .delete_stream(locations)
                .then(move |deleted| async move {
                    tokio::time::sleep(delay).await;
                    deleted
                })
                .boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fault(Operation::List, prefix.unwrap_or(&Path::default())) {
            None => self.inner.list(prefix),
            Some(Fault::Hang) => stream::pending().boxed(),
            Some(Fault::Delay(delay)) => {
                let sleep = stream::once(tokio::time::sleep(delay)).filter_map(|()| async { None });
                sleep.chain(self.inner.list(prefix)).boxed()
            }
            // A listing may break off after it has begun.
            Some(_) => self
                .inner
                .list(prefix)
                .take(1)
                .chain(stream::once(async { Err(failed("the connection was reset")) }))
                .boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.strike(Operation::List, &path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.strike(Operation::Copy, to, self.inner.copy_opts(from, to, options)).await
    }
}

/// The paths of every object, sorted: what a test looks at afterwards.
///
/// # Errors
/// Of the store.
pub async fn paths(store: &dyn ObjectStore) -> Result<Vec<String>> {
    let mut objects = store.list(None);
    let mut paths = Vec::new();
    while let Some(object) = objects.next().await {
        paths.push(object?.location.to_string());
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The bytes of an object.
///
/// # Errors
/// Of the store.
pub async fn read(store: &dyn ObjectStore, path: &str) -> Result<Bytes> {
    store.get(&Path::from(path)).await?.bytes().await
}

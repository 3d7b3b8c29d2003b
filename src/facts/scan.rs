//! A scan: a stream of all objects below a location with their encryption, as fast as S3 allows and
//! in constant memory.
//!
//! The keys are cut into splits. A split is a range of keys; together the splits cover all possible
//! keys. Several splits are listed at once. Each page of a list becomes one `Batch`, which is
//! passed on after all of its objects were read. So a consumer's counts and `Batch::reached` always
//! match, and a scan can be interrupted anywhere and continued from there.

mod listing;
mod order;
pub(crate) mod pace;
pub(crate) mod pages;
pub(crate) mod scope;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{Stream, StreamExt as _, future::join_all, stream};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    base::lookup::Lookup,
    facts::{
        heads::Heads,
        scan::{
            pace::{ConcurrencyLimit, ScanPace},
            pages::{Page, Pages},
            scope::{Batch, Object, ScanScope, Split, SplitProgress},
        },
        stored::StoredEncryption,
    },
};

/// How many splits are listed at once.
const LISTS_AT_ONCE: usize = 8;
/// How many pages of one split are in progress at once: the objects of one are read while the next
/// is listed.
const PAGES_AT_ONCE: usize = 2;
/// How many finished pages wait for the consumer.
const PAGES_WAITING: usize = 4;

/// A running scan. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Scan {
    batches: mpsc::Receiver<Batch>,
    _tasks: Vec<Task>,
}

impl Scan {
    /// Starts scanning `splits` of `scope`. `crew` limits how many objects are read at once, in all
    /// scans that share it.
    pub(crate) fn start(
        s3: &aws_sdk_s3::Client,
        scope: &ScanScope,
        splits: Vec<Split>,
        crew: &Arc<ConcurrencyLimit>,
    ) -> Self {
        let (sender, batches) = mpsc::channel(PAGES_WAITING);
        let queue: VecDeque<(usize, Split)> = splits.into_iter().enumerate().collect();
        let tasks = queue.len().min(LISTS_AT_ONCE);
        let queue = Arc::new(Mutex::new(queue));
        let heads = Arc::new(Heads::new(s3.clone(), scope.location.bucket.clone(), false));
        let tasks = (0..tasks).map(|_| {
            let (queue, crew, sender) = (Arc::clone(&queue), Arc::clone(crew), sender.clone());
            let lister =
                Lister { s3: s3.clone(), scope: scope.clone(), heads: Arc::clone(&heads), sender };
            Task(tokio::spawn(async move {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((index, split)) = next else { break };
                    // The consumer is gone, so the rest is not needed.
                    if lister.run(index, split, &crew).await.is_none() {
                        break;
                    }
                }
            }))
        });
        Self { _tasks: tasks.collect(), batches }
    }

    /// The next batch; none after all splits have ended.
    pub(crate) async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }
}

/// A task that ends when it is dropped.
#[derive(Debug)]
struct Task<T = ()>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lists the splits of one scope, one after the other.
struct Lister {
    s3: aws_sdk_s3::Client,
    scope: ScanScope,
    heads: Arc<Heads>,
    sender: mpsc::Sender<Batch>,
}

impl Lister {
    /// Lists a split to its end; none if the consumer is gone.
    async fn run(&self, index: usize, split: Split, crew: &Arc<ConcurrencyLimit>) -> Option<()> {
        let pace = Arc::new(ScanPace::new(Arc::clone(crew)));
        // The next page is listed while the objects of the previous one are read.
        let pages = pages(&self.s3, &self.scope, &self.heads, split)
            .map(|page| ask(index, page, &self.scope, &self.heads, &pace));
        let mut batches = std::pin::pin!(pages.buffered(PAGES_AT_ONCE));
        while let Some(batch) = batches.next().await {
            self.sender.send(batch).await.ok()?;
        }
        Some(())
    }
}

/// The pages of one split, up to the one that ends it.
fn pages<'a>(
    s3: &'a aws_sdk_s3::Client,
    scope: &'a ScanScope,
    heads: &'a Heads,
    split: Split,
) -> impl Stream<Item = Page> + use<'a> {
    stream::unfold(Some(Pages::new(s3, scope, heads, split)), async |pages| {
        let mut pages = pages?;
        let page = pages.next().await;
        let goes_on = matches!(page.reached, SplitProgress::Position(_));
        Some((page, goes_on.then_some(pages)))
    })
}

/// Reads all objects in `scope`. `listed` gets every listed object, `asked` every object after its
/// HEAD request.
pub(crate) async fn whole(
    s3: &aws_sdk_s3::Client,
    scope: &ScanScope,
    crew: &Arc<ConcurrencyLimit>,
    mut listed: impl FnMut(&Object),
    mut asked: impl FnMut(Object),
) -> Lookup<()> {
    let heads = Arc::new(Heads::new(s3.clone(), scope.location.bucket.clone(), true));
    let pace = Arc::new(ScanPace::new(Arc::clone(crew)));
    let pages = pages(s3, scope, &heads, Split::default()).map(|page| {
        page.objects.iter().for_each(&mut listed);
        ask(0, page, scope, &heads, &pace)
    });
    let mut batches = std::pin::pin!(pages.buffered(PAGES_AT_ONCE));
    while let Some(batch) = batches.next().await {
        batch.objects.into_iter().filter(|object| scope.asks(object)).for_each(&mut asked);
        if let SplitProgress::Stopped(why) = batch.reached {
            return why;
        }
    }
    Lookup::Found(())
}

/// Reads at most `limit` objects in `scopes`, an even sample if there are more. `listed` gets every
/// listed object.
pub(crate) async fn sample(
    s3: &aws_sdk_s3::Client,
    scopes: &[ScanScope],
    limit: usize,
    crew: &Arc<ConcurrencyLimit>,
    mut listed: impl FnMut(&Object),
) -> (Vec<Object>, Lookup<()>) {
    let mut chosen = EvenSample::new(limit);
    let mut sampled = Vec::new();
    let mut end = Lookup::Found(());
    let heads: Vec<Arc<Heads>> = scopes
        .iter()
        .map(|scope| Arc::new(Heads::new(s3.clone(), scope.location.bucket.clone(), true)))
        .collect();
    'scopes: for (index, scope) in scopes.iter().enumerate() {
        let mut pages = std::pin::pin!(pages(s3, scope, &heads[index], Split::default()));
        while let Some(page) = pages.next().await {
            for object in page.objects {
                listed(&object);
                if scope.asks(&object) {
                    chosen.take((index, object));
                }
            }
            if let SplitProgress::Stopped(why) = page.reached {
                end = why;
                break 'scopes;
            }
        }
    }
    let mut objects: Vec<Vec<Object>> = scopes.iter().map(|_| Vec::new()).collect();
    for (index, object) in chosen.kept {
        objects[index].push(object);
    }
    for (index, objects) in objects.into_iter().enumerate() {
        let pace = Arc::new(ScanPace::new(Arc::clone(crew)));
        let chosen = Page { objects, reached: SplitProgress::End };
        sampled.extend(ask(index, chosen, &scopes[index], &heads[index], &pace).await.objects);
    }
    (sampled, end)
}

/// Reads all objects of a page that are not empty.
fn ask(
    split: usize,
    listed: Page,
    scope: &ScanScope,
    heads: &Arc<Heads>,
    pace: &Arc<ScanPace>,
) -> impl Future<Output = Batch> + use<> {
    let Page { objects, reached } = listed;
    let asked: Vec<usize> = objects
        .iter()
        .enumerate()
        .filter(|(_, object)| scope.asks(object))
        .map(|(index, _)| index)
        .collect();
    let work = Arc::new(PageWork { objects, asked, next: AtomicUsize::new(0) });
    // The tasks are started here, so that the page progresses even if nothing awaits it yet.
    let lanes: Vec<Task<Answers>> = (0..pace.ceiling().min(work.asked.len()))
        .map(|_| Task(tokio::spawn(lane(Arc::clone(&work), Arc::clone(heads), Arc::clone(pace)))))
        .collect();
    async move {
        let answers = join_all(lanes.into_iter().map(async |mut lane| (&mut lane.0).await)).await;
        // The tasks have ended and dropped their references.
        let mut objects =
            Arc::try_unwrap(work).map_or_else(|work| work.objects.clone(), |work| work.objects);
        for answers in answers {
            match answers {
                Ok(answers) => {
                    answers.into_iter().for_each(|(index, stored)| objects[index].stored = stored);
                }
                // Continue the panic in the consumer.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
        Batch { split, objects, reached }
    }
}

/// The results for the objects at these positions of a page.
type Answers = Vec<(usize, Lookup<StoredEncryption>)>;

/// A page, and which of its objects to read.
struct PageWork {
    objects: Vec<Object>,
    /// The positions of these objects.
    asked: Vec<usize>,
    /// How many of them have been started.
    next: AtomicUsize,
}

/// Reads one object after the other, until none is left on the page.
async fn lane(work: Arc<PageWork>, heads: Arc<Heads>, pace: Arc<ScanPace>) -> Answers {
    let mut answers = Vec::with_capacity(work.asked.len() / 8);
    let mut turn = pace.enter().await;
    let mut line = heads.line();
    while let Some(index) = work.asked.get(work.next.fetch_add(1, Ordering::Relaxed)) {
        turn.keep_pace().await;
        let object = &work.objects[*index];
        let stored =
            heads.head(&mut line, &object.key, object.version_id.as_deref(), &mut turn).await;
        answers.push((*index, stored));
    }
    if !line.settle().await {
        // One of the answers may belong to another request.
        for (index, stored) in &mut answers {
            let object = &work.objects[*index];
            let version = object.version_id.as_deref();
            *stored = heads.head(&mut line, &object.key, version, &mut turn).await;
        }
    }
    drop(line);
    drop(turn);
    answers
}

/// An even sample of a sequence of unknown length: at most `limit` items, and all items if there
/// are no more.
///
/// Every `stride`-th item is kept. When the sample is full, every second item is dropped and the
/// stride doubles.
#[derive(Debug)]
struct EvenSample<T> {
    limit: usize,
    stride: u64,
    seen: u64,
    kept: Vec<T>,
}

impl<T> EvenSample<T> {
    fn new(limit: usize) -> Self {
        Self { limit, stride: 1, seen: 0, kept: Vec::new() }
    }

    fn take(&mut self, item: T) {
        let position = self.seen;
        self.seen += 1;
        if !position.is_multiple_of(self.stride) {
            return;
        }
        if self.kept.len() == self.limit {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
            if !position.is_multiple_of(self.stride) || self.kept.len() == self.limit {
                return;
            }
        }
        self.kept.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(items: u64, limit: usize) -> Vec<u64> {
        let mut sample = EvenSample::new(limit);
        (0..items).for_each(|item| sample.take(item));
        sample.kept
    }

    proptest! {
        #[test]
        fn a_sample_is_everything_up_to_the_limit_and_even_beyond_it(items in 0_u64..5000, limit in 1_usize..200) {
            let kept = sample(items, limit);
            let room = u64::try_from(limit).unwrap();
            if items <= room {
                prop_assert_eq!(kept, (0..items).collect::<Vec<_>>());
            } else {
                prop_assert!(kept.len() <= limit && kept.len() * 2 >= limit, "{} of \
                    {limit}", kept.len());
                let stride = kept.get(1).map_or(items, |second| second - kept[0]);
                prop_assert!(kept.windows(2).all(|pair| pair[1] - pair[0] == stride));
                prop_assert!(kept[0] == 0 && items - kept[kept.len() - 1] <= 2 * stride, "it \
                    reaches to the end: {kept:?} of {items}");
            }
        }
    }
}

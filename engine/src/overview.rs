//! Following a list of executions: one task reads what commits have changed, once for all who follow, and keeps the
//! newest state of each execution in the order in which they changed. Who follows walks along that order.
//!
//! A position in it is what a reader comes back with. What is before the positions that are kept, or of another opening
//! of the workspace, is answered by [`ListNews::Reset`]: the list is to be loaded anew, after that and not before, and
//! whatever is committed later is told. Of the states between two looks only the last is told. While nobody follows,
//! nothing is kept, and a commit pays for this what it takes to note a number.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::core::Core;
use crate::grant::Grant;
use crate::query::{Field, FieldType, Filter, Kind};
use crate::store::executions::{self, Key};
use crate::store::{StoreError, StoreResult};

/// How long after a look at what has changed the next one is.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// For how long what has changed is kept although nobody follows: somebody whose connection broke comes back.
const LINGER: Duration = Duration::from_secs(60);

/// Rows that are read at a time.
const PAGE: usize = 100;

/// What is kept, bytes, and what an entry takes beside the text of its row.
const KEPT_BYTES_MAX: usize = 32 << 20;
const ENTRY_BYTES: usize = 2048;

/// A longer row is not kept, but read by each who is told of it.
const ROW_BYTES_MAX: usize = 64 << 10;

/// Entries that one look of a reader passes over at most.
const LOOK_MAX: usize = 1000;

/// Fields of an execution that stay what they were.
const LASTING: [&str; 12] = [
    "id",
    "type",
    "name",
    "flow_id",
    "version",
    "orphan",
    "schedule_id",
    "webhook_id",
    "created_at",
    "created_by",
    "priority",
    "input",
];

/// What a reader of a list is told.
#[derive(Clone, Debug, PartialEq)]
pub enum ListNews {
    /// What was told so far may be wrong: load the list, now.
    Reset,
    /// An execution is in the list, and this is its row, as JSON.
    Row(Arc<str>),
    /// An execution is not in the list: it is in the trash or deleted, or the filter does not match it any more. Its
    /// id; the reader may never have heard of it.
    Gone(Arc<str>),
    /// Much has happened that does not concern this list.
    Passed,
}

/// What has changed, for all who follow.
#[derive(Default)]
pub(crate) struct Overview {
    state: RwLock<State>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Tells the positions of this opening of the workspace from those of others. Empty until somebody follows.
    name: String,
    is_running: bool,
    readers: usize,
    newest: u64,
    /// Who has come to a position before this one has missed something.
    floor: u64,
    entries: BTreeMap<u64, Arc<Entry>>,
    positions: HashMap<Key, u64>,
    bytes: usize,
}

/// The newest state of an execution.
struct Entry {
    key: Key,
    id: Arc<str>,
    projects: Vec<Option<String>>,
    /// What filters compare: documents are only there, or not.
    row: Value,
    /// None where it is too long to be kept.
    text: Option<Arc<str>>,
}

impl Entry {
    fn new(core: &Core, key: Key, row: Value, projects: Vec<Option<String>>) -> Self {
        let mut row = core.present_execution(row);
        let text = row.to_string();
        let text = (text.len() <= ROW_BYTES_MAX).then(|| text.into());
        for field in Kind::Execution.fields().filter(|field| field.ty == FieldType::Json) {
            if !row[field.name].is_null() {
                row[field.name] = true.into();
            }
        }
        Self { key, id: row["id"].as_str().unwrap_or_default().into(), projects, row, text }
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.text.as_ref().map_or(0, |text| text.len())
    }

    fn is_gone(&self) -> bool {
        self.row["deleted_at"].is_string()
    }

    /// Whether there is nothing to tell after that one. What goes out of the trash touches its rows once more.
    fn is_as(&self, before: &Self) -> bool {
        let is_same = self.text.is_some() && (&self.text, &self.projects) == (&before.text, &before.projects);
        self.is_gone() == before.is_gone() && (is_same || self.is_gone())
    }
}

impl State {
    fn put(&mut self, entry: Entry) {
        if let Some(position) = self.positions.get(&entry.key) {
            if self.entries.get(position).is_some_and(|before| entry.is_as(before)) {
                return;
            }
            self.bytes -= self.entries.remove(position).map_or(0, |before| before.bytes());
        }
        self.newest += 1;
        self.bytes += entry.bytes();
        self.positions.insert(entry.key, self.newest);
        self.entries.insert(self.newest, Arc::new(entry));
        while self.bytes > KEPT_BYTES_MAX
            && let Some((position, oldest)) = self.entries.pop_first()
        {
            self.floor = position;
            self.bytes -= oldest.bytes();
            self.positions.remove(&oldest.key);
        }
    }

    /// What has changed from now on is kept; of before nothing is known.
    fn begin_anew(&mut self) {
        self.newest += 1;
        self.floor = self.newest;
        self.entries.clear();
        self.positions.clear();
        self.bytes = 0;
    }
}

impl Overview {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of an execution that is deleted for good: by the next look there may be nothing left to read. Before that
    /// its row is to be read, by [`entry`].
    pub(crate) fn is_gone(&self, entry: Option<EntryOfGone>) {
        if let Some(EntryOfGone(mut entry)) = entry {
            entry.row["deleted_at"] = "deleted".into();
            self.write().put(entry);
            self.tell();
        }
    }

    /// Wakes all who follow, if there is something new.
    fn tell(&self) {
        let newest = self.read().newest;
        self.newest.send_if_modified(|told| std::mem::replace(told, newest) != newest);
    }
}

/// An execution that is about to be deleted.
pub(crate) struct EntryOfGone(Entry);

impl EntryOfGone {
    /// None where nobody follows, or nothing is there.
    pub(crate) fn read(core: &Core, connection: &rusqlite::Connection, id: &str) -> StoreResult<Option<Self>> {
        if !core.overview.read().is_running {
            return Ok(None);
        }
        let Some(key) = executions::key_of(connection, id)? else { return Ok(None) };
        let found = executions::get_with_projects(connection, key)?;
        Ok(found.map(|(row, projects)| Self(Entry::new(core, key, row, projects))))
    }
}

/// Follows one list.
pub struct ListWatch {
    core: Arc<Core>,
    filter: Option<Filter>,
    /// How far it has come; none before the list was loaded.
    position: Option<u64>,
    /// How far the reader knows to have come.
    told: u64,
    newest: watch::Receiver<u64>,
}

impl ListWatch {
    /// Begins to follow, behind the position that `from` names or with a reset.
    pub(crate) fn new(core: &Arc<Core>, filter: Option<Filter>, from: Option<&ListPlace>) -> Self {
        let mut state = core.overview.write();
        state.readers += 1;
        if !state.is_running {
            state.is_running = true;
            if state.name.is_empty() {
                state.name = core.new_id();
            }
            state.begin_anew();
            core.writer.executions_touched().want(true);
            core.tasks.spawn(run(core.clone()));
        }
        let from = from.filter(|from| from.opening == state.name && from.position <= state.newest);
        let position = from.map(|from| from.position);
        let newest = core.overview.newest.subscribe();
        Self { core: core.clone(), filter, position, told: position.unwrap_or_default(), newest }
    }

    /// Returns when something has changed since the last return.
    pub async fn rung(&mut self) {
        // The sender is there as long as the engine is.
        let _ = self.newest.changed().await;
    }

    /// Lets the next news be a reset: what is in reach has changed.
    pub fn reset(&mut self) {
        self.position = None;
    }

    /// The next news that `grant` may hear, with the place behind it. None when there is none.
    pub(crate) fn next(&mut self, grant: &Grant) -> Option<(ListPlace, News)> {
        // Before the look: what comes during it rings again.
        self.newest.mark_unchanged();
        let core = self.core.clone();
        let state = core.overview.read();
        let Some(mut position) = self.position.filter(|position| *position >= state.floor) else {
            return Some(self.came_to(state.newest, &state.name, News::Plain(ListNews::Reset)));
        };
        for (at, entry) in state.entries.range(position + 1..).take(LOOK_MAX) {
            position = *at;
            if let Some(news) = grant.reaches(&entry.projects).then(|| self.news_of(entry)).flatten() {
                return Some(self.came_to(position, &state.name, news));
            }
        }
        let has_passed_much = position - self.told >= LOOK_MAX as u64;
        self.position = Some(position);
        has_passed_much.then(|| self.came_to(position, &state.name, News::Plain(ListNews::Passed)))
    }

    fn news_of(&self, entry: &Entry) -> Option<News> {
        let filter = self.filter.as_ref();
        if !entry.is_gone() && filter.is_none_or(|filter| filter.matches(&entry.row)) {
            return Some(match &entry.text {
                Some(text) => News::Plain(ListNews::Row(text.clone())),
                None => News::Long(entry.id.clone()),
            });
        }
        let lasts = |field: &Field| LASTING.contains(&field.name);
        let concerns = filter.is_none_or(|filter| filter.may_match(&entry.row, &lasts));
        concerns.then(|| News::Plain(ListNews::Gone(entry.id.clone())))
    }

    fn came_to(&mut self, position: u64, opening: &str, news: News) -> (ListPlace, News) {
        (self.position, self.told) = (Some(position), position);
        (ListPlace { opening: opening.to_owned(), position }, news)
    }
}

impl Drop for ListWatch {
    fn drop(&mut self) {
        self.core.overview.write().readers -= 1;
    }
}

/// News, or where to find it.
pub(crate) enum News {
    Plain(ListNews),
    /// The row of that execution.
    Long(Arc<str>),
}

/// How far a reader of a list has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPlace {
    opening: String,
    position: u64,
}

impl std::fmt::Display for ListPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.opening, self.position)
    }
}

impl std::str::FromStr for ListPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (opening, position) = text.split_once('.').ok_or(())?;
        let is_id = !opening.is_empty() && opening.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        match position.parse() {
            Ok(position) if is_id => Ok(Self { opening: opening.to_owned(), position }),
            _ => Err(()),
        }
    }
}

/// The body of the one task, while somebody follows.
async fn run(core: Arc<Core>) {
    let mut followed_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = core.writer.executions_touched().rung() => {}
            () = tokio::time::sleep(LINGER) => {}
        }
        if let Err(error) = look(&core).await {
            tracing::debug!(%error, "what has changed could not be read; it is tried again");
        }
        core.overview.tell();
        if core.overview.read().readers > 0 {
            followed_at = Instant::now();
        } else if followed_at.elapsed() >= LINGER && stop(&core) {
            return;
        }
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Stops keeping anything, unless somebody has come meanwhile.
fn stop(core: &Core) -> bool {
    let mut state = core.overview.write();
    if state.readers > 0 {
        return false;
    }
    state.is_running = false;
    state.begin_anew();
    core.writer.executions_touched().want(false);
    true
}

/// Reads all that commits have changed since the last look.
async fn look(core: &Arc<Core>) -> StoreResult<()> {
    let touched = core.writer.executions_touched();
    loop {
        let keys = touched.take(PAGE);
        if keys.is_empty() {
            return Ok(());
        }
        let (reading, wanted) = (core.clone(), keys.clone());
        let read = move || {
            reading.readers.read_many(|connection| {
                let entry = |key: &Key| {
                    let found = executions::get_with_projects(connection, *key)?;
                    Ok(found.map(|(row, projects)| Entry::new(&reading, *key, row, projects)))
                };
                wanted.iter().map(entry).collect::<StoreResult<Vec<_>>>()
            })
        };
        match tokio::task::spawn_blocking(read).await.map_err(|error| StoreError::Failed(error.to_string())) {
            Ok(Ok(entries)) => {
                let mut state = core.overview.write();
                entries.into_iter().flatten().for_each(|entry| state.put(entry));
            }
            Ok(Err(error)) | Err(error) => {
                touched.put_back(keys);
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! `ps`: every container as it is at this moment.
//!
//! A process that lists them again and again keeps the views that it has made, and shows one again while all that
//! it was made of is as it was. The database says whether anything in it has changed; what lives is looked at each
//! time, by locks and files that stay open ([`Watch`]). So a list is as true as a first one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use model::{ContainerId, Life};
use rustix::process::{Resource, getrlimit};
use shim::{Liveness, Watch};
use store::{ContainerRow, Stamp};

use crate::container::Container;
use crate::inspect::{Lives, Names, timestamp};
use crate::record::{Begun, Progress};
use crate::view::{ContainerView, ListQuery, Listed, UnreadView};
use crate::{Engine, EngineError};

/// How long the records may be, all together, whose views are kept: a view is about as long as its record, which is some
/// kilobytes.
const MOST_BYTES: usize = 4 << 20;
/// So many rows are asked for one by one before all are read at once.
const FEW_ROWS: usize = 32;
/// Of how many containers the files stay open: two to four each.
const MOST_WATCHED: usize = 256;
/// Of so many files that this process may have open, those of one container may stay so.
const FILES_FOR_ONE: u64 = 16;

/// What the last list has found.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    seen: Mutex<Seen>,
    /// Held by the one list at a time that may leave files open: those that run beside it close theirs, so that the
    /// number of files is not theirs as well.
    watching: Mutex<()>,
}

#[derive(Debug, Default)]
enum Seen {
    #[default]
    Nothing,
    /// Who lists once, as a command does, keeps nothing.
    Once,
    List(Arc<Kept>),
}

/// The containers of a moment of the database, the newest first.
#[derive(Debug)]
struct Kept {
    stamp: Stamp,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: ContainerId,
    known: Mutex<Known>,
}

/// What is known of a container.
#[derive(Debug, Default)]
struct Known {
    watch: Option<Box<Watch>>,
    read: Read,
}

/// What was made of its row.
#[derive(Debug, Default)]
enum Read {
    /// It is not at hand: it was not needed, or is not the one that the view was made of any more.
    #[default]
    Not,
    /// Nothing yet.
    Row(Box<ContainerRow>),
    /// It is not to be shown.
    Creating,
    View(Box<Made>),
}

/// A view, and what the life that it shows began with.
#[derive(Debug)]
struct Made {
    view: Arc<ContainerView>,
    begun: Option<Begun>,
    /// The length of the record that it was made of.
    bytes: usize,
}

/// The containers of a list.
struct Found {
    kept: Arc<Kept>,
    fate: Fate,
}

/// What becomes of them when they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They are forgotten: this process has never listed before.
    Dropped,
    /// They take the place of what was kept.
    New,
    /// They are what is kept.
    Known,
}

/// How much a list may leave behind.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Of how many containers the files stay open.
    watched: usize,
    /// How long the records are of which the views are kept.
    bytes: usize,
}

/// Rows that are not at hand.
#[derive(Debug, Default)]
struct Rows {
    /// How many were asked for one by one.
    asked: usize,
    all: Option<BTreeMap<ContainerId, ContainerRow>>,
}

impl Engine {
    /// Shows containers to `visit`, newest first, until it breaks off. A view that is as in the list before is the
    /// same [`Arc`].
    ///
    /// # Errors
    /// The database; whatever `visit` says. A container that cannot be read keeps no other from being shown.
    pub fn list(
        &self,
        query: ListQuery,
        visit: impl FnMut(Listed) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        let limits = Limits { watched: most_watched(), bytes: MOST_BYTES };
        self.list_within(limits, query, visit).map(drop)
    }

    /// The same with its limits; returns what had to be read.
    fn list_within(
        &self,
        limits: Limits,
        query: ListQuery,
        mut visit: impl FnMut(Listed) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<Rows, EngineError> {
        let token = self.lists().watching();
        let Found { kept, fate } = self.lists().find(self, token.is_some())?;
        let is_alone = token.is_some();
        let Limits { watched, mut bytes } =
            if fate == Fate::Dropped { Limits { watched: 0, bytes: 0 } } else { limits };
        let mut lookup = Lookup::default();
        for (index, entry) in kept.entries.iter().enumerate() {
            let mut known = entry.known();
            // What another list has opened stays open for that one.
            let keeps_watch = if is_alone { index < watched } else { known.watch.is_some() };
            let listed = self.look(&entry.id, &mut known, query, &mut lookup)?;
            if !keeps_watch {
                known.watch = None;
            }
            match bytes.checked_sub(known.read.bytes()) {
                Some(left) => bytes = left,
                None => known.read = Read::Not,
            }
            drop(known);
            if let Some(listed) = listed
                && visit(listed)?.is_break()
            {
                break;
            }
        }
        self.lists().keep(kept, fate);
        Ok(lookup.rows)
    }

    /// Forgets what the last list has found, and closes its files: nobody has listed for a while. The next list is
    /// as slow as a first one.
    pub fn forget_lists(&self) {
        let mut seen = self.lists().seen();
        if matches!(*seen, Seen::List(_)) {
            *seen = Seen::Once;
        }
    }

    /// A container as it is now, if it is to be shown.
    fn look(
        &self,
        id: &ContainerId,
        known: &mut Known,
        query: ListQuery,
        lookup: &mut Lookup,
    ) -> Result<Option<Listed>, EngineError> {
        let view = match self.look_whole(id, known, query, lookup) {
            // Another dhow's record or shim: the others are to be seen. That the kernel refuses something is no
            // matter of this container's, and it would look as if it were dead.
            Err(why @ (EngineError::Record { .. } | EngineError::Damaged { .. })) => {
                return self.look_unread(id, &why, query, lookup);
            }
            view => view?,
        };
        Ok(view.filter(|view| query == ListQuery::All || view.life.is_up()).map(Listed::Whole))
    }

    fn look_whole(
        &self,
        id: &ContainerId,
        known: &mut Known,
        query: ListQuery,
        lookup: &mut Lookup,
    ) -> Result<Option<Arc<ContainerView>>, EngineError> {
        let Known { watch, read } = known;
        let watch = watch.get_or_insert_with(|| Box::new(Watch::new(self.shim_paths(id))));
        let liveness = self.liveness_at(watch, id)?;
        // What stands still need not be read.
        if query == ListQuery::Running && liveness == Liveness::Free {
            return Ok(None);
        }
        let row = match std::mem::take(read) {
            Read::Creating => {
                *read = Read::Creating;
                return Ok(None);
            }
            Read::View(made) => {
                let (view, begun) = (&made.view, made.begun.as_ref());
                let checkup = view.resolved.health.as_ref();
                let lives = self.lives(begun, checkup, (id, watch), liveness)?;
                if (&view.life, &view.health) == (&lives.life, &lives.health) {
                    let view = view.clone();
                    *read = Read::View(made);
                    return Ok(Some(view));
                }
                None
            }
            Read::Row(row) => Some(*row),
            Read::Not => None,
        };
        let row = match row {
            None => lookup.rows.get(self, id)?,
            row => row,
        };
        // It may have been removed since.
        let Some(row) = row else { return Ok(None) };
        let bytes = row.record.len();
        let container = Container::read(row)?;
        if container.record.progress == Progress::Creating {
            *read = Read::Creating;
            return Ok(None);
        }
        let begun = container.record.begun();
        let checkup = container.record.resolved.health.as_ref();
        let lives = self.lives(begun.as_ref(), checkup, (id, watch), liveness)?;
        let view = Arc::new(self.view(container, lives, &mut lookup.names)?);
        *read = Read::View(Box::new(Made { view: view.clone(), begun, bytes }));
        Ok(Some(view))
    }

    /// What is known of a container all the same.
    fn look_unread(
        &self,
        id: &ContainerId,
        why: &EngineError,
        query: ListQuery,
        lookup: &mut Lookup,
    ) -> Result<Option<Listed>, EngineError> {
        let Some(row) = lookup.rows.get(self, id)? else { return Ok(None) };
        let life = self.life_unread(id)?;
        if query == ListQuery::Running && life.as_ref().is_some_and(|life| !life.is_up()) {
            return Ok(None);
        }
        let (name, created, image) = (row.name.clone(), timestamp(row.created_ns), row.image);
        let at_rest = match Container::read(row) {
            Ok(container) => {
                let lives = Lives { life: Life::NEW, health: None };
                Some(Arc::new(self.view(container, lives, &mut lookup.names)?))
            }
            Err(_) => None,
        };
        let why = why.to_string();
        Ok(Some(Listed::Unread(UnreadView { id: *id, name, created, image, life, at_rest, why })))
    }
}

impl Lists {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to leave files open, if no other list has it.
    fn watching(&self) -> Option<MutexGuard<'_, ()>> {
        match self.watching.try_lock() {
            Ok(token) => Some(token),
            Err(TryLockError::Poisoned(token)) => Some(token.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The containers as the database has them now, with what was open before for one that may keep it so.
    fn find(&self, engine: &Engine, may_watch: bool) -> Result<Found, EngineError> {
        let (last, fate) = match &*self.seen() {
            Seen::Nothing => (None, Fate::Dropped),
            Seen::Once => (None, Fate::New),
            Seen::List(kept) => (Some(kept.clone()), Fate::New),
        };
        let known = last.as_ref().map(|last| last.stamp);
        let (stamp, rows) = engine.store().containers().list_after(known)?;
        let (rows, kept) = match (rows, last) {
            (None, Some(kept)) => return Ok(Found { kept, fate: Fate::Known }),
            (rows, last) => (rows.unwrap_or_default(), last),
        };
        let watched = kept.filter(|_| may_watch);
        let mut watches = watched.map(|last| last.take_watches()).unwrap_or_default();
        let entry = |row: ContainerRow| {
            let (id, watch) = (row.id, watches.remove(&row.id));
            let known = Mutex::new(Known { watch, read: Read::Row(Box::new(row)) });
            Entry { id, known }
        };
        let entries = rows.into_iter().map(entry).collect();
        Ok(Found { kept: Arc::new(Kept { stamp, entries }), fate })
    }

    fn keep(&self, kept: Arc<Kept>, fate: Fate) {
        match fate {
            Fate::New => {}
            Fate::Known => return,
            Fate::Dropped => {
                *self.seen() = Seen::Once;
                return;
            }
        }
        // A list that was broken off has not come to all.
        for entry in &kept.entries {
            let mut known = entry.known();
            if matches!(known.read, Read::Row(_)) {
                known.read = Read::Not;
            }
        }
        let before = std::mem::replace(&mut *self.seen(), Seen::List(kept));
        // Whoever still lists those opens them again.
        if let Seen::List(before) = before {
            drop(before.take_watches());
        }
    }
}

/// What one list looks up once.
#[derive(Debug, Default)]
struct Lookup {
    names: Names,
    rows: Rows,
}

impl Rows {
    /// A container's row as it is now, or as it was a moment ago in this list.
    fn get(
        &mut self,
        engine: &Engine,
        id: &ContainerId,
    ) -> Result<Option<ContainerRow>, EngineError> {
        if let Some(all) = &mut self.all {
            return Ok(all.get(id).cloned());
        }
        if self.asked < FEW_ROWS {
            self.asked += 1;
            return Ok(engine.store().containers().get(id)?);
        }
        let rows = engine.store().containers().list()?;
        let all = self.all.insert(rows.into_iter().map(|row| (row.id, row)).collect());
        Ok(all.get(id).cloned())
    }
}

impl Read {
    /// How much is kept, in bytes of records.
    fn bytes(&self) -> usize {
        match self {
            Self::Not | Self::Creating => 0,
            Self::Row(row) => row.record.len(),
            Self::View(made) => made.bytes,
        }
    }
}

impl Kept {
    /// What stays open from one moment of the database to the next. Who still lists this one opens it again.
    fn take_watches(&self) -> BTreeMap<ContainerId, Box<Watch>> {
        let taken = |entry: &Entry| Some((entry.id, entry.known().watch.take()?));
        self.entries.iter().filter_map(taken).collect()
    }
}

impl Entry {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of how many containers the files may stay open.
fn most_watched() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files / FILES_FOR_ONE).unwrap_or(usize::MAX).min(MOST_WATCHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;

    use model::{ExitCode, ImageId};
    use shim::protocol::{ByHand, ExitRecord};
    use shim::{LifeLock, ShimPaths};
    use store::Durability;

    use crate::Paths;
    use crate::container::now;

    /// A record of a container with a published port, on the default bridge, that has been started.
    const RECORD: &str = include_str!("record/first.json");

    fn open(dir: &Path) -> Engine {
        Engine::open(Paths::new(dir.join("root"), dir.join("run"))).unwrap()
    }

    fn row(byte: u8, name: &str) -> ContainerRow {
        ContainerRow {
            id: ContainerId::from_random([byte; 32]),
            name: name.parse().unwrap(),
            image: None,
            created_ns: i64::from(byte),
            auto_remove: false,
            record: RECORD.to_owned(),
        }
    }

    fn all(engine: &Engine, query: ListQuery) -> Vec<Listed> {
        let mut all = Vec::new();
        let visit = |listed| {
            all.push(listed);
            Ok(ControlFlow::Continue(()))
        };
        engine.list(query, visit).unwrap();
        all
    }

    /// Two processes that have listed before, and whatever changes what they list.
    struct Scene {
        dir: tempfile::TempDir,
        ours: Engine,
        theirs: Engine,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (ours, theirs) = (open(dir.path()), open(dir.path()));
            let scene = Self { dir, ours, theirs };
            (0..3).for_each(|_| drop(scene.look()));
            scene
        }

        /// What both list, which is what a process does that has never listed.
        #[track_caller]
        fn look(&self) -> Vec<Listed> {
            self.look_for(ListQuery::Running);
            self.look_for(ListQuery::All)
        }

        #[track_caller]
        fn look_for(&self, query: ListQuery) -> Vec<Listed> {
            let list = all(&open(self.dir.path()), query);
            for engine in [&self.ours, &self.theirs, &self.ours] {
                assert_eq!(all(engine, query), list, "{query:?}");
            }
            list
        }

        fn views(&self) -> Vec<Arc<ContainerView>> {
            let whole = |listed| match listed {
                Listed::Whole(view) => view,
                Listed::Unread(view) => panic!("{view:?}"),
            };
            self.look().into_iter().map(whole).collect()
        }

        fn add(&self, engine: &Engine, row: &ContainerRow) -> ShimPaths {
            engine.store().containers().insert(row, Durability::Eventual).unwrap();
            engine.store().container_dir(&row.id).unwrap().unwrap();
            engine.shim_paths(&row.id)
        }
    }

    fn write(path: &Path, value: &impl serde::Serialize) {
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(value).unwrap()).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    #[test]
    fn a_list_is_as_true_as_a_first_one_whoever_changes_what() {
        let scene = Scene::new();
        let (ours, theirs) = (&scene.ours, &scene.theirs);
        for (engine, byte) in [(ours, 1), (theirs, 2), (theirs, 3), (ours, 4)] {
            scene.add(engine, &row(byte, &format!("c{byte}")));
            assert_eq!(scene.views().len(), usize::from(byte));
        }
        let names = || scene.views().iter().map(|view| view.name.to_string()).collect::<Vec<_>>();
        for (n, engine) in [ours, theirs, theirs, ours].into_iter().enumerate() {
            let name = format!("n{n}");
            engine.store().containers().rename(&row(2, "xx").id, &name.parse().unwrap()).unwrap();
            assert_eq!(names(), ["c4", "c3", &name, "c1"]);
        }
        for (engine, to) in [(theirs, "a"), (ours, "b"), (theirs, "c")] {
            let record = RECORD.replace(r#""x": "y""#, &format!(r#""x": "{to}""#));
            let set = engine.store().containers();
            set.set_record(&row(3, "xx").id, &record, Durability::Eventual).unwrap();
            assert_eq!(scene.views()[1].resolved.labels["x"], to);
        }
        // What its image is called is in another table.
        let id = scene.views()[0].image;
        assert_eq!(scene.views()[0].image_name, id.as_ref().map(ImageId::short).unwrap());
        theirs.store().remove_container(&row(3, "xx").id, &[], Durability::Eventual).unwrap();
        assert_eq!(names(), ["c4", "n3", "c1"]);
    }

    /// A process that another test has just cloned has the descriptor of a lock for a moment.
    fn until_free(paths: &ShimPaths) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while shim::probe(paths).unwrap() != Liveness::Free {
            assert!(std::time::Instant::now() < deadline, "somebody has the lock");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_lives_is_seen_each_time() {
        let scene = Scene::new();
        let paths = scene.add(&scene.theirs, &row(1, "web"));
        scene.add(&scene.ours, &row(2, "other"));
        let life = || scene.views()[1].life.clone();
        let unseen = life();
        assert!(matches!(unseen, Life::Exited { code: crate::container::UNSEEN_EXIT, .. }));
        for pid in 10..14 {
            let lock = LifeLock::try_take(&paths).unwrap().unwrap();
            assert_eq!(life(), Life::NEW, "it is being started");
            let running = Life::Running { pid, since: now() };
            write(&paths.state(), &running);
            assert_eq!(life(), running);
            assert_eq!(scene.views()[1].ports.len(), 1);
            let paused = Life::Paused { pid, since: now() };
            write(&paths.state(), &paused);
            assert_eq!(life(), paused);
            // Its shim is killed, and leaves all as it is.
            drop(lock);
            until_free(&paths);
            assert_eq!(life(), unseen);
            assert_eq!(scene.views()[1].ports, []);
            let lock = LifeLock::try_take(&paths).unwrap().unwrap();
            write(&paths.state(), &running);
            assert_eq!(life(), running);
            lock.remove_dir();
            assert_eq!(life(), unseen);
        }
        for code in 1..4 {
            let code = ExitCode(code);
            let exit =
                ExitRecord { code, oom: false, since: now(), at: now(), by_hand: ByHand::No };
            shim::write_exit(&paths, &exit).unwrap();
            assert_eq!(life(), exit.life());
        }
    }

    #[test]
    fn what_has_not_changed_is_the_same_view() {
        let scene = Scene::new();
        scene.add(&scene.ours, &row(1, "web"));
        let at = |engine: &Engine| match all(engine, ListQuery::All).remove(0) {
            Listed::Whole(view) => view,
            Listed::Unread(view) => panic!("{view:?}"),
        };
        // The first look gives the network that it is on its id.
        drop(at(&scene.ours));
        let before = at(&scene.ours);
        assert!(Arc::ptr_eq(&before, &at(&scene.ours)));
        scene.add(&scene.theirs, &row(2, "other"));
        assert!(!Arc::ptr_eq(&before, &at(&scene.ours)));
        // A command lists once.
        let command = open(scene.dir.path());
        assert_eq!(Arc::strong_count(&at(&command)), 1);
    }

    #[test]
    fn a_list_that_is_broken_off_leaves_the_next_one_whole() {
        let scene = Scene::new();
        (1..6).for_each(|byte| drop(scene.add(&scene.theirs, &row(byte, &format!("c{byte}")))));
        for _ in 0..3 {
            scene.ours.list(ListQuery::All, |_| Ok(ControlFlow::Break(()))).unwrap();
        }
        assert_eq!(scene.views().len(), 5);
    }

    #[test]
    fn one_that_cannot_be_read_is_shown_with_what_is_known_of_it() {
        let scene = Scene::new();
        (1..4).for_each(|byte| drop(scene.add(&scene.ours, &row(byte, &format!("c{byte}")))));
        let strange = row(2, "c2");
        let newer = RECORD.replacen("{", r#"{"wish": 1,"#, 1);
        let set = |record: &str| {
            let rows = scene.theirs.store().containers();
            rows.set_record(&strange.id, record, Durability::Eventual).unwrap();
        };
        set(&newer);
        let unread = |scene: &Scene| match scene.look().as_slice() {
            [Listed::Whole(_), Listed::Unread(view), Listed::Whole(_)] => view.clone(),
            other => panic!("{other:?}"),
        };
        let view = unread(&scene);
        assert_eq!((view.id, view.name, view.life), (strange.id, strange.name, Some(Life::NEW)));
        assert!(view.why.contains("unknown field `wish`"), "{}", view.why);
        let paths = scene.ours.shim_paths(&strange.id);
        let lock = LifeLock::try_take(&paths).unwrap().unwrap();
        let running = Life::Running { pid: 7, since: now() };
        write(&paths.state(), &running);
        assert_eq!(unread(&scene).life, Some(running.clone()));
        set(RECORD);
        assert_eq!(scene.views()[1].life, running);
        // Who has joined its network has its files, and can be read.
        set(&newer);
        let joined = RECORD.replace(r#""mode": "Bridge""#, r#""mode": {"Container": "c2"}"#);
        assert_ne!(joined, RECORD);
        let rows = scene.ours.store().containers();
        rows.set_record(&row(3, "c3").id, &joined, Durability::Eventual).unwrap();
        assert_eq!(unread(&scene).life, Some(running));
        let Listed::Whole(joiner) = scene.look().remove(0) else { panic!() };
        assert!(joiner.files.hosts.to_str().unwrap().contains(&strange.id.to_string()));
        lock.remove_dir();
    }

    #[test]
    fn what_a_damaged_file_of_the_shim_would_say_is_all_that_is_not_known() {
        let scene = Scene::new();
        (1..4).for_each(|byte| drop(scene.add(&scene.ours, &row(byte, &format!("c{byte}")))));
        let id = row(2, "c2").id;
        let paths = scene.ours.shim_paths(&id);
        let unseen = scene.views()[1].life.clone();
        assert!(matches!(unseen, Life::Exited { code: crate::container::UNSEEN_EXIT, .. }));
        // Nobody saw the end then.
        write(&paths.exit_record(), &"no end");
        assert_eq!(scene.views()[1].life, unseen);
        let lock = LifeLock::try_take(&paths).unwrap().unwrap();
        let running = Life::Running { pid: 7, since: now() };
        write(&paths.state(), &running);
        assert_eq!(scene.views()[1].life, running);
        // Another dhow's shim says something else.
        write(&paths.state(), &"no life");
        for query in [ListQuery::All, ListQuery::Running] {
            let all = scene.look_for(query);
            let unread = all.iter().find_map(|listed| match listed {
                Listed::Unread(view) => Some(view),
                Listed::Whole(_) => None,
            });
            let unread = unread.unwrap();
            assert_eq!((unread.id, &unread.life), (id, &None));
            assert!(unread.why.contains("state.json is damaged"), "{}", unread.why);
            assert_eq!(unread.at_rest.as_ref().unwrap().resolved.labels["x"], "y");
        }
        let row = |byte| scene.ours.store().containers().get(&row(byte, "xx").id).unwrap().unwrap();
        assert_eq!(scene.ours.life_of_row(row(2)).unwrap(), None);
        assert!(scene.ours.life_of_row(row(1)).unwrap().is_some());
        lock.remove_dir();
        assert_eq!(scene.views().len(), 3);
    }

    #[test]
    fn a_health_that_cannot_be_read_is_not_known() {
        let scene = Scene::new();
        let mut record = row(1, "web");
        record.record = record.record.replace(
            r#""resolved": {"#,
            r#""resolved": {"health": {"argv": ["true"], "check": {"test": ["CMD", "true"]}},"#,
        );
        assert_ne!(record.record, RECORD);
        let paths = scene.add(&scene.ours, &record);
        std::fs::create_dir_all(paths.dir()).unwrap();
        write(&paths.dir().join("health.json"), &"no health");
        assert_eq!(scene.views()[0].health, None);
    }

    #[test]
    fn a_shortage_fails_a_list_and_is_no_answer() {
        let scene = Scene::new();
        let paths = scene.add(&scene.ours, &row(1, "web"));
        let fails = || {
            for engine in [&scene.ours, &open(scene.dir.path())] {
                let listed = engine.list(ListQuery::All, |_| Ok(ControlFlow::Continue(())));
                assert!(matches!(listed, Err(EngineError::Shim { .. })), "{listed:?}");
            }
        };
        // A directory is opened as little as a file for which there is no descriptor.
        std::fs::create_dir_all(paths.lock()).unwrap();
        fails();
        std::fs::remove_dir(paths.lock()).unwrap();
        let lock = LifeLock::try_take(&paths).unwrap().unwrap();
        std::fs::create_dir(paths.state()).unwrap();
        fails();
        let newer = RECORD.replacen("{", r#"{"wish": 1,"#, 1);
        let rows = scene.ours.store().containers();
        rows.set_record(&row(1, "web").id, &newer, Durability::Eventual).unwrap();
        fails();
        std::fs::remove_dir(paths.state()).unwrap();
        lock.remove_dir();
        assert!(matches!(scene.look().as_slice(), [Listed::Unread(_)]));
    }

    fn kept(engine: &Engine) -> Arc<Kept> {
        match &*engine.lists().seen() {
            Seen::List(kept) => kept.clone(),
            other @ (Seen::Nothing | Seen::Once) => panic!("{other:?}"),
        }
    }

    /// Of how many containers files are open, and views kept.
    fn left(engine: &Engine) -> (usize, usize) {
        let kept = kept(engine);
        let count = |is: &dyn Fn(&Known) -> bool| {
            kept.entries.iter().filter(|entry| is(&entry.known())).count()
        };
        (count(&|known| known.watch.is_some()), count(&|known| matches!(known.read, Read::View(_))))
    }

    fn within(engine: &Engine, limits: Limits, all: usize) -> Rows {
        let mut seen = 0;
        let visit = |_| {
            seen += 1;
            Ok(ControlFlow::Continue(()))
        };
        let rows = engine.list_within(limits, ListQuery::All, visit).unwrap();
        assert_eq!(seen, all);
        rows
    }

    #[test]
    fn no_more_is_left_behind_than_may_be() {
        let scene = Scene::new();
        (1..=9).for_each(|byte| drop(scene.add(&scene.theirs, &row(byte, &format!("c{byte}")))));
        let ours = &scene.ours;
        let limits = |watched, views| Limits { watched, bytes: RECORD.len() * views + 1 };
        // The first gives the network that they are on its id.
        for _ in 0..3 {
            within(ours, limits(3, 5), 9);
        }
        assert_eq!(left(ours), (3, 5));
        // Another has changed something.
        scene.add(&scene.theirs, &row(10, "c10"));
        within(ours, limits(3, 5), 10);
        assert_eq!(left(ours), (3, 5));
        assert!((1..=MOST_WATCHED).contains(&most_watched()));
        ours.forget_lists();
        assert!(matches!(*ours.lists().seen(), Seen::Once));
        within(ours, limits(0, 0), 10);
        assert_eq!(left(ours), (0, 0));
        assert_eq!(scene.look().len(), 10);
    }

    #[test]
    fn lists_at_the_same_time_keep_one_set_of_files_open() {
        let scene = Scene::new();
        (1..=9).for_each(|byte| drop(scene.add(&scene.theirs, &row(byte, &format!("c{byte}")))));
        let ours = &scene.ours;
        let limits = Limits { watched: 3, bytes: MOST_BYTES };
        within(ours, limits, 9);
        within(ours, limits, 9);
        let outer = kept(ours);
        let mut is_changed = false;
        let visit = |_| {
            // One list within another, of containers that have changed since.
            if !std::mem::replace(&mut is_changed, true) {
                scene.add(&scene.theirs, &row(10, "c10"));
                within(ours, limits, 10);
                assert!(!Arc::ptr_eq(&outer, &kept(ours)));
                assert_eq!(left(ours).0, 0);
            }
            Ok(ControlFlow::Continue(()))
        };
        ours.list_within(limits, ListQuery::All, visit).unwrap();
        within(ours, limits, 10);
        assert_eq!(left(ours).0, 3);
    }

    #[test]
    fn many_rows_that_are_not_at_hand_are_read_at_once() {
        let scene = Scene::new();
        let many = FEW_ROWS + 20;
        for n in 1..=u8::try_from(many).unwrap() {
            scene.add(&scene.theirs, &row(n, &format!("c{n}")));
        }
        let ours = &scene.ours;
        let none = Limits { watched: 0, bytes: 0 };
        within(ours, none, many);
        within(ours, none, many);
        let rows = within(ours, none, many);
        assert_eq!((rows.asked, rows.all.map(|all| all.len())), (FEW_ROWS, Some(many)));
        let all = Limits { watched: 0, bytes: MOST_BYTES };
        within(ours, all, many);
        let rows = within(ours, all, many);
        assert_eq!((rows.asked, rows.all.is_none()), (0, true));
        assert_eq!(scene.views().len(), many);
    }
}

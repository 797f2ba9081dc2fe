//! Volumes: their rows, their directories, and which containers use which of them.
//!
//! A row never lacks its directory: that is made in the transaction that adds the row, and taken
//! away when the row has gone. What is in it is the engine's.

pub(crate) mod moved;
pub(crate) mod staged;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::{ContainerId, ImageId};
use rusqlite::Row;
use sys::failpoint::{Point, reach};

use super::containers::ContainerRowError;
use super::{Db, DbError, Durability, IsFull, Text, Tx};
use crate::container_layer::file_bytes;
use crate::gc::GcError;
use crate::layers::LayerError;
use crate::layout::Layout;
use crate::trash::{Moved, TrashError};

pub use moved::Renaming;
pub use staged::StagedVolume;

/// One volume at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRow {
    /// Its name, unique.
    pub name: String,
    /// `local`
    pub driver: String,
    /// Made for a container that named none.
    pub anonymous: bool,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// The driver's.
    pub options: BTreeMap<String, String>,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
}

/// What a container mounts from now on.
#[derive(Debug, Clone, Copy)]
pub struct Rewired<'a> {
    /// Volumes that are new; those that are not there are made.
    pub added: &'a [VolumeRow],
    /// Names of volumes that it uses no more; they stay.
    pub unused: &'a [String],
    /// All images.
    pub images: &'a [ImageId],
}

/// Why a volume was not used or removed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeRowError {
    /// Containers use it.
    #[error("volume {name} is in use by {}", first(.by))]
    InUse {
        /// The volume.
        name: String,
        /// Who uses it.
        by: Vec<ContainerId>,
    },
    /// There is one of that name.
    #[error("volume {0} already exists")]
    Taken(String),
    /// Containers have begun or ceased to use it since they were looked at.
    #[error("other containers use volume {0} than did just now")]
    OtherUsers(String),
    /// There is no such row.
    #[error("no such volume: {0}")]
    NoSuchVolume(String),
    /// There is no such container.
    #[error("no such container: {0}")]
    NoSuchContainer(ContainerId),
    /// An image that is to be mounted is gone.
    #[error("no such image: {0}")]
    NoSuchImage(ImageId),
    /// Its directory cannot be made.
    #[error("make {path}: {source}")]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its directory cannot be removed.
    #[error(transparent)]
    Trash(#[from] TrashError),
    /// What the dead have left cannot be removed.
    #[error(transparent)]
    Sweep(#[from] Box<GcError>),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<GcError> for VolumeRowError {
    fn from(error: GcError) -> Self {
        Self::Sweep(Box::new(error))
    }
}

impl IsFull for VolumeRowError {
    fn is_full(&self) -> bool {
        match self {
            Self::Db(error) => error.is_full(),
            Self::Sweep(error) => error.is_full(),
            Self::InUse { .. }
            | Self::Taken(_)
            | Self::OtherUsers(_)
            | Self::NoSuchVolume(_)
            | Self::NoSuchContainer(_)
            | Self::NoSuchImage(_)
            | Self::Make { .. }
            | Self::Trash(_) => false,
        }
    }
}

impl From<ContainerRowError> for VolumeRowError {
    fn from(error: ContainerRowError) -> Self {
        match error {
            ContainerRowError::NoSuchImage(id) => Self::NoSuchImage(id),
            ContainerRowError::NoSuchContainer(id)
            | ContainerRowError::NameTaken { by: id, .. } => Self::NoSuchContainer(id),
            ContainerRowError::Db(error) => Self::Db(error),
        }
    }
}

/// The volumes of a store.
#[derive(Debug, Clone, Copy)]
pub struct Volumes<'s> {
    pub(crate) db: &'s Db,
    pub(crate) layout: &'s Layout,
}

/// The directory below a volume's own that containers see.
const DATA: &str = "_data";

const COLUMNS: &str = "name, driver, anonymous, labels, options, created_ns";

impl Volumes<'_> {
    /// Adds the volume unless there is one of that name; returns the row that is there now.
    ///
    /// # Errors
    /// The database, the directory.
    pub fn ensure(&self, row: &VolumeRow) -> Result<VolumeRow, VolumeRowError> {
        self.create("create a volume", |tx, stale| self.insert(tx, row, stale))
    }

    /// Adds those that are not there, and notes that `container` uses all of them: none can be
    /// removed in between, nor before the container. Returns the rows that are there now.
    ///
    /// # Errors
    /// The database, the directories.
    pub fn use_by(
        &self,
        container: &ContainerId,
        rows: &[VolumeRow],
    ) -> Result<Vec<VolumeRow>, VolumeRowError> {
        self.create("use volumes", |tx, stale| self.used(tx, container, rows, stale))
    }

    /// Replaces a container's record, and with it the volumes and images that it mounts. Returns the
    /// rows of the volumes that it uses from now on.
    ///
    /// # Errors
    /// There is no such container or image; the database, the directories.
    pub fn rewire(
        &self,
        container: &ContainerId,
        record: &str,
        mounts: &Rewired<'_>,
    ) -> Result<Vec<VolumeRow>, VolumeRowError> {
        self.create("change the volumes of a container", |tx, stale| {
            if !super::containers::set_record(tx, container, record)? {
                return Err(VolumeRowError::NoSuchContainer(*container));
            }
            super::containers::pin_mounted(tx, container, mounts.images)?;
            for name in mounts.unused {
                let sql = "DELETE FROM volume_uses WHERE volume = ?1 AND container = ?2";
                tx.execute(sql, (name, Text(*container)))?;
            }
            self.used(tx, container, mounts.added, stale)
        })
    }

    fn used(
        &self,
        tx: &Tx<'_>,
        container: &ContainerId,
        rows: &[VolumeRow],
        stale: &mut Moved,
    ) -> Result<Vec<VolumeRow>, VolumeRowError> {
        let sql = "INSERT OR IGNORE INTO volume_uses (volume, container) VALUES (?1, ?2)";
        let mut there = Vec::with_capacity(rows.len());
        for row in rows {
            there.push(self.insert(tx, row, stale)?);
            tx.execute(sql, (&row.name, Text(*container)))?;
        }
        Ok(there)
    }

    fn create<T>(
        &self,
        what: &'static str,
        body: impl FnOnce(&Tx<'_>, &mut Moved) -> Result<T, VolumeRowError>,
    ) -> Result<T, VolumeRowError> {
        let mut stale = Moved::default();
        let made = self.db.write(what, Durability::Now, |tx| body(tx, &mut stale));
        stale.delete(self.layout)?;
        made
    }

    fn insert(
        &self,
        tx: &Tx<'_>,
        row: &VolumeRow,
        stale: &mut Moved,
    ) -> Result<VolumeRow, VolumeRowError> {
        if let Some(there) = by_name(tx, &row.name)? {
            return Ok(there);
        }
        let dir = self.layout.volume(&row.name);
        // A removal that was cut short, or is about to go on, has left it: it is nobody's, unless it
        // is on its way to another name.
        moved::settle(tx, self.layout, &row.name)?;
        stale.take(self.layout, dir.clone())?;
        let made = make_dirs(&dir).and_then(|()| Ok(reach(Point::CreateVolumeDir)?));
        made.map_err(|source| VolumeRowError::Make { path: dir.clone(), source })?;
        insert_row(tx, row)?;
        let written = reach(Point::CreateVolumeRow);
        written.map_err(|errno| VolumeRowError::Make { path: dir, source: errno.into() })?;
        Ok(row.clone())
    }

    /// Changes the labels of a volume; returns what it is then.
    ///
    /// # Errors
    /// There is none; the database.
    pub fn relabel(
        &self,
        name: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<VolumeRow, VolumeRowError> {
        self.db.write("label a volume", Durability::Now, |tx| {
            let row = by_name(tx, name)?;
            let mut row = row.ok_or_else(|| VolumeRowError::NoSuchVolume(name.to_owned()))?;
            change(&mut row.labels);
            let sql = "UPDATE volumes SET labels = ?2 WHERE name = ?1";
            tx.execute(sql, (name, to_json(&row.labels)))?;
            Ok(row)
        })
    }

    /// The volume called `name`.
    ///
    /// # Errors
    /// The database.
    pub fn get(&self, name: &str) -> Result<Option<VolumeRow>, DbError> {
        self.db.read("get a volume", |tx| by_name(tx, name))
    }

    /// Every volume, by name.
    ///
    /// # Errors
    /// The database.
    pub fn list(&self) -> Result<Vec<VolumeRow>, DbError> {
        self.db.read("list volumes", |tx| {
            tx.all(&format!("SELECT {COLUMNS} FROM volumes ORDER BY name"), [], read_row)
        })
    }

    /// The bytes of a volume's files, counted as Docker does. Containers may write meanwhile.
    ///
    /// # Errors
    /// The file system.
    pub fn bytes(&self, name: &str) -> Result<u64, LayerError> {
        let data = self.layout.volume(name).join(DATA);
        file_bytes(&data).map_err(LayerError::root(&data))
    }

    /// The containers that use `name`.
    ///
    /// # Errors
    /// The database.
    pub fn users(&self, name: &str) -> Result<Vec<ContainerId>, DbError> {
        self.db.read("list the users of a volume", |tx| users(tx, name))
    }

    /// The volumes that `container` uses, by name.
    ///
    /// # Errors
    /// The database.
    pub fn of_container(&self, container: &ContainerId) -> Result<Vec<VolumeRow>, DbError> {
        self.db.read("list the volumes of a container", |tx| {
            let sql = format!(
                "SELECT {COLUMNS} FROM volumes WHERE name IN
                 (SELECT volume FROM volume_uses WHERE container = ?1) ORDER BY name"
            );
            tx.all(&sql, [Text(*container)], read_row)
        })
    }

    /// Removes a volume that nobody uses.
    ///
    /// The row goes first, and for good: a process killed between the two steps leaves a directory
    /// without a row, which the next volume of that name or `gc` clears away, never a row without
    /// its files.
    ///
    /// # Errors
    /// It is in use, or there is none.
    pub fn remove(&self, name: &str) -> Result<(), VolumeRowError> {
        let reserve = self.layout.reserve();
        let delete = |tx: &Tx<'_>| {
            moved::settle_behind(tx, self.layout, name)?;
            delete_row(tx, name)
        };
        self.db.write_freeing("remove a volume", Durability::Now, &reserve, delete)?;
        let dir = self.layout.volume(name);
        reach(Point::RemoveVolumeRow)
            .map_err(|errno| TrashError::Move { path: dir.clone(), source: errno.into() })?;
        let mut moved = Moved::default();
        self.db.write("remove the files of a volume", Durability::Eventual, |tx| {
            match by_name(tx, name)? {
                // Somebody has made it anew, with a directory of its own.
                Some(_) => Ok(()),
                None => {
                    moved::settle(tx, self.layout, name)?;
                    Ok::<_, VolumeRowError>(moved.take(self.layout, dir)?)
                }
            }
        })?;
        moved.delete(self.layout)?;
        reserve.keep();
        Ok(())
    }
}

fn insert_row(tx: &Tx<'_>, row: &VolumeRow) -> Result<(), VolumeRowError> {
    tx.execute(
        "INSERT INTO volumes (name, driver, anonymous, labels, options, created_ns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            &row.name,
            &row.driver,
            row.anonymous,
            to_json(&row.labels),
            to_json(&row.options),
            row.created_ns,
        ),
    )?;
    Ok(())
}

/// Removes the row of a volume if nobody uses it; whether there was one.
pub(crate) fn delete_unused(tx: &Tx<'_>, name: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM volumes WHERE name = ?1
               AND NOT EXISTS (SELECT 1 FROM volume_uses WHERE volume = ?1)";
    Ok(tx.execute(sql, [name])? > 0)
}

fn delete_row(tx: &Tx<'_>, name: &str) -> Result<(), VolumeRowError> {
    if delete_unused(tx, name)? {
        return Ok(());
    }
    let (name, by) = (name.to_owned(), users(tx, name)?);
    Err(if by.is_empty() {
        VolumeRowError::NoSuchVolume(name)
    } else {
        VolumeRowError::InUse { name, by }
    })
}

/// What containers see does not depend on the caller's umask.
fn make_dirs(dir: &Path) -> io::Result<()> {
    make_own(dir)?;
    make_data(dir)
}

fn make_own(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}

fn make_data(dir: &Path) -> io::Result<()> {
    let data = dir.join(DATA);
    DirBuilder::new().mode(0o755).create(&data)?;
    std::fs::set_permissions(&data, Permissions::from_mode(0o755))
}

fn first(ids: &[ContainerId]) -> String {
    ids.first().map(ToString::to_string).unwrap_or_default()
}

fn users(tx: &Tx<'_>, name: &str) -> Result<Vec<ContainerId>, DbError> {
    tx.all("SELECT container FROM volume_uses WHERE volume = ?1", [name], |row| {
        Ok(row.get::<_, Text<_>>(0)?.0)
    })
}

fn by_name(tx: &Tx<'_>, name: &str) -> Result<Option<VolumeRow>, DbError> {
    tx.first(&format!("SELECT {COLUMNS} FROM volumes WHERE name = ?1"), [name], read_row)
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<VolumeRow> {
    Ok(VolumeRow {
        name: row.get(0)?,
        driver: row.get(1)?,
        anonymous: row.get(2)?,
        labels: row.get::<_, Json>(3)?.0,
        options: row.get::<_, Json>(4)?.0,
        created_ns: row.get(5)?,
    })
}

/// A map of texts, stored as a JSON object.
struct Json(BTreeMap<String, String>);

impl rusqlite::types::FromSql for Json {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Json)
            .map_err(rusqlite::types::FromSqlError::other)
    }
}

fn to_json(map: &BTreeMap<String, String>) -> String {
    serde_json::Value::from_iter(map.clone()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::containers::{Containers, delete, tests::row};
    use crate::db::scratch;

    fn volume(name: &str) -> VolumeRow {
        VolumeRow {
            name: name.to_owned(),
            driver: "local".to_owned(),
            anonymous: false,
            labels: BTreeMap::from([("k\"ey".to_owned(), "v".to_owned())]),
            options: BTreeMap::new(),
            created_ns: 1,
        }
    }

    fn scratch_volumes() -> (tempfile::TempDir, Db, Layout) {
        let (dir, db) = scratch();
        let layout = Layout::open(dir.path()).unwrap();
        (dir, db, layout)
    }

    fn files(layout: &Layout, name: &str) -> Vec<String> {
        let entries = std::fs::read_dir(layout.volume(name).join(DATA));
        let name = |entry: io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().to_string_lossy().into_owned()
        };
        entries.into_iter().flatten().map(name).collect()
    }

    #[test]
    fn a_volume_in_use_stays() {
        let (_dir, db, layout) = scratch_volumes();
        let volumes = Volumes { db: &db, layout: &layout };
        let web = row(1, "web");
        Containers { db: &db }.insert(&web, Durability::Now).unwrap();
        assert_eq!(volumes.ensure(&volume("data")).unwrap(), volume("data"));
        volumes.use_by(&web.id, &[volume("data"), volume("data"), volume("more")]).unwrap();
        assert_eq!(volumes.users("data").unwrap(), [web.id]);
        assert_eq!(volumes.of_container(&web.id).unwrap(), [volume("data"), volume("more")]);
        assert!(layout.volume("more").join(DATA).is_dir());
        assert!(
            matches!(volumes.remove("data"), Err(VolumeRowError::InUse { by, .. }) if by == [web.id])
        );
        assert!(layout.volume("data").join(DATA).is_dir());
        db.write("test", Durability::Now, |tx| delete(tx, &web.id)).unwrap();
        volumes.remove("data").unwrap();
        assert!(!layout.volume("data").exists());
        assert!(matches!(volumes.remove("data"), Err(VolumeRowError::NoSuchVolume(_))));
    }

    #[test]
    fn the_first_creation_of_a_volume_wins() {
        let (_dir, db, layout) = scratch_volumes();
        let volumes = Volumes { db: &db, layout: &layout };
        volumes.ensure(&volume("data")).unwrap();
        std::fs::write(layout.volume("data").join(DATA).join("kept"), "").unwrap();
        let second = VolumeRow { created_ns: 2, ..volume("data") };
        assert_eq!(volumes.ensure(&second).unwrap().created_ns, 1);
        assert_eq!(files(&layout, "data"), ["kept"]);
    }

    #[test]
    fn what_a_removal_cut_short_has_left_is_not_in_the_next_volume() {
        let (_dir, db, layout) = scratch_volumes();
        let volumes = Volumes { db: &db, layout: &layout };
        volumes.ensure(&volume("data")).unwrap();
        std::fs::write(layout.volume("data").join(DATA).join("secret"), "").unwrap();
        db.write("test", Durability::Now, |tx| delete_row(tx, "data")).unwrap();
        assert_eq!(files(&layout, "data"), ["secret"], "killed before its files went");
        volumes.ensure(&volume("data")).unwrap();
        assert!(files(&layout, "data").is_empty());
        assert_eq!(std::fs::read_dir(layout.trash()).unwrap().count(), 0);
    }

    /// Many make, use and remove one name at once: a volume that somebody uses has its directory,
    /// and in the end there is either all of a volume or nothing.
    #[test]
    fn a_volume_is_whole_or_not_there_whoever_is_faster() {
        let (_dir, db, layout) = scratch_volumes();
        let volumes = Volumes { db: &db, layout: &layout };
        let containers: Vec<_> = (0..4).map(|n| row(n, &format!("c{n}"))).collect();
        for container in &containers {
            Containers { db: &db }.insert(container, Durability::Eventual).unwrap();
        }
        let churn = |container: &ContainerId| {
            volumes.use_by(container, &[volume("data")]).unwrap();
            assert!(layout.volume("data").join(DATA).is_dir(), "used and not there");
            let sql = "DELETE FROM volume_uses WHERE container = ?1";
            let forget = |tx: &Tx<'_>| tx.execute(sql, [Text(*container)]);
            db.write("test", Durability::Eventual, forget).unwrap();
            let removed = volumes.remove("data");
            let others = matches!(
                removed,
                Err(VolumeRowError::InUse { .. } | VolumeRowError::NoSuchVolume(_))
            );
            assert!(removed.is_ok() || others, "{removed:?}");
        };
        std::thread::scope(|scope| {
            for container in &containers {
                scope.spawn(|| (0..25).for_each(|_| churn(&container.id)));
            }
        });
        assert_eq!(volumes.get("data").unwrap().is_some(), layout.volume("data").exists());
    }
}

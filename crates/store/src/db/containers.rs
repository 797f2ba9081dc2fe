//! Container rows: identity, name, image and the record that the engine keeps.
//!
//! The record's JSON is the engine's; nothing here reads it. A row pins the layers of its image,
//! so that the container outlives `rmi -f`.

use std::collections::BTreeMap;

use model::{ContainerId, ContainerName, ImageId, NameOrId};
use rusqlite::Row;

use super::{Db, DbError, Durability, Stamp, Text, Tx};

/// One container at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRow {
    /// Its id.
    pub id: ContainerId,
    /// Its name, unique among containers.
    pub name: ContainerName,
    /// The image that it was created from; `None` for `--rootfs`. The image may be gone since.
    pub image: Option<ImageId>,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// Whether it goes when it exits.
    pub auto_remove: bool,
    /// JSON, the engine's own.
    pub record: String,
}

/// Why a container row was not inserted or renamed.
#[derive(Debug, thiserror::Error)]
pub enum ContainerRowError {
    /// Another container has that name.
    #[error("the container name {name} is in use by {by}")]
    NameTaken {
        /// The name.
        name: ContainerName,
        /// Who has it.
        by: ContainerId,
    },
    /// The image was removed in between.
    #[error("no such image: {0}")]
    NoSuchImage(ImageId),
    /// There is no such row.
    #[error("no such container: {0}")]
    NoSuchContainer(ContainerId),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What a text typed for a container leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This one.
    One(ContainerRow),
    /// Nothing.
    None,
    /// A prefix of several ids.
    Ambiguous,
}

/// The table of containers.
#[derive(Debug, Clone, Copy)]
pub struct Containers<'s> {
    pub(crate) db: &'s Db,
}

/// Answered by an index alone.
const AUTO_REMOVED: &str = "SELECT id FROM containers WHERE auto_remove";

const COLUMNS: &str = "id, name, image, created_ns, auto_remove, record";

impl Containers<'_> {
    /// Adds a row and pins the layers of its image.
    ///
    /// # Errors
    /// The name is taken, or the image is gone.
    pub fn insert(
        &self,
        row: &ContainerRow,
        durability: Durability,
    ) -> Result<(), ContainerRowError> {
        self.insert_with(row, &[], durability, || Ok(()))
    }

    /// The same, with the images that the container mounts; what `with` makes is there before anybody
    /// can see the row, and no collection takes it away in between.
    ///
    /// # Errors
    /// The name is taken, or the image is gone; whatever `with` says.
    pub fn insert_with<E: From<ContainerRowError> + From<DbError>>(
        &self,
        row: &ContainerRow,
        mounted: &[ImageId],
        durability: Durability,
        with: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        self.db.write("insert a container", durability, |tx| {
            check_name(tx, &row.name)?;
            tx.execute(
                "INSERT INTO containers (id, name, image, created_ns, auto_remove, record)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    Text(row.id),
                    row.name.as_str(),
                    row.image.map(Text),
                    row.created_ns,
                    row.auto_remove,
                    &row.record,
                ),
            )?;
            row.image.map_or(Ok(()), |image| pin_layers(tx, &row.id, image))?;
            pin_mounted(tx, &row.id, mounted)?;
            with()
        })
    }

    /// The row of `id`.
    ///
    /// # Errors
    /// The database.
    pub fn get(&self, id: &ContainerId) -> Result<Option<ContainerRow>, DbError> {
        self.db.read("get a container", |tx| by_id(tx, id))
    }

    /// Looks a typed text up: full id, then name, then unique prefix of an id.
    ///
    /// # Errors
    /// The database.
    pub fn find(&self, typed: &NameOrId) -> Result<Found, DbError> {
        self.db.read("find a container", |tx| {
            if let Some(id) = typed.as_id()
                && let Some(row) = by_id(tx, &id)?
            {
                return Ok(Found::One(row));
            }
            if let Some(row) = by_name(tx, typed.as_name())? {
                return Ok(Found::One(row));
            }
            by_prefix(tx, typed.as_str())
        })
    }

    /// Every row, newest first.
    ///
    /// # Errors
    /// The database.
    pub fn list(&self) -> Result<Vec<ContainerRow>, DbError> {
        Ok(newest_first(self.db.read("list containers", all)?))
    }

    /// The same with the moment that they are of; no rows if that is the one that is known already: then
    /// nothing in the database has changed since.
    ///
    /// # Errors
    /// The database.
    pub fn list_after(
        &self,
        known: Option<Stamp>,
    ) -> Result<(Stamp, Option<Vec<ContainerRow>>), DbError> {
        let (stamp, rows) = self.db.read("list containers", |tx| {
            let stamp = tx.stamp()?;
            let rows = if known == Some(stamp) { None } else { Some(all(tx)?) };
            Ok::<_, DbError>((stamp, rows))
        })?;
        Ok((stamp, rows.map(newest_first)))
    }

    /// The containers that go when they exit.
    ///
    /// # Errors
    /// The database.
    pub fn auto_removed(&self) -> Result<Vec<ContainerId>, DbError> {
        self.db.read("list containers that go at their exit", |tx| {
            tx.all(AUTO_REMOVED, [], |row| Ok(row.get::<_, Text<_>>(0)?.0))
        })
    }

    /// Replaces the record by what `change` makes of it, with no other writer in between.
    ///
    /// # Errors
    /// There is no such row; whatever `change` says.
    pub fn update<E: From<ContainerRowError> + From<DbError>>(
        &self,
        id: &ContainerId,
        durability: Durability,
        change: impl FnOnce(&str) -> Result<String, E>,
    ) -> Result<(), E> {
        self.db.write("update a container", durability, |tx| {
            let sql = "SELECT record FROM containers WHERE id = ?1";
            let record: Option<String> = tx.first(sql, [Text(*id)], |row| row.get(0))?;
            let record = record.ok_or_else(|| E::from(ContainerRowError::NoSuchContainer(*id)))?;
            let changed = change(&record)?;
            tx.execute("UPDATE containers SET record = ?2 WHERE id = ?1", (Text(*id), changed))?;
            Ok(())
        })
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// There is no such row: it was removed meanwhile. The database.
    pub fn set_record(
        &self,
        id: &ContainerId,
        record: &str,
        durability: Durability,
    ) -> Result<(), ContainerRowError> {
        self.db.write("update a container", durability, |tx| match set_record(tx, id, record)? {
            false => Err(ContainerRowError::NoSuchContainer(*id)),
            true => Ok(()),
        })
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// The name is taken (also by the container itself, as in Docker), or there is no such row.
    pub fn rename(&self, id: &ContainerId, name: &ContainerName) -> Result<(), ContainerRowError> {
        self.db.write("rename a container", Durability::Now, |tx| {
            check_name(tx, name)?;
            let sql = "UPDATE containers SET name = ?2 WHERE id = ?1";
            match tx.execute(sql, (Text(*id), name.as_str()))? {
                0 => Err(ContainerRowError::NoSuchContainer(*id)),
                _ => Ok(()),
            }
        })
    }

    /// How many containers were created from each image that has any.
    ///
    /// # Errors
    /// The database.
    pub fn counts(&self) -> Result<BTreeMap<ImageId, u64>, DbError> {
        let sql = "SELECT image, count(*) FROM containers WHERE image IS NOT NULL GROUP BY image";
        let counts = self.db.read("count containers of images", |tx| {
            tx.all(sql, [], |row| {
                Ok((row.get::<_, Text<ImageId>>(0)?.0, row.get::<_, i64>(1)?.cast_unsigned()))
            })
        })?;
        Ok(counts.into_iter().collect())
    }
}

/// Removes the row; addresses, ports, layers and volume uses go with it.
pub(crate) fn delete(tx: &Tx<'_>, id: &ContainerId) -> Result<bool, DbError> {
    Ok(tx.execute("DELETE FROM containers WHERE id = ?1", [Text(*id)])? > 0)
}

/// Replaces the record; whether there is such a row.
pub(super) fn set_record(tx: &Tx<'_>, id: &ContainerId, record: &str) -> Result<bool, DbError> {
    let sql = "UPDATE containers SET record = ?2 WHERE id = ?1";
    Ok(tx.execute(sql, (Text(*id), record))? > 0)
}

fn all(tx: &Tx<'_>) -> Result<Vec<ContainerRow>, DbError> {
    tx.all(&select(""), [], read_row)
}

/// SQLite would copy every record to sort them.
fn newest_first(mut rows: Vec<ContainerRow>) -> Vec<ContainerRow> {
    rows.sort_unstable_by(|a, b| b.created_ns.cmp(&a.created_ns).then(a.id.cmp(&b.id)));
    rows
}

fn select(rest: &str) -> String {
    format!("SELECT {COLUMNS} FROM containers {rest}")
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    Ok(ContainerRow {
        id: row.get::<_, Text<_>>(0)?.0,
        name: row.get::<_, Text<_>>(1)?.0,
        image: row.get::<_, Option<Text<_>>>(2)?.map(|text| text.0),
        created_ns: row.get(3)?,
        auto_remove: row.get(4)?,
        record: row.get(5)?,
    })
}

fn by_id(tx: &Tx<'_>, id: &ContainerId) -> Result<Option<ContainerRow>, DbError> {
    tx.first(&select("WHERE id = ?1"), [Text(*id)], read_row)
}

fn by_name(tx: &Tx<'_>, name: &str) -> Result<Option<ContainerRow>, DbError> {
    tx.first(&select("WHERE name = ?1"), [name], read_row)
}

fn by_prefix(tx: &Tx<'_>, prefix: &str) -> Result<Found, DbError> {
    if prefix.is_empty()
        || !prefix.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return Ok(Found::None);
    }
    // `g` follows the last hex digit, so this is the range of texts that start with the prefix.
    let rows = tx.all(&select("WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2"), [prefix], read_row)?;
    let mut rows = rows.into_iter();
    Ok(match (rows.next(), rows.next()) {
        (None, _) => Found::None,
        (Some(row), None) => Found::One(row),
        (Some(_), Some(_)) => Found::Ambiguous,
    })
}

fn check_name(tx: &Tx<'_>, name: &ContainerName) -> Result<(), ContainerRowError> {
    let sql = "SELECT id FROM containers WHERE name = ?1";
    let by = tx.first(sql, [name.as_str()], |row| Ok(row.get::<_, Text<ContainerId>>(0)?.0))?;
    by.map_or(Ok(()), |by| Err(ContainerRowError::NameTaken { name: name.clone(), by }))
}

/// Keeps the layers of the images that a container mounts, and of no others. Of one that it mounts
/// already they are kept as they are: it may be gone.
pub(super) fn pin_mounted(
    tx: &Tx<'_>,
    id: &ContainerId,
    mounted: &[ImageId],
) -> Result<(), ContainerRowError> {
    let sql = "SELECT image FROM mounted_images WHERE container = ?1";
    let there = tx.all(sql, [Text(*id)], |row| Ok(row.get::<_, Text<ImageId>>(0)?.0))?;
    for image in there.iter().filter(|image| !mounted.contains(image)) {
        let sql = "DELETE FROM mounted_images WHERE container = ?1 AND image = ?2";
        tx.execute(sql, (Text(*id), Text(*image)))?;
    }
    for image in mounted.iter().filter(|image| !there.contains(image)) {
        exists(tx, *image)?;
        let sql = "INSERT OR IGNORE INTO mounted_images (container, image) VALUES (?1, ?2)";
        tx.execute(sql, (Text(*id), Text(*image)))?;
        let sql = "INSERT OR IGNORE INTO mounted_layers (container, image, position, diff_id)
                   SELECT ?1, image, position, diff_id FROM image_layers WHERE image = ?2";
        tx.execute(sql, (Text(*id), Text(*image)))?;
    }
    Ok(())
}

fn exists(tx: &Tx<'_>, image: ImageId) -> Result<(), ContainerRowError> {
    let found = tx.first("SELECT 1 FROM images WHERE id = ?1", [Text(image)], |_| Ok(()))?;
    found.ok_or(ContainerRowError::NoSuchImage(image))
}

fn pin_layers(tx: &Tx<'_>, id: &ContainerId, image: ImageId) -> Result<(), ContainerRowError> {
    exists(tx, image)?;
    tx.execute(
        "INSERT INTO container_layers (container, position, diff_id)
         SELECT ?1, position, diff_id FROM image_layers WHERE image = ?2",
        (Text(*id), Text(image)),
    )?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::db::scratch;

    #[test]
    fn no_record_is_read_to_find_those_that_go() {
        let (_dir, db) = scratch();
        let plan: Vec<String> = db
            .read("plan", |tx| {
                tx.all(&format!("EXPLAIN QUERY PLAN {AUTO_REMOVED}"), [], |row| row.get(3))
            })
            .unwrap();
        assert_eq!(plan, ["SCAN containers USING COVERING INDEX containers_auto_removed"]);
    }

    pub(crate) fn row(byte: u8, name: &str) -> ContainerRow {
        ContainerRow {
            id: ContainerId::from_random([byte; 32]),
            name: name.parse().unwrap(),
            image: None,
            created_ns: i64::from(byte),
            auto_remove: false,
            record: "{}".to_owned(),
        }
    }

    #[test]
    fn a_name_belongs_to_one_container() {
        let (_dir, db) = scratch();
        let containers = Containers { db: &db };
        let (web, other) = (row(1, "web"), row(2, "web"));
        containers.insert(&web, Durability::Now).unwrap();
        match containers.insert(&other, Durability::Now) {
            Err(ContainerRowError::NameTaken { by, .. }) => assert_eq!(by, web.id),
            answer => panic!("{answer:?}"),
        }
        assert_eq!(containers.get(&other.id).unwrap(), None);
        containers.rename(&web.id, &"db".parse().unwrap()).unwrap();
        containers.insert(&other, Durability::Eventual).unwrap();
        assert!(containers.rename(&web.id, &"web".parse().unwrap()).is_err());
        assert_eq!(containers.list().unwrap().len(), 2);
    }

    #[test]
    fn an_image_that_is_gone_is_named_and_nothing_is_inserted() {
        let (_dir, db) = scratch();
        let containers = Containers { db: &db };
        let image = ImageId(model::Digest::from_bytes([7; 32]));
        let with_image = ContainerRow { image: Some(image), ..row(1, "web") };
        match containers.insert(&with_image, Durability::Now) {
            Err(ContainerRowError::NoSuchImage(named)) => assert_eq!(named, image),
            answer => panic!("{answer:?}"),
        }
        assert_eq!(containers.list().unwrap(), []);
    }

    #[test]
    fn a_typed_text_is_an_id_then_a_name_then_a_prefix() {
        let (_dir, db) = scratch();
        let containers = Containers { db: &db };
        let (ab, ac) = (row(0xab, "first"), row(0xac, "abab"));
        containers.insert(&ab, Durability::Now).unwrap();
        containers.insert(&ac, Durability::Now).unwrap();
        let find = |text: &str| containers.find(&NameOrId::new(text)).unwrap();
        assert_eq!(find(&ab.id.to_string()), Found::One(ab.clone()));
        assert_eq!(find("/first"), Found::One(ab.clone()));
        assert_eq!(find("abab"), Found::One(ac.clone()), "a name wins over a prefix");
        assert_eq!(find("ababab"), Found::One(ab));
        assert_eq!(find("ac"), Found::One(ac));
        assert_eq!(find("a"), Found::Ambiguous);
        for nothing in ["", "b", "%", "abx", "AB"] {
            assert_eq!(find(nothing), Found::None, "{nothing:?}");
        }
    }

    #[test]
    fn who_has_read_the_rows_hears_of_every_change() {
        let (dir, db) = scratch();
        let (ours, other) = (Containers { db: &db }, Db::new(db.path.clone(), dir.path().into()));
        let theirs = Containers { db: &other };
        let mut known = None;
        // How many rows there are, if they are to be read again.
        let mut news = || {
            let (stamp, rows) = ours.list_after(known).unwrap();
            known = Some(stamp);
            rows.map(|rows| rows.len())
        };
        assert_eq!((news(), news()), (Some(0), None));
        for (by, byte) in [(&ours, 1), (&theirs, 2), (&ours, 3), (&theirs, 4)] {
            by.insert(&row(byte, &format!("c{byte}")), Durability::Eventual).unwrap();
            assert_eq!((news(), news()), (Some(usize::from(byte)), None));
            by.rename(&row(byte, "xx").id, &format!("d{byte}").parse().unwrap()).unwrap();
            assert_eq!((news(), news()), (Some(usize::from(byte)), None));
        }
        // Both at once: one's own change does not hide another's.
        theirs.set_record(&row(2, "xx").id, "[2]", Durability::Now).unwrap();
        ours.set_record(&row(1, "xx").id, "[1]", Durability::Now).unwrap();
        assert_eq!((news(), news()), (Some(4), None));
        assert_eq!(theirs.list().unwrap(), ours.list().unwrap());
    }

    #[test]
    fn an_update_that_fails_changes_nothing() {
        let (_dir, db) = scratch();
        let containers = Containers { db: &db };
        let web = row(1, "web");
        containers.insert(&web, Durability::Now).unwrap();
        let failed: Result<(), ContainerRowError> =
            containers.update(&web.id, Durability::Now, |_| {
                Err(ContainerRowError::NoSuchContainer(web.id))
            });
        failed.unwrap_err();
        assert_eq!(containers.get(&web.id).unwrap().unwrap().record, "{}");
        containers
            .update::<ContainerRowError>(&web.id, Durability::Now, |old| Ok(format!("[{old}]")))
            .unwrap();
        assert_eq!(containers.get(&web.id).unwrap().unwrap().record, "[{}]");
    }
}

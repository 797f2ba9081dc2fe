//! Volume rows, and which containers use which volume.
//!
//! The files of a volume are the engine's.

use std::collections::BTreeMap;

use model::ContainerId;
use rusqlite::Row;

use super::{Db, DbError, Durability, Text, Tx};

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
    /// There is no such row.
    #[error("no such volume: {0}")]
    NoSuchVolume(String),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The table of volumes.
#[derive(Debug, Clone, Copy)]
pub struct Volumes<'s> {
    pub(crate) db: &'s Db,
}

const COLUMNS: &str = "name, driver, anonymous, labels, options, created_ns";

impl Volumes<'_> {
    /// Adds the volume unless there is one of that name; returns the row that is there now.
    ///
    /// # Errors
    /// The database.
    pub fn ensure(&self, row: &VolumeRow) -> Result<VolumeRow, DbError> {
        self.db.write("create a volume", Durability::Now, |tx| {
            if let Some(there) = by_name(tx, &row.name)? {
                return Ok(there);
            }
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
            Ok(row.clone())
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

    /// Notes that `container` uses these volumes, so that none of them can be removed before it.
    ///
    /// # Errors
    /// One of them is gone.
    pub fn attach(&self, container: &ContainerId, names: &[&str]) -> Result<(), VolumeRowError> {
        self.db.write("use volumes", Durability::Now, |tx| {
            names.iter().try_for_each(|name| attach(tx, container, name))
        })
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

    /// Removes the row of a volume that nobody uses.
    ///
    /// # Errors
    /// It is in use, or there is none.
    pub fn remove(&self, name: &str) -> Result<(), VolumeRowError> {
        self.db.write("remove a volume", Durability::Now, |tx| {
            let by = users(tx, name)?;
            if !by.is_empty() {
                return Err(VolumeRowError::InUse { name: name.to_owned(), by });
            }
            match tx.execute("DELETE FROM volumes WHERE name = ?1", [name])? {
                0 => Err(VolumeRowError::NoSuchVolume(name.to_owned())),
                _ => Ok(()),
            }
        })
    }
}

fn first(ids: &[ContainerId]) -> String {
    ids.first().map(ToString::to_string).unwrap_or_default()
}

fn users(tx: &Tx<'_>, name: &str) -> Result<Vec<ContainerId>, DbError> {
    tx.all("SELECT container FROM volume_uses WHERE volume = ?1", [name], |row| {
        Ok(row.get::<_, Text<_>>(0)?.0)
    })
}

fn attach(tx: &Tx<'_>, container: &ContainerId, name: &str) -> Result<(), VolumeRowError> {
    if by_name(tx, name)?.is_none() {
        return Err(VolumeRowError::NoSuchVolume(name.to_owned()));
    }
    tx.execute(
        "INSERT OR IGNORE INTO volume_uses (volume, container) VALUES (?1, ?2)",
        (name, Text(*container)),
    )?;
    Ok(())
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

    #[test]
    fn a_volume_in_use_stays() {
        let (_dir, db) = scratch();
        let volumes = Volumes { db: &db };
        let web = row(1, "web");
        Containers { db: &db }.insert(&web, Durability::Now).unwrap();
        assert_eq!(volumes.ensure(&volume("data")).unwrap(), volume("data"));
        volumes.attach(&web.id, &["data", "data"]).unwrap();
        assert_eq!(volumes.users("data").unwrap(), [web.id]);
        assert_eq!(volumes.of_container(&web.id).unwrap(), [volume("data")]);
        assert!(
            matches!(volumes.remove("data"), Err(VolumeRowError::InUse { by, .. }) if by == [web.id])
        );
        db.write("test", Durability::Now, |tx| delete(tx, &web.id)).unwrap();
        volumes.remove("data").unwrap();
        assert!(matches!(volumes.remove("data"), Err(VolumeRowError::NoSuchVolume(_))));
    }

    #[test]
    fn the_first_creation_of_a_volume_wins() {
        let (_dir, db) = scratch();
        let volumes = Volumes { db: &db };
        volumes.ensure(&volume("data")).unwrap();
        let second = VolumeRow { created_ns: 2, ..volume("data") };
        assert_eq!(volumes.ensure(&second).unwrap().created_ns, 1);
        assert!(matches!(
            volumes.attach(&ContainerId::from_random([9; 32]), &["nothing"]),
            Err(VolumeRowError::NoSuchVolume(_))
        ));
    }
}

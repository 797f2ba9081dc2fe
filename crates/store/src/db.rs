//! The metadata database: one SQLite file in WAL mode, shared by every dhow process on the root.
//!
//! Owns the connection, transactions, retries and the error that a caller sees. The tables are in
//! `schema`, the rows in one module per noun. `docs/design/store.md` says why several processes
//! may write one file and what would break it.

pub mod addresses;
pub mod containers;
pub(crate) mod id_ranges;
pub mod networks;
pub mod ports;
mod schema;
mod text;
pub mod volumes;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Params, Row, Transaction, TransactionBehavior};
use rustix::fs::FlockOperation;

pub(crate) use text::Text;

use crate::reserve::Reserve;

/// Longest wait for other writers: the busy handler gives up after this many naps.
const BUSY_NAPS: i32 = 15_000;
const NAP_STEP: u64 = 100;
const NAP_MAX: u64 = 2_000;
/// `BEGIN` is tried again this often on the kinds of "busy" that skip the busy handler.
const BEGIN_TRIES: u32 = 200;
/// A fresh process reads the whole WAL before its first query (0.2 ms for a megabyte), and every
/// checkpoint costs two flushes: 256 pages are a megabyte.
const CHECKPOINT_PAGES: i64 = 256;
/// Most pages are looked at once, and the kernel has them: fresh memory for each would cost more
/// than a second read.
const CACHE_KIB: i64 = 256;
const STATEMENTS: usize = 64;

/// When a commit is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before the call returns (`synchronous=FULL`): for what is reported as done.
    Now,
    /// With the next `Now`, or within a checkpoint (`synchronous=NORMAL`): a power cut may undo it,
    /// never tear it. For what the kernel forgets in a power cut as well.
    Eventual,
}

/// The database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The file cannot be opened or set up.
    #[error("open {path}: {source}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The lock file beside it.
    #[error("lock {path}: {source}")]
    Setup {
        /// The lock file.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// The file's content is not a sound database.
    #[error(
        "{path} is damaged ({detail}): stop every dhow process of this root, move {path}* to another \
         directory, then load the images again with: tar -C {images} -c . | dhow load"
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
        /// The image layout, which does not depend on the database.
        images: PathBuf,
    },
    /// Written by a newer dhow.
    #[error("{path} has schema {found}, this dhow knows up to {known}: use the newer dhow")]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Others wrote all the time.
    #[error("{operation}: {path} stayed locked by other processes")]
    Busy {
        /// What was tried.
        operation: &'static str,
        /// The database file.
        path: PathBuf,
    },
    /// A connection does not survive `fork`: SQLite's locks belong to the process.
    #[error("{path} was opened before a fork and cannot be used after it")]
    Forked {
        /// The database file.
        path: PathBuf,
    },
    /// Anything else that SQLite says.
    #[error("{operation}: {path}: {source}")]
    Sql {
        /// What was tried.
        operation: &'static str,
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// Whether a disk without space is the reason.
pub(crate) trait IsFull {
    fn is_full(&self) -> bool;
}

impl IsFull for DbError {
    fn is_full(&self) -> bool {
        match self {
            Self::Sql { source, .. } | Self::Open { source, .. } => {
                source.sqlite_error_code() == Some(ErrorCode::DiskFull)
            }
            Self::Setup { .. }
            | Self::Damaged { .. }
            | Self::TooNew { .. }
            | Self::Busy { .. }
            | Self::Forked { .. } => false,
        }
    }
}

/// The database of one root; opened by the first query.
#[derive(Debug)]
pub(crate) struct Db {
    path: PathBuf,
    images: PathBuf,
    slot: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    pid: u32,
    durability: Durability,
    /// How many transactions this process has begun that write.
    written: u64,
}

/// A moment of the database as one process sees it: while two of them are alike nobody has written, neither this
/// process nor another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Changes with what other connections commit, and with nothing else (`PRAGMA data_version`).
    others: i64,
    own: u64,
}

/// One transaction; its statements are prepared once per connection.
#[derive(Debug)]
pub(crate) struct Tx<'c> {
    connection: &'c Connection,
    operation: &'static str,
    db: &'c Db,
    written: u64,
}

impl Db {
    pub(crate) fn new(path: PathBuf, images: PathBuf) -> Self {
        Self { path, images, slot: Mutex::new(None) }
    }

    /// Runs `body` on one consistent view of the data.
    pub(crate) fn read<T, E: From<DbError>>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut slot = self.lock();
        let open = self.opened(&mut slot)?;
        let transaction = self.begin(open, operation, TransactionBehavior::Deferred)?;
        body(&Tx { connection: &transaction, operation, db: self, written: open.written })
    }

    /// Runs `body` as the only writer; commits if it returns `Ok`, else nothing has happened.
    ///
    /// `body` must be short: it holds up the writers of every other process.
    pub(crate) fn write<T, E: From<DbError>>(
        &self,
        operation: &'static str,
        durability: Durability,
        body: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut slot = self.lock();
        let open = self.opened(&mut slot)?;
        open.set_durability(durability).map_err(|e| self.error(operation, e))?;
        open.written += 1;
        let transaction = self.begin(open, operation, TransactionBehavior::Immediate)?;
        let value =
            body(&Tx { connection: &transaction, operation, db: self, written: open.written })?;
        transaction.commit().map_err(|e| self.error(operation, e))?;
        Ok(value)
    }

    /// Like [`Db::write`], for what frees space: on a full disk it is tried again with the space that
    /// was kept back for it.
    pub(crate) fn write_freeing<T, E: From<DbError> + IsFull>(
        &self,
        operation: &'static str,
        durability: Durability,
        reserve: &Reserve,
        mut body: impl FnMut(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match self.write(operation, durability, &mut body) {
            Err(error) if error.is_full() && reserve.give() => {
                self.write(operation, durability, body)
            }
            written => written,
        }
    }

    /// Reads every page; slow, for `check` commands.
    pub(crate) fn check(&self) -> Result<(), DbError> {
        let found: Vec<String> = self.read("check the database", |tx| {
            tx.all("PRAGMA integrity_check(10)", [], |row| row.get(0))
        })?;
        if found == ["ok"] { Ok(()) } else { Err(self.damaged(found.join("; "))) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        // A panic inside a transaction has rolled it back (`Transaction`'s drop), so the
        // connection is sound.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened<'s>(&self, slot: &'s mut Option<Open>) -> Result<&'s mut Open, DbError> {
        let open = match slot {
            Some(open) => open,
            None => slot.insert(self.open()?),
        };
        if open.pid == std::process::id() {
            Ok(open)
        } else {
            Err(DbError::Forked { path: self.path.clone() })
        }
    }

    fn open(&self) -> Result<Open, DbError> {
        let at_open = |e| self.open_error(e);
        if let Some(connection) = self.connect(OpenFlags::empty()).map_err(at_open)?
            && version(&connection).map_err(at_open)? == schema::VERSION
        {
            return Ok(Open::new(connection));
        }
        self.set_up()
    }

    /// Creates or migrates the file. One process at a time: the lock is on a file of its own,
    /// since opening and closing the database file by another descriptor would drop SQLite's locks.
    fn set_up(&self) -> Result<Open, DbError> {
        let lock_path = self.path.with_extension("db-setup");
        let at_setup = |source| DbError::Setup { path: lock_path.clone(), source };
        let at_open = |e| self.open_error(e);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(at_setup)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|e| at_setup(e.into()))?;
        let was_made = lock.metadata().map_err(at_setup)?.len() > 0;
        if was_made && !self.path.exists() {
            return Err(self.damaged("the file is gone".to_owned()));
        }
        let Some(mut connection) = self.connect(OpenFlags::SQLITE_OPEN_CREATE).map_err(at_open)?
        else {
            return Err(self.damaged("the file is gone".to_owned()));
        };
        let found = version(&connection).map_err(at_open)?;
        if found > schema::VERSION {
            return Err(DbError::TooNew { path: self.path.clone(), found, known: schema::VERSION });
        }
        // A database that lost its content looks like a new one; the marker tells them apart.
        if found == 0 && was_made {
            return Err(self.damaged("the file is empty".to_owned()));
        }
        schema::migrate(&mut connection).map_err(at_open)?;
        rustix::io::pwrite(&lock, b"made\n", 0).map_err(|e| at_setup(e.into()))?;
        Ok(Open::new(connection))
    }

    /// `None`: there is no file, and `extra` does not ask for one.
    fn connect(&self, extra: OpenFlags) -> rusqlite::Result<Option<Connection>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | extra;
        let mut opened = Connection::open_with_flags(&self.path, flags);
        let code = opened.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
        if code == Some(ErrorCode::CannotOpen) {
            if !self.path.exists() {
                return Ok(None);
            }
            // Another process may have made the file between the two looks.
            opened = Connection::open_with_flags(&self.path, flags);
        }
        let mut connection = opened?;
        connection.busy_handler(Some(nap))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        // Every command is a process: the last one to leave would flush and delete the WAL each time.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Some(connection))
    }

    fn begin<'c>(
        &self,
        open: &'c Open,
        operation: &'static str,
        behavior: TransactionBehavior,
    ) -> Result<Transaction<'c>, DbError> {
        let mut tries = 0;
        loop {
            match Transaction::new_unchecked(&open.connection, behavior) {
                Ok(transaction) => return Ok(transaction),
                Err(error) if is_transient(&error) && tries < BEGIN_TRIES => {
                    nap(tries.cast_signed());
                    tries += 1;
                }
                Err(error) => return Err(self.error(operation, error)),
            }
        }
    }

    fn damaged(&self, detail: String) -> DbError {
        DbError::Damaged { path: self.path.clone(), detail, images: self.images.clone() }
    }

    fn open_error(&self, source: rusqlite::Error) -> DbError {
        if is_damage(&source) {
            self.damaged(source.to_string())
        } else {
            DbError::Open { path: self.path.clone(), source }
        }
    }

    fn error(&self, operation: &'static str, source: rusqlite::Error) -> DbError {
        if is_damage(&source) {
            self.damaged(format!("{operation}: {source}"))
        } else if is_transient(&source) {
            DbError::Busy { operation, path: self.path.clone() }
        } else {
            DbError::Sql { operation, path: self.path.clone(), source }
        }
    }
}

impl Open {
    fn new(connection: Connection) -> Self {
        // SQLite starts with FULL.
        let pid = std::process::id();
        Self { connection, pid, durability: Durability::Now, written: 0 }
    }

    fn set_durability(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.durability == durability {
            return Ok(());
        }
        let word = match durability {
            Durability::Now => "FULL",
            Durability::Eventual => "NORMAL",
        };
        self.connection.pragma_update(None, "synchronous", word)?;
        self.durability = durability;
        Ok(())
    }
}

impl Tx<'_> {
    /// The moment that this transaction sees. What it reads later is of the same one.
    pub(crate) fn stamp(&self) -> Result<Stamp, DbError> {
        let others = self.first("PRAGMA data_version", [], |row| row.get(0))?;
        Ok(Stamp { others: others.unwrap_or_default(), own: self.written })
    }

    /// Runs a statement; returns how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, DbError> {
        let run = || self.connection.prepare_cached(sql)?.execute(params);
        run().map_err(|e| self.db.error(self.operation, e))
    }

    /// The first row.
    pub(crate) fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, DbError> {
        let run = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            rows.next()?.map(map).transpose()
        };
        run().map_err(|e| self.db.error(self.operation, e))
    }

    /// Every row.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, DbError> {
        let run = || {
            self.connection
                .prepare_cached(sql)?
                .query_map(params, map)?
                .collect::<Result<Vec<T>, _>>()
        };
        run().map_err(|e| self.db.error(self.operation, e))
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Waits a little, longer each time and not in step with the other waiters.
///
/// SQLite's own handler naps 1 to 100 ms; transactions here take a tenth of one.
fn nap(naps: i32) -> bool {
    let step = u64::from(naps.unsigned_abs()).saturating_add(1);
    let mixed =
        (u64::from(std::process::id()) << 32 | step).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let base = step.saturating_mul(NAP_STEP).min(NAP_MAX);
    std::thread::sleep(Duration::from_micros(base + mixed % base));
    naps < BUSY_NAPS
}

/// "Try again": another process writes, recovers the WAL, or was faster.
fn is_transient(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => true,
        Some(_) => false,
        // A cell that does not read as what the schema says.
        None => matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        ),
    }
}

/// A database of its own for each test of the row modules.
#[cfg(test)]
pub(crate) fn scratch() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::new(dir.path().join("dhow.db"), dir.path().join("images"));
    (dir, db)
}

/// The path for messages.
impl AsRef<Path> for Db {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;

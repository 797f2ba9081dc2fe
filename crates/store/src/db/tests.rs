//! Tests of the connection: damage, versions, threads, durability.

use super::*;

fn insert(db: &Db, value: &str) -> Result<(), DbError> {
    db.write("test", Durability::Eventual, |tx| {
        tx.execute("INSERT INTO networks (id, name, record) VALUES (?1, ?1, '')", [value])?;
        Ok(())
    })
}

fn count(db: &Db) -> Result<i64, DbError> {
    db.read("test", |tx| {
        tx.first("SELECT count(*) FROM networks", [], |row| row.get(0))
            .map(Option::unwrap_or_default)
    })
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let (dir, db) = scratch();
    insert(&db, "a").unwrap();
    drop(db);
    let db = Db::new(dir.path().join("dhow.db"), dir.path().join("images"));
    assert_eq!(count(&db).unwrap(), 1);
    db.check().unwrap();
}

#[test]
fn a_failed_body_leaves_nothing() {
    let (_dir, db) = scratch();
    let failed: Result<(), DbError> = db.write("test", Durability::Now, |tx| {
        tx.execute("INSERT INTO networks (id, name, record) VALUES ('a', 'a', '')", [])?;
        Err(DbError::Forked { path: PathBuf::new() })
    });
    failed.unwrap_err();
    assert_eq!(count(&db).unwrap(), 0);
}

#[test]
fn every_kind_of_damage_is_named_with_the_file_and_the_way_out() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("zeroed", |path| std::fs::write(path, [0; 8192]).unwrap()),
        ("other content", |path| std::fs::write(path, "not a database".repeat(999)).unwrap()),
        ("emptied", |path| std::fs::write(path, "").unwrap()),
        ("removed", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (name, damage) in damages {
        let (dir, db) = scratch();
        insert(&db, "a").unwrap();
        let path = dir.path().join("dhow.db");
        // Everything into the main file, as after a checkpoint, then no WAL to recover from.
        db.lock()
            .as_ref()
            .unwrap()
            .connection
            .pragma_update(None, "wal_checkpoint", "TRUNCATE")
            .unwrap();
        drop(db);
        damage(&path);
        let db = Db::new(path.clone(), dir.path().join("images"));
        let error = count(&db).unwrap_err();
        assert!(matches!(error, DbError::Damaged { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(
            text.contains(path.to_str().unwrap()) && text.contains("dhow load"),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let (dir, db) = scratch();
    insert(&db, "a").unwrap();
    db.lock().as_ref().unwrap().connection.pragma_update(None, "user_version", 99).unwrap();
    let again = Db::new(dir.path().join("dhow.db"), PathBuf::new());
    assert!(matches!(count(&again), Err(DbError::TooNew { found: 99, .. })));
}

#[test]
fn an_older_file_gets_what_it_lacks() {
    let (dir, db) = scratch();
    insert(&db, "a").unwrap();
    let older = "DROP INDEX containers_auto_removed; DROP TABLE id_ranges; DROP TABLE mounted_layers; DROP TABLE mounted_images; ALTER TABLE ports DROP COLUMN last; PRAGMA user_version = 1";
    db.lock().as_ref().unwrap().connection.execute_batch(older).unwrap();
    let again = Db::new(dir.path().join("dhow.db"), PathBuf::new());
    assert_eq!(count(&again).unwrap(), 1);
    let sql = "SELECT 1 FROM sqlite_master WHERE name = 'containers_auto_removed'";
    let found = again.read("look", |tx| tx.first(sql, [], |_| Ok(()))).unwrap();
    assert_eq!(found, Some(()));
}

#[test]
fn a_connection_is_refused_in_a_forked_process() {
    let (_dir, db) = scratch();
    insert(&db, "a").unwrap();
    // What a child sees after fork: the connection, and another process id.
    db.lock().as_mut().unwrap().pid += 1;
    assert!(matches!(count(&db), Err(DbError::Forked { .. })));
}

/// The first commands on a new root, all at once: while one makes the file, others look for it.
#[test]
fn a_file_that_is_being_made_is_there_or_it_is_not() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let new = || Db::new(dir.path().join("dhow.db"), PathBuf::new());
        let look = || while new().connect(OpenFlags::empty()).unwrap().is_none() {};
        std::thread::scope(|scope| {
            scope.spawn(look);
            scope.spawn(look);
            assert_eq!(count(&new()).unwrap(), 0);
        });
    }
}

#[test]
fn threads_with_connections_of_their_own_lose_no_write() {
    const THREADS: usize = 8;
    const WRITES: usize = 50;
    let (dir, db) = scratch();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let path = dir.path().join("dhow.db");
            scope.spawn(move || {
                let own = Db::new(path, PathBuf::new());
                (0..WRITES).for_each(|n| insert(&own, &format!("{thread}-{n}")).unwrap());
            });
        }
    });
    assert_eq!(count(&db).unwrap(), i64::try_from(THREADS * WRITES).unwrap());
    db.check().unwrap();
}

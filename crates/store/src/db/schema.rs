//! The tables, and the steps that lead an older file to them.

use rusqlite::{Connection, TransactionBehavior};

/// `PRAGMA user_version` of a file with all of `STEPS`.
pub(super) const VERSION: i64 = 5;

/// Step `n` leads from version `n` to `n + 1`. Published steps never change.
const STEPS: [&str; 5] = [INITIAL, AUTO_REMOVED, ID_RANGES, MOUNTED_IMAGES, PORT_RANGES];

/// Digests and ids are text, so that a person with `sqlite3` can read them.
///
/// `counters` gives the layers their numbers, so that one that is in the mount table of a running
/// container is never given to another layer.
const INITIAL: &str = "
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX blobs_by_size ON blobs(size);

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE layers (
    number INTEGER PRIMARY KEY,
    diff_id TEXT NOT NULL UNIQUE,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    opaque INTEGER NOT NULL
);

CREATE TABLE images (
    id TEXT PRIMARY KEY,
    config BLOB NOT NULL,
    manifest TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    added_ns INTEGER NOT NULL
);
CREATE TABLE image_layers (
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL,
    chain_id TEXT NOT NULL,
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_by_diff ON image_layers(diff_id);
CREATE INDEX image_layers_by_chain ON image_layers(chain_id);

CREATE TABLE manifests (
    digest TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX manifests_by_image ON manifests(image);
CREATE TABLE manifest_blobs (
    manifest TEXT NOT NULL REFERENCES manifests(digest) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    blob TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (manifest, position)
) WITHOUT ROWID;
CREATE INDEX manifest_blobs_by_blob ON manifest_blobs(blob);

CREATE TABLE tags (
    reference TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    manifest TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags(image);
CREATE TABLE repo_digests (
    reference TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX repo_digests_by_image ON repo_digests(image);

CREATE TABLE leases (
    id TEXT PRIMARY KEY
) WITHOUT ROWID;
CREATE TABLE lease_blobs (
    lease TEXT NOT NULL REFERENCES leases(id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    PRIMARY KEY (lease, digest)
) WITHOUT ROWID;
CREATE TABLE lease_layers (
    lease TEXT NOT NULL REFERENCES leases(id) ON DELETE CASCADE,
    diff_id TEXT NOT NULL,
    PRIMARY KEY (lease, diff_id)
) WITHOUT ROWID;

CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image TEXT,
    created_ns INTEGER NOT NULL,
    auto_remove INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX containers_by_image ON containers(image);
CREATE TABLE container_layers (
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL,
    PRIMARY KEY (container, position)
) WITHOUT ROWID;
CREATE INDEX container_layers_by_diff ON container_layers(diff_id);

CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    driver TEXT NOT NULL,
    anonymous INTEGER NOT NULL,
    labels TEXT NOT NULL,
    options TEXT NOT NULL,
    created_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE volume_uses (
    volume TEXT NOT NULL REFERENCES volumes(name),
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (volume, container)
) WITHOUT ROWID;
CREATE INDEX volume_uses_by_container ON volume_uses(container);

CREATE TABLE networks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
);

CREATE TABLE addresses (
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (network, address)
) WITHOUT ROWID;
CREATE INDEX addresses_by_container ON addresses(container);
CREATE TABLE ports (
    protocol TEXT NOT NULL,
    port INTEGER NOT NULL,
    host_ip TEXT NOT NULL,
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (protocol, port, host_ip)
) WITHOUT ROWID;
CREATE INDEX ports_by_container ON ports(container);
";

/// Whoever makes a container looks for those that should have gone, and must not read every record
/// for that.
const AUTO_REMOVED: &str =
    "CREATE INDEX containers_auto_removed ON containers(auto_remove, id) WHERE auto_remove;";

/// Ids of the host that containers with a user namespace of their own have, by the first of each.
const ID_RANGES: &str = "
CREATE TABLE id_ranges (
    first INTEGER PRIMARY KEY,
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE
);
CREATE INDEX id_ranges_by_container ON id_ranges(container);
";

/// Images that containers have mounted, and the layers that they keep for that.
const MOUNTED_IMAGES: &str = "
CREATE TABLE mounted_images (
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    image TEXT NOT NULL,
    PRIMARY KEY (container, image)
) WITHOUT ROWID;
CREATE INDEX mounted_images_by_image ON mounted_images(image);
CREATE TABLE mounted_layers (
    container TEXT NOT NULL,
    image TEXT NOT NULL,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL,
    PRIMARY KEY (container, image, position),
    FOREIGN KEY (container, image) REFERENCES mounted_images(container, image) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX mounted_layers_by_diff ON mounted_layers(diff_id);
";

/// A lease is of a range of ports; until then nobody leased any.
const PORT_RANGES: &str = "ALTER TABLE ports ADD COLUMN last INTEGER NOT NULL DEFAULT 0;";

/// Runs the missing steps in one transaction. The caller holds the setup lock.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = super::version(&transaction)?;
    let done = usize::try_from(found).unwrap_or_default();
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

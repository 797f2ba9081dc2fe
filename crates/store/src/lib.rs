//! Everything at rest: blobs by digest, snapshots, layer apply and diff, metadata, leases and garbage collection.

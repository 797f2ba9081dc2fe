//! Test helpers: base images, temporary state roots, leak counting.

//! Creates, limits, freezes, reads and kills cgroups: v2, v1, hybrid.

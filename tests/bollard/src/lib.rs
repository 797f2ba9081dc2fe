//! Nothing: bollard's tests are what this package is for.

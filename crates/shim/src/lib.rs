//! The guardian process of one container, its state machine, and the client that talks to it.

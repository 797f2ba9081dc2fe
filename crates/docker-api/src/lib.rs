//! Docker's wire types and an asynchronous client over every transport.

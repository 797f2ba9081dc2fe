//! The only unsafe code and the only launcher of foreign programs.

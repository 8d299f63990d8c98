//! The one thread that owns the cache.

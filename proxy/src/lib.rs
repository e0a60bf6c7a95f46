//! A proxy that holds one exact bandwidth budget per user over all of that user's connections.

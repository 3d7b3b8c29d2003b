//! Compares the client with what an SDK sent and read, as stored in `tests/recorded.json`.

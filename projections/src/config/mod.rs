//! `millstream.toml`: raw, validated, built.

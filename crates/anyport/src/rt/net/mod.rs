//! Names of hosts.
pub mod resolve;

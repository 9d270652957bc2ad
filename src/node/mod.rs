//! Assembly: builds the rooms of one node in order, plugs them together, and takes them down in order.
//!
//! Start: lock the data folder, open the key ring, open the journals (each recovers), start consensus, then
//! the listeners. Stop: listeners first, so that nothing new is accepted; then consensus; the journals are
//! durable at every answer and need no goodbye. The only real clock and randomness are here. While it runs: `reload` takes
//! changed files, and `cutting` ends the connections of whoever is trusted no more.

mod assemble;
mod bell;
mod courier;
mod cutting;
mod exposition;
mod figures;
mod hook;
mod lanes;
mod lists;
mod lock;
mod logs;
mod monitor;
mod own;
pub(crate) mod peers;
mod post;
mod pushes;
mod ready;
mod rebuild;
mod reload;
pub(crate) mod rooms;
mod system;
mod upkeep;
mod webhook;

pub use assemble::{END_WITH_PARENT, run};
pub use lists::{ListState, check_lists};
pub use own::{check_config, check_data};
pub use rebuild::{SetAside, rebuild};
pub use system::{SystemClock, SystemEntropy};

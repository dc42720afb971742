//! Options of what is computed once and kept.

use clap::Args;

use crate::size::parse_size;

/// What is kept of what was computed.
#[derive(Debug, Clone, Default, Args)]
pub struct CacheArgs {
    /// Compute everything anew, and keep nothing of it on the disk. Otherwise what the frozen part of a network makes
    /// of each photo is kept in the user's cache folder (~/.cache/rekindle/activations), and a second run on the same
    /// photos begins where it is needed.
    #[arg(long)]
    pub no_cache: bool,
    /// The most that kept values may take of the disk, as 500MB or 20GB; those that were not used for longest go first.
    /// A quarter of the free disk when not given.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub cache_budget: Option<u64>,
}

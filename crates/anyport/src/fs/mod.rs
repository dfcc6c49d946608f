//! Files: opened here, since some systems want to know at the opening that operations on the file
//! will overlap; then associated with a port.

mod handle;
mod open;

pub use handle::FileHandle;
pub use open::{File, OpenOptions};

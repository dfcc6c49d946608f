//! `#[anyport::main]` and `#[anyport::test]`: an `async fn` that runs on a runtime of its own.
//!
//! `anyport` re-exports both; they expand to paths of that crate. What they expand to is made in
//! `expand.rs`, out of reach of the compiler's own token streams, so that tests can call it.

mod expand;
mod function;
mod options;

use expand::{Attribute, expand};
use proc_macro::TokenStream;

/// Makes an `async fn main` the main function: builds a runtime and runs the function on it.
///
/// ```ignore
/// #[anyport::main]
/// async fn main() -> Result<(), anyport::Error> {
///     serve().await
/// }
/// ```
///
/// stands for
///
/// ```ignore
/// fn main() -> Result<(), anyport::Error> {
///     async fn main() -> Result<(), anyport::Error> {
///         serve().await
///     }
///     match anyport::rt::Runtime::builder().build() {
///         Ok(runtime) => runtime.block_on(main()),
///         Err(error) => panic!("#[anyport::main] cannot build the runtime: {error}"),
///     }
/// }
/// ```
///
/// # Options
///
/// | option | value | as |
/// |---|---|---|
/// | `workers` | a whole number: threads | `Builder::workers` |
/// | `concurrency` | a whole number: threads that run at a time | `Builder::concurrency` |
/// | `backend` | `"io_uring"`, `"readiness"` or `"windows"` | `Builder::backend` |
///
/// What is not given has the builder's default.
///
/// ```ignore
/// #[anyport::main(workers = 8, concurrency = 4, backend = "readiness")]
/// async fn main() {
///     serve().await;
/// }
/// ```
///
/// # Panics
/// When the runtime cannot be built, with the reason; also where the function returns a `Result`,
/// whose error type need not be able to hold it.
///
/// # Errors
/// It does not compile on a function that is not `async`, has arguments or is generic, nor with an
/// option that there is not, is given twice or has a value of another type.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::Main, options.into(), item.into()).into()
}

/// Makes an `async fn` a test that runs on a runtime of its own.
///
/// ```ignore
/// #[anyport::test]
/// async fn a_name_has_an_address() {
///     assert!(anyport::rt::net::resolve::lookup_host("localhost:80").await.is_ok());
/// }
///
/// #[anyport::test(workers = 1)]
/// #[should_panic = "by design"]
/// async fn a_panic_is_the_tests() {
///     panic!("by design");
/// }
/// ```
///
/// It takes the options of [`main`](macro@main), and `#[ignore]` and `#[should_panic]` stand beside
/// it. `#[test]` does not: it is that as well.
///
/// # Panics
/// The test does, when its runtime cannot be built.
///
/// # Errors
/// As for [`main`](macro@main).
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::Test, options.into(), item.into()).into()
}

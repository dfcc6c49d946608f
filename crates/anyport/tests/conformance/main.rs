//! What a completion port promises, statement by statement, on every backend.
//!
//! Each function is named after the number of the statement that it tests and what it proves. It
//! is written once; the list below makes a test of it for each backend. A backend that this
//! machine does not offer is reported as not run, unless `ANYPORT_REQUIRE` names it.

mod accepting;
mod cancelling;
mod files;
mod ours;
mod packets;
mod port;
mod receiving;
mod world;

/// Makes a test of each statement for each backend.
macro_rules! statements {
    ($($file:ident { $($name:ident,)* })*) => {
        const STATEMENTS: &[&str] = &[$($(stringify!($name),)*)*];

        mod io_uring {
            $($(
                #[test]
                fn $name() {
                    crate::world::run(anyport::BackendKind::IoUring, crate::$file::$name);
                }
            )*)*
        }

        mod readiness {
            $($(
                #[test]
                fn $name() {
                    crate::world::run(anyport::BackendKind::Readiness, crate::$file::$name);
                }
            )*)*
        }
    };
}

statements! {
    port {
    }
    packets {
    }
    receiving {
    }
    accepting {
    }
    cancelling {
    }
    files {
    }
    ours {
    }
}

/// The statements that hold for the Rust interface; the others are of the C interface.
const NUMBERS: [u32; 38] = [
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 32,
    33, 34, 35, 37, 38, 40, 41, 42, 45, 46, 47, 48,
];

#[test]
fn every_statement_is_covered() {
    let number = |name: &str| name.get(1..3).and_then(|n| n.parse::<u32>().ok());
    for name in STATEMENTS {
        let known = number(name).is_some_and(|n| NUMBERS.contains(&n));
        assert!(
            known && name.starts_with('s'),
            "{name} has no statement's number"
        );
    }
    let missing: Vec<u32> = NUMBERS
        .into_iter()
        .filter(|n| !STATEMENTS.iter().any(|name| number(name) == Some(*n)))
        .collect();
    assert!(missing.is_empty(), "statements without a test: {missing:?}");
}

//! The shape that the backend takes, by the features that it may use: with each that is missing
//! the next best on io_uring, or none, and then why not.

use super::features::{Feature, Features};
use super::probe::{Offer, ask};
use super::ring::Issuers;
use std::fmt::Write;

/// How threads share the rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sharing {
    Owned,
    Shared,
}

/// See the module documentation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) sharing: Sharing,
    /// Who may submit to plain rings, and whom completions interrupt.
    pub(super) plain_issuers: Issuers,
    /// The kernel is lent buffers.
    pub(super) lends: bool,
    /// A stream is one request that receives again and again.
    pub(super) receives_again: bool,
    /// An accept stream is one request that accepts again and again.
    pub(super) accepts_again: bool,
    /// What it does without, in words for a log line; empty when that is nothing.
    pub(super) note: String,
}

impl Shape {
    /// Asks the kernel and the environment; the error is the reason why io_uring will not do.
    pub(super) fn of_this_process() -> Result<Self, String> {
        let without = Features::taken_away().map_err(|e| e.to_string())?;
        // `ANYPORT_RINGS=shared` asks for the reference.
        let asks_for_shared =
            std::env::var_os("ANYPORT_RINGS").is_some_and(|name| name == "shared");
        Shape::choose(&ask()?, without, asks_for_shared)
    }

    fn choose(offer: &Offer, without: Features, asks_for_shared: bool) -> Result<Self, String> {
        let has = |feature| offer.features.has(feature) && !without.has(feature);
        let mut note = String::new();
        for feature in Feature::ALL.into_iter().filter(|feature| !has(*feature)) {
            if feature == Feature::MultishotReceive && !has(Feature::BufferRings) {
                // There is none without them, and they are named.
                continue;
            }
            let is_taken_away = without.has(feature);
            let Some(instead) = feature.instead() else {
                return Err(refusal(feature, offer, is_taken_away));
            };
            let why = if is_taken_away { ", as ANYPORT_WITHOUT asks" } else { "" };
            // Writing to a string does not fail.
            let _ = write!(note, "; without {}{why}: {instead}", feature.name());
        }
        if asks_for_shared {
            note.push_str("; plain rings, as ANYPORT_RINGS asks");
        }
        let is_owned = has(Feature::OwnerRings) && has(Feature::CancelAny) && !asks_for_shared;
        Ok(Shape {
            sharing: if is_owned { Sharing::Owned } else { Sharing::Shared },
            plain_issuers: match has(Feature::CoopTaskrun) {
                true => Issuers::Any,
                false => Issuers::AnyInterrupted,
            },
            lends: has(Feature::BufferRings),
            receives_again: has(Feature::MultishotReceive),
            accepts_again: has(Feature::MultishotAccept),
            note,
        })
    }
}

/// Why io_uring will not do without a feature that is missing.
fn refusal(feature: Feature, offer: &Offer, is_taken_away: bool) -> String {
    let name = feature.name();
    match feature {
        _ if is_taken_away => {
            format!("ANYPORT_WITHOUT takes {name} away, and io_uring will not do without it")
        }
        Feature::Linux61 => format!("io_uring of this kernel is older than Linux 6.1 (no {name})"),
        Feature::NoDrop => format!("io_uring of this kernel may drop completions (no {name})"),
        Feature::Opcodes => {
            format!("io_uring of this kernel lacks {name}: {}", offer.missing_opcodes.join(", "))
        }
        _ => format!("io_uring of this kernel has no {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Offer {
        Offer { features: Features::of(Feature::ALL), missing_opcodes: Vec::new() }
    }

    fn kernel_without(feature: Feature) -> Offer {
        Offer { features: all().features.with(feature, false), ..all() }
    }

    #[test]
    fn with_all_features_threads_own_their_rings_and_there_is_nothing_to_say() {
        let shape = Shape::choose(&all(), Features::default(), false).expect("all is there");
        assert_eq!((shape.sharing, shape.plain_issuers), (Sharing::Owned, Issuers::Any));
        assert!(shape.lends && shape.receives_again && shape.accepts_again);
        assert_eq!(shape.note, "");
    }

    #[test]
    fn whatever_is_missing_the_line_names_it_and_who_took_it() {
        for feature in Feature::ALL {
            let of_kernel = Shape::choose(&kernel_without(feature), Features::default(), false);
            let taken_away = Shape::choose(&all(), Features::of([feature]), false);
            for (shape, is_taken_away) in [(of_kernel, false), (taken_away, true)] {
                assert_eq!(shape.is_ok(), feature.instead().is_some(), "{feature:?}");
                let said = shape.map_or_else(|reason| reason, |shape| shape.note);
                assert!(said.contains(feature.name()), "{feature:?}: {said}");
                assert_eq!(said.contains("ANYPORT_WITHOUT"), is_taken_away, "{feature:?}: {said}");
            }
        }
    }

    #[test]
    fn what_is_missing_changes_the_shape_by_that_alone() {
        let full = Shape::choose(&all(), Features::default(), false).expect("all is there");
        let check = |feature, expected: Shape| {
            let shape = Shape::choose(&kernel_without(feature), Features::default(), false)
                .expect("it does");
            assert_eq!(Shape { note: String::new(), ..shape }, expected, "{feature:?}");
        };
        let full = || full.clone();
        check(Feature::OwnerRings, Shape { sharing: Sharing::Shared, ..full() });
        check(Feature::CancelAny, Shape { sharing: Sharing::Shared, ..full() });
        check(Feature::CoopTaskrun, Shape { plain_issuers: Issuers::AnyInterrupted, ..full() });
        check(Feature::BufferRings, Shape { lends: false, ..full() });
        check(Feature::MultishotReceive, Shape { receives_again: false, ..full() });
        check(Feature::MultishotAccept, Shape { accepts_again: false, ..full() });
    }

    #[test]
    fn without_buffers_it_goes_without_saying_that_there_is_no_multishot_receive() {
        let both = Features::of([Feature::BufferRings, Feature::MultishotReceive]);
        let shape = Shape::choose(&all(), both, false).expect("it does");
        assert!(!shape.lends && !shape.receives_again);
        assert!(!shape.note.contains(Feature::MultishotReceive.name()), "{}", shape.note);
    }

    #[test]
    fn the_reference_goes_with_whatever_else_is_missing() {
        let without = Features::of([Feature::OwnerRings, Feature::MultishotAccept]);
        let shape = Shape::choose(&all(), without, true).expect("it does");
        assert_eq!((shape.sharing, shape.accepts_again), (Sharing::Shared, false));
        for word in ["owner_rings", "multishot_accept", "ANYPORT_RINGS"] {
            assert!(shape.note.contains(word), "{}", shape.note);
        }
    }

    #[test]
    fn missing_opcodes_are_named() {
        let offer = Offer { missing_opcodes: vec!["accept"], ..kernel_without(Feature::Opcodes) };
        let reason = Shape::choose(&offer, Features::default(), false).expect_err("it will not do");
        assert!(reason.contains("accept"), "{reason}");
    }
}

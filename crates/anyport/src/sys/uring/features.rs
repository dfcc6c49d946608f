//! The features of io_uring that the backend uses, by the names that `ANYPORT_WITHOUT` and log
//! lines have for them.
//!
//! `probe` finds out which of them the kernel has, `shape` what the backend does without one.

use crate::error::{Error, ErrorKind};

/// One feature; `probe` tries each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Feature {
    /// Whatever else came with Linux 6.1, by an opcode that earlier kernels have not.
    Linux61,
    /// An entry that is refused does not keep those behind it from being seen.
    SubmitAll,
    /// A full completion queue loses nothing.
    NoDrop,
    /// A wait can be bounded by a time.
    ExtArg,
    /// Every operation of `translate`.
    Opcodes,
    /// A message from ring to ring that leaves no completion behind: the bell.
    MsgRing,
    /// Rings that one thread owns, which a message wakes.
    OwnerRings,
    /// One cancel for all that a ring has under way.
    CancelAny,
    /// Completions of plain rings that interrupt nobody.
    CoopTaskrun,
    /// Groups of buffers that the kernel picks from.
    BufferRings,
    /// One request that receives again and again.
    MultishotReceive,
    /// One request that accepts again and again.
    MultishotAccept,
}

impl Feature {
    pub(super) const ALL: [Feature; 12] = [
        Feature::Linux61,
        Feature::SubmitAll,
        Feature::NoDrop,
        Feature::ExtArg,
        Feature::Opcodes,
        Feature::MsgRing,
        Feature::OwnerRings,
        Feature::CancelAny,
        Feature::CoopTaskrun,
        Feature::BufferRings,
        Feature::MultishotReceive,
        Feature::MultishotAccept,
    ];

    /// What `ANYPORT_WITHOUT` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Feature::Linux61 => "linux_6_1",
            Feature::SubmitAll => "submit_all",
            Feature::NoDrop => "nodrop",
            Feature::ExtArg => "ext_arg",
            Feature::Opcodes => "opcodes",
            Feature::MsgRing => "msg_ring",
            Feature::OwnerRings => "owner_rings",
            Feature::CancelAny => "cancel_any",
            Feature::CoopTaskrun => "coop_taskrun",
            Feature::BufferRings => "buffer_rings",
            Feature::MultishotReceive => "multishot_receive",
            Feature::MultishotAccept => "multishot_accept",
        }
    }

    /// What the backend does without it; `None` where it cannot do without.
    pub(super) fn instead(self) -> Option<&'static str> {
        match self {
            Feature::Linux61
            | Feature::SubmitAll
            | Feature::NoDrop
            | Feature::ExtArg
            | Feature::Opcodes
            | Feature::MsgRing => None,
            Feature::OwnerRings | Feature::CancelAny => {
                Some("plain rings that any thread may submit to")
            }
            Feature::CoopTaskrun => Some("completions interrupt threads"),
            Feature::BufferRings => Some("receives wait first and take a buffer then"),
            Feature::MultishotReceive => Some("one receive at a time"),
            Feature::MultishotAccept => Some("one accept at a time"),
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Features(u16);

impl Features {
    #[cfg(test)]
    pub(super) fn of(features: impl IntoIterator<Item = Feature>) -> Self {
        features.into_iter().fold(Features::default(), |set, feature| set.with(feature, true))
    }

    pub(super) fn has(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }

    pub(super) fn with(self, feature: Feature, is_there: bool) -> Self {
        match is_there {
            true => Features(self.0 | feature.bit()),
            false => Features(self.0 & !feature.bit()),
        }
    }

    /// What `ANYPORT_WITHOUT` takes away.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is no feature's.
    pub(super) fn taken_away() -> Result<Self, Error> {
        let setting = std::env::var_os("ANYPORT_WITHOUT").unwrap_or_default();
        Features::named(&setting.to_string_lossy())
    }

    /// Reads names with commas between them; `-` is as good as `_`.
    fn named(list: &str) -> Result<Self, Error> {
        let names = list.split(',').map(|name| name.trim().replace('-', "_"));
        names.filter(|name| !name.is_empty()).try_fold(Features::default(), |named, name| {
            match Feature::ALL.into_iter().find(|feature| feature.name() == name) {
                Some(feature) => Ok(named.with(feature, true)),
                None => {
                    log::error!("ANYPORT_WITHOUT names {name:?}, which is no feature of io_uring");
                    Err(Error::new(ErrorKind::InvalidInput, "read ANYPORT_WITHOUT")
                        .with_detail(KNOWN_NAMES))
                }
            }
        })
    }
}

/// Says what may be named; an error's detail is a constant.
const KNOWN_NAMES: &str = "the names, with commas between them, are linux_6_1, submit_all, nodrop, \
                           ext_arg, opcodes, msg_ring, owner_rings, cancel_any, coop_taskrun, \
                           buffer_rings, multishot_receive and multishot_accept";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_names_its_feature_and_is_among_the_known() {
        for feature in Feature::ALL {
            let named = Features::named(feature.name()).expect("a known name");
            assert_eq!(named, Features::default().with(feature, true));
            assert!(KNOWN_NAMES.contains(feature.name()), "{feature:?}");
        }
    }

    #[test]
    fn a_list_may_have_spaces_hyphens_and_nothing_in_it() {
        let named = Features::named(" owner-rings, ,multishot_accept,").expect("known names");
        let both = Features::default().with(Feature::OwnerRings, true);
        assert_eq!(named, both.with(Feature::MultishotAccept, true));
        assert_eq!(Features::named(""), Ok(Features::default()));
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_the_known_ones() {
        let error = Features::named("owner_rings,epoll").expect_err("no such feature");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("ANYPORT_WITHOUT") && text.contains("buffer_rings"), "{text}");
    }
}

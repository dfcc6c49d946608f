//! The sizes of pooled buffers: three, far enough apart that a connection changes class seldom.
//!
//! Guaranteed: every class is a whole number of 4 KiB pages. Called by the pool, and by the
//! engine where it fits a connection's receives to its traffic.

/// The size of a pooled buffer.
///
/// Ordered by size, so classes can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SizeClass {
    /// 4 KiB: requests, chat, heartbeats.
    Small4K = 0,
    /// 16 KiB: a TLS record, a page of an answer.
    Medium16K = 1,
    /// 64 KiB: bulk transfer.
    Large64K = 2,
}

impl SizeClass {
    /// How many classes there are.
    pub const COUNT: usize = 3;

    /// Every class, the smallest first; `ALL[class.index()] == class`.
    pub const ALL: [Self; Self::COUNT] = [Self::Small4K, Self::Medium16K, Self::Large64K];

    /// The smallest class that holds `len_bytes`; the largest class when none does.
    #[must_use]
    pub const fn for_bytes(len_bytes: usize) -> Self {
        if len_bytes <= Self::Small4K.bytes() {
            Self::Small4K
        } else if len_bytes <= Self::Medium16K.bytes() {
            Self::Medium16K
        } else {
            Self::Large64K
        }
    }

    /// The capacity of a buffer of this class in bytes: 4,096, 16,384 or 65,536.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Small4K => 4 << 10,
            Self::Medium16K => 16 << 10,
            Self::Large64K => 64 << 10,
        }
    }

    /// The next larger class, or `None` for the largest.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Small4K => Some(Self::Medium16K),
            Self::Medium16K => Some(Self::Large64K),
            Self::Large64K => None,
        }
    }

    /// The next smaller class, or `None` for the smallest.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        match self {
            Self::Small4K => None,
            Self::Medium16K => Some(Self::Small4K),
            Self::Large64K => Some(Self::Medium16K),
        }
    }

    /// The place of this class in arrays that count by class, 0 to `COUNT - 1`.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_are_in_order_and_each_finds_its_own_size() {
        let mut class = SizeClass::Small4K;
        for (index, &expected) in SizeClass::ALL.iter().enumerate() {
            assert_eq!(class, expected);
            assert_eq!(class.index(), index);
            assert_eq!(class.bytes() % 4096, 0);
            assert_eq!(SizeClass::for_bytes(class.bytes()), class);
            if let Some(next) = class.next() {
                assert!(next > class);
                assert_eq!(next.previous(), Some(class));
                assert_eq!(SizeClass::for_bytes(class.bytes() + 1), next);
                class = next;
            }
        }
        assert_eq!(class.next(), None);
        assert_eq!(SizeClass::Small4K.previous(), None);
    }

    #[test]
    fn more_than_the_largest_class_holds_gets_the_largest() {
        assert_eq!(SizeClass::for_bytes(0), SizeClass::Small4K);
        assert_eq!(SizeClass::for_bytes(usize::MAX), SizeClass::Large64K);
    }
}

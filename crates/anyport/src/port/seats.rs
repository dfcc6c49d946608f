//! Who may run: as many seats as the concurrency value, each with a lane of the backend.
//!
//! A seat's *owner* is the thread that sat there first; its *actor* is who sits there now. When an
//! owner blocks, a parked thread acts in its place; when the owner returns it has its seat back,
//! since requests that it has handed to the kernel are best served by it. The owner serves the
//! seat's own lane, who stands in for it the seat's second one where the backend has such.

use super::member::{Member, NO_SEAT};
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Default)]
struct Seat {
    owner: Option<Arc<Member>>,
    actor: Option<Arc<Member>>,
}

/// The seats, behind the crew's lock.
pub(super) struct Seats {
    seats: Vec<Seat>,
    /// By seat: the lane of who stands in there.
    stand_in_lanes: Vec<usize>,
    /// Threads that wait for a seat; the last one parked is the first to get one.
    parked: Vec<Arc<Member>>,
    /// Every thread of the port, by its number.
    members: Vec<Option<Arc<Member>>>,
}

/// How taking a seat went.
pub(super) enum Taken {
    Seat(usize),
    /// All seats are taken; the member is parked.
    Parked {
        /// Who acts in the member's own seat, and was told to give it back.
        stand_in: Option<Arc<Member>>,
    },
}

impl Seats {
    /// As many seats as there are lanes for stand-ins.
    pub(super) fn new(stand_in_lanes: Vec<usize>) -> Self {
        let seats = stand_in_lanes.iter().map(|_| Seat::default()).collect();
        Seats { seats, stand_in_lanes, parked: Vec::new(), members: Vec::new() }
    }

    pub(super) fn enlist(&mut self) -> Arc<Member> {
        let free = self.members.iter().position(Option::is_none);
        let id = free.unwrap_or(self.members.len());
        let member = Arc::new(Member::new(id as u32));
        match free {
            Some(id) => self.members[id] = Some(Arc::clone(&member)),
            None => self.members.push(Some(Arc::clone(&member))),
        }
        member
    }

    pub(super) fn member(&self, id: u32) -> Option<&Arc<Member>> {
        self.members.get(id as usize)?.as_ref()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter().flatten()
    }

    pub(super) fn parked_len(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn parked(&self) -> &[Arc<Member>] {
        &self.parked
    }

    /// Who owns each seat.
    pub(super) fn owners(&self) -> impl Iterator<Item = Option<&Arc<Member>>> {
        self.seats.iter().map(|seat| seat.owner.as_ref())
    }

    /// The lanes of each seat that nobody serves: the number is that of the seat.
    pub(super) fn unattended(&self) -> impl Iterator<Item = (usize, usize)> {
        self.seats.iter().enumerate().flat_map(|(seat, place)| {
            let served = place.actor.as_ref().and_then(|actor| actor.lane());
            let stand_in = self.stand_in_lanes[seat];
            let second = (stand_in != seat).then_some(stand_in);
            [Some(seat), second]
                .into_iter()
                .flatten()
                .filter_map(move |lane| (served != Some(lane)).then_some((seat, lane)))
        })
    }

    /// Who acts in each seat.
    pub(super) fn actors(&self) -> impl Iterator<Item = Option<&Arc<Member>>> {
        self.seats.iter().map(|seat| seat.actor.as_ref())
    }

    /// Seats the member, or parks it.
    pub(super) fn take(&mut self, member: &Arc<Member>) -> Taken {
        if let Some(seat) = member.seat() {
            return Taken::Seat(seat);
        }
        self.unpark(member);
        let is_own = |s: &Seat| s.owner.as_ref().is_some_and(|o| Arc::ptr_eq(o, member));
        let own = self.seats.iter().position(is_own);
        let own_free = own.filter(|&seat| self.seats[seat].actor.is_none());
        let unowned = || self.seats.iter().position(|s| s.actor.is_none() && s.owner.is_none());
        let free = || self.seats.iter().position(|s| s.actor.is_none());
        match own_free.or_else(unowned).or_else(free) {
            Some(seat) => {
                self.sit(seat, member);
                Taken::Seat(seat)
            }
            None => {
                // A stand-in finishes its packet first: no more run than the value allows, and
                // never two on one lane.
                let stand_in = own.and_then(|seat| self.seats[seat].actor.clone());
                if let Some(stand_in) = &stand_in {
                    stand_in.is_wanted_back.store(true, Ordering::SeqCst);
                }
                self.parked.push(Arc::clone(member));
                Taken::Parked { stand_in }
            }
        }
    }

    /// A stand-in gives the seat back to its owner, if the owner waits for it; one whose owner is
    /// gone owns the seat from now on.
    pub(super) fn hand_back(&mut self, member: &Arc<Member>) -> Option<Arc<Member>> {
        member.is_wanted_back.store(false, Ordering::SeqCst);
        let seat = member.seat()?;
        let owner = match &self.seats[seat].owner {
            Some(owner) if !Arc::ptr_eq(owner, member) => Arc::clone(owner),
            // Its own by now, with the lane that goes with it.
            _ => {
                self.sit(seat, member);
                return None;
            }
        };
        if !self.parked.iter().any(|m| Arc::ptr_eq(m, &owner)) {
            return None;
        }
        self.unpark(&owner);
        member.seat.store(NO_SEAT, Ordering::Release);
        self.sit(seat, &owner);
        Some(owner)
    }

    /// The member leaves its seat, keeping it as its own; the thread parked last takes it.
    pub(super) fn leave(&mut self, member: &Arc<Member>) -> Option<Left> {
        let seat = member.seat()?;
        member.seat.store(NO_SEAT, Ordering::Release);
        self.seats[seat].actor = None;
        let successor = self.parked.pop();
        if let Some(successor) = &successor {
            self.sit(seat, successor);
        }
        Some(Left { seat, successor })
    }

    /// The member's thread ends.
    pub(super) fn discharge(&mut self, member: &Arc<Member>) -> Option<Left> {
        self.unpark(member);
        for seat in 0..self.seats.len() {
            if self.seats[seat].owner.as_ref().is_some_and(|o| Arc::ptr_eq(o, member)) {
                self.disown(seat);
            }
        }
        self.members[member.id as usize] = None;
        self.leave(member)
    }

    /// Takes a member out of the parked ones.
    pub(super) fn unpark(&mut self, member: &Arc<Member>) {
        self.parked.retain(|m| !Arc::ptr_eq(m, member));
    }

    /// The seat is nobody's own, until somebody takes it, or who sits there comes around.
    fn disown(&mut self, seat: usize) {
        self.seats[seat].owner = None;
        if let Some(actor) = &self.seats[seat].actor {
            actor.is_wanted_back.store(true, Ordering::SeqCst);
        }
    }

    fn sit(&mut self, seat: usize, member: &Arc<Member>) {
        if self.seats[seat].owner.is_none() {
            // A thread owns one seat: who sits in its old one keeps that.
            let is_own = |s: &Seat| s.owner.as_ref().is_some_and(|o| Arc::ptr_eq(o, member));
            if let Some(old) = self.seats.iter().position(is_own) {
                self.disown(old);
            }
        }
        let place = &mut self.seats[seat];
        place.actor = Some(Arc::clone(member));
        let owner = place.owner.get_or_insert_with(|| Arc::clone(member));
        let lane = if Arc::ptr_eq(owner, member) { seat } else { self.stand_in_lanes[seat] };
        member.lane.store(lane as u32, Ordering::Release);
        member.seat.store(seat as u32, Ordering::Release);
    }
}

/// What a member left behind.
pub(super) struct Left {
    pub(super) seat: usize,
    pub(super) successor: Option<Arc<Member>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(taken: Taken) -> Option<usize> {
        match taken {
            Taken::Seat(seat) => Some(seat),
            Taken::Parked { .. } => None,
        }
    }

    #[test]
    fn the_thread_parked_last_gets_the_seat_that_becomes_free() {
        let mut seats = Seats::new(vec![2]);
        let (a, b, c) = (seats.enlist(), seats.enlist(), seats.enlist());
        assert_eq!(seat(seats.take(&a)), Some(0));
        assert_eq!(seat(seats.take(&b)), None);
        assert_eq!(seat(seats.take(&c)), None);
        let left = seats.leave(&a).expect("it had a seat");
        assert!(Arc::ptr_eq(&left.successor.expect("two were parked"), &c));
        assert_eq!(c.seat(), Some(0));
    }

    #[test]
    fn an_owner_that_returns_has_its_seat_back_when_the_stand_in_is_done() {
        let mut seats = Seats::new(vec![2]);
        let (a, b) = (seats.enlist(), seats.enlist());
        seats.take(&a);
        seats.take(&b);
        seats.leave(&a);
        assert_eq!(b.seat(), Some(0));
        assert_eq!((a.lane.load(Ordering::Relaxed), b.lane()), (0, Some(2)));
        let Taken::Parked { stand_in: Some(stand_in) } = seats.take(&a) else {
            panic!("the stand-in is not done")
        };
        assert!(Arc::ptr_eq(&stand_in, &b));
        assert!(b.is_wanted_back.load(Ordering::SeqCst));
        let owner = seats.hand_back(&b).expect("the owner waits");
        assert!(Arc::ptr_eq(&owner, &a));
        assert_eq!((a.seat(), b.seat()), (Some(0), None));
        assert_eq!(seat(seats.take(&b)), None);
        assert!(seats.hand_back(&a).is_none());
    }

    #[test]
    fn the_seat_of_a_thread_that_ended_has_a_new_owner() {
        let mut seats = Seats::new(vec![2]);
        let (a, b) = (seats.enlist(), seats.enlist());
        seats.take(&a);
        seats.discharge(&a);
        assert_eq!(seat(seats.take(&b)), Some(0));
        seats.leave(&b);
        assert_eq!(seat(seats.take(&b)), Some(0));
        assert_eq!(seats.members().count(), 1);
    }

    #[test]
    fn a_thread_owns_one_seat_and_keeps_its_own_while_it_stands_in() {
        let mut seats = Seats::new(vec![3, 4]);
        let (a, b, c) = (seats.enlist(), seats.enlist(), seats.enlist());
        assert_eq!((seat(seats.take(&a)), seat(seats.take(&b))), (Some(0), Some(1)));
        seats.leave(&a);
        assert_eq!(seat(seats.take(&c)), Some(0));
        // Its own is taken and that of another is free: it stands in there.
        seats.leave(&b);
        assert_eq!(seat(seats.take(&a)), Some(1));
        assert_eq!((a.lane(), c.lane()), (Some(4), Some(3)));
        assert!(!c.is_wanted_back.load(Ordering::SeqCst));
        // One that nobody owns becomes its own, and its old one that of who sits there.
        seats.leave(&a);
        seats.discharge(&b);
        assert_eq!(seat(seats.take(&a)), Some(1));
        assert_eq!(a.lane(), Some(1));
        assert!(seats.hand_back(&c).is_none());
        assert_eq!(c.lane(), Some(0));
    }

    #[test]
    fn who_stands_in_for_a_thread_that_ends_owns_the_seat() {
        let mut seats = Seats::new(vec![2]);
        let (a, b) = (seats.enlist(), seats.enlist());
        seats.take(&a);
        seats.take(&b);
        seats.leave(&a);
        assert_eq!(b.lane(), Some(2));
        assert_eq!(seats.unattended().collect::<Vec<_>>(), [(0, 0)]);
        seats.discharge(&a);
        assert!(b.is_wanted_back.load(Ordering::SeqCst));
        assert!(seats.hand_back(&b).is_none());
        assert_eq!(b.lane(), Some(0));
        assert_eq!(seats.unattended().collect::<Vec<_>>(), [(0, 2)]);
    }
}

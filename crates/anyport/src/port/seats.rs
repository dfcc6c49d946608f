//! Who may run, as many seats as the concurrency value, and which lane of the backend each thread
//! serves.
//!
//! A seat's *owner* is the thread that sat there first; its *actor* is who sits there now. When an
//! owner blocks, a parked thread acts in its place; when the owner returns it has its seat back
//! if requests that it has handed to the kernel are under way, which are best served by it. Else
//! who acts there owns the seat, and the one that came back waits as others do.
//!
//! Where lanes belong to threads, a thread has one from its first turn to its end, wherever it
//! sits; those for whom none is left share the seat's. Elsewhere every seat has a lane.

use super::member::{Activity, Member, NO_SEAT};
use crate::sys::LanePlan;
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
    /// By seat: the lane of whoever sits there and has none.
    seat_lanes: Vec<usize>,
    /// By lane: whose it is.
    lane_owners: Vec<Option<Arc<Member>>>,
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
        /// Who acts in the member's own seat, and was told to give it back. Without one, the member
        /// may not be back soon.
        stand_in: Option<Arc<Member>>,
    },
}

impl Seats {
    pub(super) fn new(plan: LanePlan) -> Self {
        Seats {
            seats: plan.of_seats.iter().map(|_| Seat::default()).collect(),
            seat_lanes: plan.of_seats,
            lane_owners: vec![None; plan.of_threads],
            parked: Vec::new(),
            members: Vec::new(),
        }
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

    /// The lanes that belong to threads, with their owners.
    pub(super) fn lane_owners(&self) -> impl Iterator<Item = (usize, &Arc<Member>)> {
        self.lane_owners.iter().enumerate().filter_map(|(lane, m)| Some((lane, m.as_ref()?)))
    }

    /// The lanes that nobody serves.
    pub(super) fn unattended(&self) -> impl Iterator<Item = usize> {
        let served = |lane| self.lanes_in_use().any(|(in_use, _)| in_use == lane);
        let lanes = (0..self.lane_owners.len()).chain(self.seat_lanes.iter().copied());
        lanes.filter(move |&lane| !served(lane))
    }

    /// The lane of a seat, where who has none serves.
    pub(super) fn seat_lane(&self, seat: usize) -> usize {
        self.seat_lanes[seat]
    }

    /// Who acts in each seat.
    pub(super) fn actors(&self) -> impl Iterator<Item = Option<&Arc<Member>>> {
        self.seats.iter().map(|seat| seat.actor.as_ref())
    }

    /// The lanes of those who act, and what they do.
    pub(super) fn lanes_in_use(&self) -> impl Iterator<Item = (usize, Activity)> {
        self.actors().flatten().filter_map(|actor| Some((actor.lane()?, actor.activity())))
    }

    /// Seats the member, or parks it. `is_bound`: requests are under way that it serves best.
    pub(super) fn take(&mut self, member: &Arc<Member>, is_bound: bool) -> Taken {
        if let Some(seat) = member.seat() {
            return Taken::Seat(seat);
        }
        self.unpark(member);
        let mut own = self.own_seat(member);
        if !is_bound && let Some(seat) = own {
            own = self.keep_or_cede(seat);
        }
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

    /// The owner of this seat has nothing to serve there: who acts there, and owns no other, owns
    /// it. Gives the seat if it is still the owner's.
    fn keep_or_cede(&mut self, seat: usize) -> Option<usize> {
        let Some(actor) = self.seats[seat].actor.clone() else { return Some(seat) };
        if self.own_seat(&actor).is_some() {
            return Some(seat);
        }
        self.seats[seat].owner = Some(actor);
        None
    }

    /// A stand-in gives the seat back to its owner, if the owner waits for it; one whose owner is
    /// gone owns the seat from now on.
    pub(super) fn hand_back(&mut self, member: &Arc<Member>) -> Option<Arc<Member>> {
        member.is_wanted_back.store(false, Ordering::SeqCst);
        let seat = member.seat()?;
        let owner = match &self.seats[seat].owner {
            Some(owner) if !Arc::ptr_eq(owner, member) => Arc::clone(owner),
            // Its own by now.
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

    /// The member leaves its seat, keeping it as its own; the seat's owner takes it if it waits,
    /// else the thread parked last.
    pub(super) fn leave(&mut self, member: &Arc<Member>) -> Option<Left> {
        let seat = member.seat()?;
        let lane = member.lane.load(Ordering::Acquire) as usize;
        member.seat.store(NO_SEAT, Ordering::Release);
        self.seats[seat].actor = None;
        // An owner that waits for its stand-in goes before others: only it brings forward what it has
        // under way.
        let owner = self.seats[seat].owner.as_ref();
        let successor = match self.parked.iter().position(|parked| is_of(owner, parked)) {
            Some(place) => Some(self.parked.remove(place)),
            None => self.parked.pop(),
        };
        if let Some(successor) = &successor {
            self.sit(seat, successor);
        }
        Some(Left { lane, successor })
    }

    /// The member's thread ends.
    pub(super) fn discharge(&mut self, member: &Arc<Member>) -> Option<Left> {
        self.unpark(member);
        if let Some(seat) = self.own_seat(member) {
            self.disown(seat);
        }
        self.members[member.id as usize] = None;
        let left = self.leave(member);
        if let Some(lane) = self.own_lane(member) {
            self.lane_owners[lane] = None;
        }
        left
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
            if let Some(old) = self.own_seat(member) {
                self.disown(old);
            }
        }
        let lane = self.own_lane(member).or_else(|| {
            let lane = self.lane_owners.iter().position(Option::is_none)?;
            self.lane_owners[lane] = Some(Arc::clone(member));
            Some(lane)
        });
        let place = &mut self.seats[seat];
        place.actor = Some(Arc::clone(member));
        place.owner.get_or_insert_with(|| Arc::clone(member));
        member.lane.store(lane.unwrap_or(self.seat_lanes[seat]) as u32, Ordering::Release);
        member.seat.store(seat as u32, Ordering::Release);
    }

    /// The seat that belongs to the member; a thread owns one at most.
    fn own_seat(&self, member: &Arc<Member>) -> Option<usize> {
        self.seats.iter().position(|seat| is_of(seat.owner.as_ref(), member))
    }

    /// The lane that belongs to the member.
    fn own_lane(&self, member: &Arc<Member>) -> Option<usize> {
        self.lane_owners.iter().position(|owner| is_of(owner.as_ref(), member))
    }
}

fn is_of(owner: Option<&Arc<Member>>, member: &Arc<Member>) -> bool {
    owner.is_some_and(|owner| Arc::ptr_eq(owner, member))
}

/// What a member left behind.
pub(super) struct Left {
    /// Where it has served.
    pub(super) lane: usize,
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

    fn of_threads(threads: usize, seats: usize) -> Seats {
        let of_seats = (threads + 1..).take(seats).collect();
        Seats::new(LanePlan { of_threads: threads, of_seats })
    }

    fn of_seats(seats: usize) -> Seats {
        Seats::new(LanePlan { of_threads: 0, of_seats: (0..seats).collect() })
    }

    #[test]
    fn the_thread_parked_last_gets_the_seat_that_becomes_free() {
        let mut seats = of_threads(2, 1);
        let (a, b, c) = (seats.enlist(), seats.enlist(), seats.enlist());
        assert_eq!(seat(seats.take(&a, true)), Some(0));
        assert_eq!(seat(seats.take(&b, true)), None);
        assert_eq!(seat(seats.take(&c, true)), None);
        let left = seats.leave(&a).expect("it had a seat");
        assert!(Arc::ptr_eq(&left.successor.expect("two were parked"), &c));
        assert_eq!(c.seat(), Some(0));
    }

    #[test]
    fn an_owner_that_returns_has_its_seat_back_when_the_stand_in_is_done() {
        let mut seats = of_threads(2, 1);
        let (a, b) = (seats.enlist(), seats.enlist());
        seats.take(&a, true);
        seats.take(&b, true);
        seats.leave(&a);
        assert_eq!(b.seat(), Some(0));
        assert_eq!((a.lane.load(Ordering::Relaxed), b.lane()), (0, Some(1)));
        let Taken::Parked { stand_in: Some(stand_in) } = seats.take(&a, true) else {
            panic!("the stand-in is not done")
        };
        assert!(Arc::ptr_eq(&stand_in, &b));
        assert!(b.is_wanted_back.load(Ordering::SeqCst));
        let owner = seats.hand_back(&b).expect("the owner waits");
        assert!(Arc::ptr_eq(&owner, &a));
        assert_eq!((a.seat(), b.seat()), (Some(0), None));
        assert_eq!(seat(seats.take(&b, true)), None);
        assert!(seats.hand_back(&a).is_none());
    }

    #[test]
    fn an_owner_that_waits_for_its_stand_in_goes_before_who_was_parked_after_it() {
        let mut seats = of_threads(3, 1);
        let (a, b, c) = (seats.enlist(), seats.enlist(), seats.enlist());
        seats.take(&a, true);
        seats.leave(&a);
        assert_eq!(seat(seats.take(&b, true)), Some(0));
        assert_eq!(seat(seats.take(&a, true)), None);
        assert_eq!(seat(seats.take(&c, true)), None);
        let left = seats.leave(&b).expect("it had a seat");
        assert!(Arc::ptr_eq(&left.successor.expect("two were parked"), &a));
        let left = seats.leave(&a).expect("it had a seat");
        assert!(Arc::ptr_eq(&left.successor.expect("one was parked"), &c));
    }

    #[test]
    fn an_owner_that_returns_with_nothing_under_way_leaves_its_seat_to_the_stand_in() {
        let mut seats = of_threads(3, 2);
        let (a, b, c) = (seats.enlist(), seats.enlist(), seats.enlist());
        assert_eq!((seat(seats.take(&a, true)), seat(seats.take(&b, true))), (Some(0), Some(1)));
        seats.leave(&a);
        assert_eq!(seat(seats.take(&c, true)), Some(0));
        let Taken::Parked { stand_in: None } = seats.take(&a, false) else {
            panic!("the other has the seat for good")
        };
        assert!(!c.is_wanted_back.load(Ordering::SeqCst));
        assert!(seats.hand_back(&c).is_none());
        // It is who is called when the next one blocks, and serves its lane as before.
        let left = seats.leave(&c).expect("it had a seat");
        assert!(Arc::ptr_eq(&left.successor.expect("one was parked"), &a));
        assert_eq!((a.seat(), a.lane()), (Some(0), Some(0)));
    }

    #[test]
    fn the_seat_of_a_thread_that_ended_has_a_new_owner() {
        let mut seats = of_threads(2, 1);
        let (a, b) = (seats.enlist(), seats.enlist());
        seats.take(&a, true);
        seats.discharge(&a);
        assert_eq!(seat(seats.take(&b, true)), Some(0));
        seats.leave(&b);
        assert_eq!(seat(seats.take(&b, true)), Some(0));
        assert_eq!(seats.members().count(), 1);
    }

    #[test]
    fn a_thread_owns_one_seat_and_keeps_its_own_while_it_stands_in() {
        let mut seats = of_threads(3, 2);
        let (a, b, c) = (seats.enlist(), seats.enlist(), seats.enlist());
        assert_eq!((seat(seats.take(&a, true)), seat(seats.take(&b, true))), (Some(0), Some(1)));
        seats.leave(&a);
        assert_eq!(seat(seats.take(&c, true)), Some(0));
        // Its own is taken and that of another is free: it stands in there.
        seats.leave(&b);
        assert_eq!(seat(seats.take(&a, true)), Some(1));
        assert!(!c.is_wanted_back.load(Ordering::SeqCst));
        // One that nobody owns becomes its own, and its old one that of who sits there.
        seats.leave(&a);
        seats.discharge(&b);
        assert_eq!(seat(seats.take(&a, true)), Some(1));
        assert!(seats.hand_back(&c).is_none());
        assert_eq!((a.seat(), c.seat()), (Some(1), Some(0)));
    }

    #[test]
    fn a_thread_serves_its_own_lane_wherever_it_sits_and_until_it_ends() {
        let mut seats = of_threads(2, 2);
        let (a, b, c) = (seats.enlist(), seats.enlist(), seats.enlist());
        assert_eq!((seat(seats.take(&a, true)), seat(seats.take(&b, true))), (Some(0), Some(1)));
        assert_eq!((a.lane(), b.lane()), (Some(0), Some(1)));
        seats.leave(&a);
        // None is left for this one: it serves the seat's.
        assert_eq!(seat(seats.take(&c, true)), Some(0));
        assert_eq!(c.lane(), Some(3));
        assert_eq!(seats.unattended().collect::<Vec<_>>(), [0, 4]);
        assert_eq!(seats.leave(&b).map(|left| left.lane), Some(1));
        assert_eq!((seat(seats.take(&a, true)), a.lane()), (Some(1), Some(0)));
        seats.discharge(&b);
        assert_eq!(seats.lane_owners().map(|(lane, _)| lane).collect::<Vec<_>>(), [0]);
        // When it next sits down it has the lane that has become free.
        seats.leave(&c);
        assert_eq!((seat(seats.take(&c, true)), c.lane()), (Some(0), Some(1)));
    }

    #[test]
    fn where_lanes_belong_to_seats_whoever_sits_there_serves_that() {
        let mut seats = of_seats(2);
        let (a, b, c) = (seats.enlist(), seats.enlist(), seats.enlist());
        assert_eq!((seat(seats.take(&a, true)), seat(seats.take(&b, true))), (Some(0), Some(1)));
        seats.leave(&a);
        assert_eq!((seat(seats.take(&c, true)), c.lane()), (Some(0), Some(0)));
        seats.leave(&b);
        assert_eq!(seats.unattended().collect::<Vec<_>>(), [1]);
        assert_eq!(seats.lane_owners().count(), 0);
    }

    #[test]
    fn who_stands_in_for_a_thread_that_ends_owns_the_seat() {
        let mut seats = of_threads(2, 1);
        let (a, b) = (seats.enlist(), seats.enlist());
        seats.take(&a, true);
        seats.take(&b, true);
        seats.leave(&a);
        assert_eq!(b.lane(), Some(1));
        assert_eq!(seats.unattended().collect::<Vec<_>>(), [0, 3]);
        seats.discharge(&a);
        assert!(b.is_wanted_back.load(Ordering::SeqCst));
        assert!(seats.hand_back(&b).is_none());
        assert_eq!(b.lane(), Some(1));
        seats.leave(&b);
        assert_eq!(seat(seats.take(&b, true)), Some(0));
    }
}

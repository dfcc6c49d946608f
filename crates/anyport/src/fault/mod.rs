//! Fault points: places where a thread can lose its core, or be overtaken, with something half
//! done.
//!
//! `fault_point!(Name);` names a place. It is nothing at all unless the crate is built with
//! `--cfg anyport_fault_points` (`ci/faults`). Then a test arms places by `control`: whoever comes
//! there stays away for a while, or is held there while another thread takes over its lane.
//!
//! What is locked at a place matters: who is held there holds up whoever needs that lock, so stalls
//! are short, and a take-over that meets the lock is not waited for to its end.
//!
//! | point | where | locked | what could break there |
//! |---|---|---|---|
//! | `BeforeLease` | the owner is about to enter the kernel | | all that is staged goes to another at the last moment |
//! | `LeaseTaken` | the same, with the lease | lease | what is staged now is of this thread alone |
//! | `Filled` | the submission queue holds what was staged | lease | the same request on two rings |
//! | `BackFromKernel` | completions exist and none is reaped | lease | completions overtaken by those of another ring |
//! | `Cancelled` | cancels of disowned requests are queued, not submitted | lease | a disowned request receives |
//! | `Staged` | a request is staged, its handler goes on | body | it starts twice, or never |
//! | `RingMade` | a thread has a new ring and does not own it yet | lease | somebody takes it for its predecessor's |
//! | `TakingOver` | who takes over has the lease, the lane has its completions | lease | completions left behind |
//! | `CompletionsTurned` | completions are queued, requests still under way | lease, reaping | the owner starts more meanwhile |
//! | `StagedTaken` | what was staged has started elsewhere | lease, reaping | the same |
//! | `Disowned` | a request is disowned and not started again | lease, reaping, body | it is lost, or its completion counts |
//! | `TakenOver` | everything is taken over | lease, reaping | the owner finds what is not its own |
//! | `HandingOver` | a thread without a seat is about to hand over its lane | | another is faster |
//! | `Settling` | the same has handed over and has not told the kernel | | disowned requests take bytes |
//! | `Abandoning` | a thread that ends is about to empty its lane | | another is faster |
//! | `Abandoned` | the lane is empty, its ring open | | something comes to it once more |
//! | `Retired` | the ring is closed, its last completions not queued | | they are lost |
//! | `Discharging` | the thread still has its seat | | its lane goes to another too early |
//! | `NoneReady` | no completion is queued, the lane's events not looked at | | an event overtakes what is queued now |
//! | `EventTaken` | an event has left the queue and met nothing yet | reaping | a later one overtakes it |
//! | `Completed` | it has ended its operation, nobody has the completion | reaping | the next in line overtakes it |
//! | `Stealing` | a thread has another's events | reaping | their owner finds the later ones |
//! | `Stolen` | it has a completion of another's lane | | the same |
//! | `CompletionTaken` | a completion is between queue and packet | | the next of its connection is faster |
//! | `NextBegun` | the next in line has begun, the packet is not made | | the same |
//! | `ContextTaken` | the context is out, the slot free | | the slot's next operation |
//! | `PacketHandedOut` | a packet is taken, `get` goes on | | a second worker on its connection |
//! | `Leaving` | `get` returns | | it counts as running, or does not |
//! | `CameBack` | the thread is in `get` again, its last packets are held | | the connection stands still, or goes on twice |
//! | `SeatLost` | the thread finds that it has no seat | | what it has under way |
//! | `PlaceGivenAway` | the seat is another's, who was not told | | nobody acts |
//! | `HandedBack` | the same for the owner that came back | | nobody acts |
//! | `BeforeSleep` | it is listed as asleep and looks no more | | a wake-up that came too early |
//! | `Woken` | it is back and listed as asleep | | a wake-up for nobody |
//! | `BeforeRelease` | a stream's packet is done with, its next is kept back | | |
//! | `Released` | the stream is free, and not armed again | body | two threads have it |
//! | `WaitingDelivered` | its next packet has left the slot and is nowhere yet | | a later one overtakes it |
//! | `Pausing` | the backlog is full, the request not cancelled | body | what arrives meanwhile |
//! | `BeforeLine` | a start was admitted, and is in no line | | order of sends of one thread |
//! | `InLine` | it stands in line and has not begun | body | it begins twice, or never |
//! | `Started` | it has begun, `send` returns | | |
//! | `SendingAtOnce` | a send without an operation is about to call | | sends that start meanwhile |
//! | `SentAtOnce` | it has called, its mark is still on | | the same |
//! | `PartlySent` | a part of a send has gone | body | another send between its halves |
//! | `Cancelling` | a cancel was asked for | | the operation's successor in the slot |
//! | `Ending` | the operation knows, the kernel does not | state, body | a take-over drops the cancel |
//! | `Closing` | a closed handle's operations are asked to end | | the peer is not told |
//! | `Polled` | sockets were found ready, and nobody knows | poll | an edge is lost |
//! | `SocketTaken` | a ready socket has left the queue | | its edge is lost |
//! | `Claimed` | its readiness is taken, the call not made | socket | two threads read it |
//! | `Attempted` | the call is made, its event not delivered | socket | a later one overtakes it |
//! | `Tried` | a request was tried at once, the result not noted | socket | an edge in between |
//! | `PlainFilled` | a plain ring's queue is filled | | entries submitted by another |
//! | `PlainBack` | whoever waited on a plain ring is back | | |

//!
//! With the feature `sim` each point is also a place where a thread that takes turns may pass its
//! turn on (`turns`), locks and all: who waits for one of them passes the turn on as well.

#[cfg(anyport_fault_points)]
pub mod control;
#[cfg(feature = "sim")]
pub(crate) mod turns;

/// A place above the engine, in the runtime, where threads that take turns may pass their turn on:
/// between two steps that another thread's may come between. Nobody holds a mutex there.
macro_rules! turn_point {
    () => {
        #[cfg(feature = "sim")]
        crate::fault::turns::reach();
    };
}

#[cfg(anyport_fault_points)]
macro_rules! fault_point {
    ($name:ident) => {{
        crate::fault::control::reach(crate::fault::control::Point::$name);
        #[cfg(feature = "sim")]
        crate::fault::turns::reach();
    }};
}

#[cfg(all(not(anyport_fault_points), feature = "sim"))]
macro_rules! fault_point {
    ($name:ident) => {
        crate::fault::turns::reach()
    };
}

#[cfg(not(any(anyport_fault_points, feature = "sim")))]
macro_rules! fault_point {
    ($name:ident) => {};
}

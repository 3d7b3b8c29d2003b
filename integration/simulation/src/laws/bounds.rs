//! The written bounds.

use crate::scenario::{MINUTE, Ms, SECOND};

/// The time in which an unsafe cluster must be terminated after it could be seen, while nothing
/// else of the run works. The longest pause of a search is 7.5 s plus 15 %, that of a start 20 s
/// plus 15 %; a response takes up to 3 s, and two polls may follow each other.
pub const SOON: Ms = 45 * SECOND;

/// The same while another cluster of the run is verified and works: the pause is four and a half
/// minutes plus 15 %, to leave EMR's quotas to the runner.
pub const SOON_BESIDE_ANOTHER: Ms = 330 * SECOND;

/// The same for steps that are added to a running cluster: they are requested every six minutes.
pub const SOON_ADDED: Ms = 12 * MINUTE;

/// The same for instances that are added to it: they are requested every 15 minutes.
pub const SOON_GROWN: Ms = 20 * MINUTE;

/// The same for a cluster that the log names: one poll and one request, with the slowest responses.
pub const SOON_NAMED: Ms = 10 * SECOND;

/// The longest time between two requests to terminate: the pauses grow to 30 s. A call that is lost
/// just before a fault ends takes 30 s more. After it and a pause, a poll shows that the accepted
/// request had no effect, and after another pause it is repeated.
pub const AGAIN: Ms = 95 * SECOND;

/// How long after its time limit an alarm about an unevaluated cluster may come: polls are up to 69
/// seconds apart while EMR throttles, and one takes up to 30 s.
pub const TOLD: Ms = 4 * MINUTE;

/// How long a request waits at most for EMR's quotas: for example, five clusters that a restarted
/// guard polls with an empty burst allowance.
pub const HELD: Ms = 15 * SECOND;

/// The limit for immediate reactions.
pub const AT_ONCE: Ms = SECOND;

/// How long after its runner a good run ends: final polls with the slowest responses.
pub const LONGER: Ms = 15 * SECOND;

/// A fact that AWS shows for this long is observed.
pub const SHOWN: Ms = 30 * SECOND;

/// A fault of this length does not affect a good run. The limit is 15 minutes; the polls in between
/// are up to 69 s apart, and one takes up to 30 s.
pub const HARMLESS: Ms = 13 * MINUTE;

/// The time until polls are back to normal after a fault: they are 34 s apart while something
/// fails, and one takes up to 30 s.
pub const RECOVERED: Ms = 70 * SECOND;

/// A fact that is shown for this long is observed even after EMR has throttled: each successful
/// poll reduces the pause by only a fifth, so that many guards share the quota. Until then the
/// pauses of a start are up to 200 s plus 15 % long, for longer than most runs take.
pub const SHOWN_SLOWLY: Ms = 4 * MINUTE;

/// A fault that ended this long before the end of a run does not affect its end.
pub const BEFORE_THE_END: Ms = 2 * MINUTE;

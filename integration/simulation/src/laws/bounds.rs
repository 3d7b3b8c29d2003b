//! The written bounds.

use crate::scenario::{MINUTE, Ms, SECOND};

/// An unsafe cluster is being terminated so soon after it could be seen, while nothing else of the
/// run works: the longest pause of a search is 7.5 s and 15 %, that of a start 20 s and 15 %; an
/// answer takes up to 3 s, and two looks may follow each other.
pub const SOON: Ms = 45 * SECOND;

/// The same while another cluster of the run is proved, and works: the pause is four and a half
/// minutes and 15 %, so that EMR's quotas are the runner's.
pub const SOON_BESIDE_ANOTHER: Ms = 330 * SECOND;

/// The same for what is added to a cluster that works: its steps are asked for every six minutes.
pub const SOON_ADDED: Ms = 12 * MINUTE;

/// The same for instances that are added to it: they are asked for every 15 minutes.
pub const SOON_GROWN: Ms = 20 * MINUTE;

/// The same of a cluster that the log names: one look and one request, with the slowest answers.
pub const SOON_NAMED: Ms = 10 * SECOND;

/// A request to terminate is sent again at least so often: the pauses grow to 30 s. A call that is
/// lost just before a fault ends takes 30 s more; after it and a pause a look shows that what was
/// accepted had no effect, and after another pause it is sent again.
pub const AGAIN: Ms = 95 * SECOND;

/// So long after its time limit a person knows of what could not be judged: the looks are up to 69
/// seconds apart while EMR asks to slow down, and one takes up to 30 s.
pub const TOLD: Ms = 4 * MINUTE;

/// A question waits so long at most until EMR's quotas leave room for it: five clusters that a guard
/// looks at when it starts again, with nothing left of what EMR allows at once.
pub const HELD: Ms = 15 * SECOND;

/// What happens at once happens within this time.
pub const AT_ONCE: Ms = SECOND;

/// A good run ends so long after its runner: last looks, with the slowest answers.
pub const LONGER: Ms = 15 * SECOND;

/// What AWS showed for so long was seen.
pub const SHOWN: Ms = 30 * SECOND;

/// A fault of this length costs a good run nothing. The limit is 15 minutes; the looks in between
/// are up to 69 s apart, and one takes up to 30 s.
pub const HARMLESS: Ms = 13 * MINUTE;

/// So long after a fault the looks are as they were: they are 34 s apart while something fails, and one
/// takes up to 30 s.
pub const RECOVERED: Ms = 70 * SECOND;

/// What shows for so long was seen also after EMR has asked to slow down: each look that is not
/// refused gives back a fifth of the pause only, so that many guards share what there is, and the pauses of a
/// start are up to 200 s and 15 % long until then, for longer than most runs take.
pub const SHOWN_SLOWLY: Ms = 4 * MINUTE;

/// A fault is over so long before the end of a run that its end is not touched by it.
pub const BEFORE_THE_END: Ms = 2 * MINUTE;

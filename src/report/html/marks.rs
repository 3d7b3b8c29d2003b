//! The icons of the page: a shape with a word for everything that has a colour, so that no colour
//! is needed to distinguish them.

use maud::{Markup, html};

use crate::report::{document::RecordedStatus, path::Proof};

/// The meaning of an icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Mark {
    /// A filled circle with a tick.
    Passed,
    /// A circle with a tick.
    Inferred,
    /// A square with a bar.
    Excepted,
    /// A diamond with a question mark.
    Open,
    /// A filled octagon with a cross.
    Failed,
    /// A bar alone.
    Nothing,
}

impl From<Proof> for Mark {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::Passed => Self::Passed,
            Proof::Inferred => Self::Inferred,
            Proof::Excepted => Self::Excepted,
            Proof::Gap => Self::Open,
            Proof::Failed => Self::Failed,
        }
    }
}

impl From<RecordedStatus> for Mark {
    fn from(status: RecordedStatus) -> Self {
        match status {
            RecordedStatus::Passed => Self::Passed,
            RecordedStatus::Excepted => Self::Excepted,
            RecordedStatus::Unknown => Self::Open,
            RecordedStatus::Failed => Self::Failed,
            RecordedStatus::NotApplicable => Self::Nothing,
        }
    }
}

impl Mark {
    /// The CSS class with its colours.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Inferred => "inferred",
            Self::Excepted => "excepted",
            Self::Open => "open",
            Self::Failed => "failed",
            Self::Nothing => "nothing",
        }
    }

    /// The icon alone, 16 units wide, for use in a picture.
    pub(super) fn shape(self) -> Markup {
        html! {
            @match self {
                Self::Passed => {
                    circle class="full" cx="8" cy="8" r="7.25" {}
                    path class="cut" d="M4.6 8.3 7 10.7 11.5 5.7" {}
                }
                Self::Inferred => {
                    circle class="hollow" cx="8" cy="8" r="6.75" {}
                    path class="stroke" d="M4.9 8.2 7.1 10.4 11.2 5.8" {}
                }
                Self::Excepted => {
                    rect class="hollow" x="1.6" y="1.6" width="12.8" height="12.8" rx="2.5" {}
                    path class="stroke" d="M4.8 8H11.2" {}
                }
                Self::Open => {
                    path class="hollow" d="M8 .9 15.1 8 8 15.1 .9 8Z" {}
                    path class="stroke" d="M6.3 6.4a1.75 1.75 0 1 1 2.6 1.5c-.6.35-.9.7-.9 1.3" {}
                    circle class="dot" cx="8" cy="11.2" r=".8" {}
                }
                Self::Failed => {
                    path class="full" d="M4.9.8h6.2l4.1 4.1v6.2l-4.1 4.1H4.9L.8 11.1V4.9Z" {}
                    path class="cut" d="M5.3 5.3 10.7 10.7M10.7 5.3 5.3 10.7" {}
                }
                Self::Nothing => { path class="stroke" d="M4 8H12" {} }
            }
        }
    }

    /// The icon for use in text. It needs a word beside it, because screen readers skip it.
    pub(super) fn sign(self) -> Markup {
        html! { svg class={ "sign " (self.class()) } viewBox="0 0 16 \
        16" width="16" height="16" aria-hidden="true" focusable="false" { (self.shape()) } }
    }

    /// The icon and a word.
    pub(super) fn with(self, word: &str) -> Markup {
        html! { span class={ "mark " (self.class()) } { (self.sign()) " " (word) } }
    }

    /// The frame of a hop's number: round where evidence shows the protection, otherwise square or
    /// a diamond; filled where it is certain.
    pub(super) fn badge(self, number: usize) -> Markup {
        html! {
            @match self {
                Self::Passed => { circle class="full" r="11" {} }
                Self::Inferred => { circle class="hollow" r="10.5" {} }
                Self::Excepted => {
                    rect class="hollow" x="-10" y="-10" width="20" height="20" rx="4" {}
                }
                Self::Open | Self::Nothing => { path class="hollow" d="M0-14 14 0 0 14-14 0Z" {} }
                Self::Failed => { path class="full" d="M-5-12h10l7 7v10l-7 7h-10l-7-7v-10Z" {} }
            }
            text class={ "number" @if matches!(self, Self::Passed | Self::Failed) { " \
                on" } } y="4" { (number) }
        }
    }
}

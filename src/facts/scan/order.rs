//! Verifies that the pages of a list fit together: each must continue where the previous one ended.
//! Only then is the list complete.
//!
//! A page that repeats another one, goes back, or gives the same marker again would hide objects,
//! or make the list endless. Normal behaviour of S3 is accepted: empty pages before the end, the
//! versions of one key over any number of pages, and objects that are added or removed between two
//! pages.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use crate::facts::scan::scope::ListPosition;

/// How many empty pages in a row are accepted.
const MOST_EMPTY: u32 = 100_000;

/// How pages do not fit together. Keys are in debug format, so that they cannot control a terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ListFault {
    /// An entry that sorts before the list's position.
    #[error("the list goes back to the key {key:?} although it was at {last:?}")]
    GoesBack { key: String, last: String },
    /// An entry that was listed before.
    #[error("the list repeats what an earlier page held: the key {0:?}")]
    Repeats(String),
    /// An entry outside the requested prefix.
    #[error(
        "the list holds the key {0:?}, which does not begin with the prefix that was asked for"
    )]
    Outside(String),
    /// The marker was given before.
    #[error("the list gives the same continuation twice, so it would never end")]
    RepeatsMarker,
    /// The page says both that the list ends and how it continues.
    #[error("the list says that it ends, and also how it continues")]
    Contradicts,
    /// Too many empty pages.
    #[error("the list has given {MOST_EMPTY} empty pages in a row")]
    Empty,
}

/// How a page says that the list continues.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Marker<'a> {
    /// With S3's continuation token.
    Token(&'a str),
    /// After this key, or after this version of it.
    Version(&'a str, Option<&'a str>),
}

/// The position of a list after the pages that were verified.
#[derive(Debug)]
pub(super) struct ListOrder {
    /// The prefix of all keys.
    prefix: String,
    /// The last key so far.
    last: String,
    /// Whether nothing was listed yet. The list then starts after the key `last`, and may also
    /// include it.
    is_start: bool,
    /// Hashes of the versions of that key so far. One key may have millions of them.
    versions: HashSet<u64>,
    /// Hashes of the markers since the list last advanced, and of the last one before that.
    markers: HashSet<u64>,
    empty: u32,
}

impl ListOrder {
    /// A list of the keys with `prefix`, after `after`.
    pub(super) fn new(prefix: &str, after: Option<&ListPosition>) -> Self {
        let mut order = Self {
            prefix: prefix.to_owned(),
            last: after.map(|after| after.key.clone()).unwrap_or_default(),
            is_start: true,
            versions: HashSet::new(),
            markers: HashSet::new(),
            empty: 0,
        };
        if let Some(ListPosition { key, version: Some(version) }) = after {
            order.is_start = false;
            order.versions.insert(hash(version));
            order.markers.insert(hash(Marker::Version(key, Some(version))));
        }
        order
    }

    /// Takes the next page: its keys and versions in their order, and how the list continues.
    ///
    /// # Errors
    /// [`ListFault`] when it does not fit to the previous pages; then none of its entries may be
    /// used.
    pub(super) fn page<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
        next: Option<Marker<'_>>,
    ) -> Result<(), ListFault> {
        let mut moved = false;
        for (key, version) in entries {
            self.entry(key, version)?;
            moved = true;
        }
        if moved {
            self.empty = 0;
        } else {
            self.empty += 1;
        }
        let Some(next) = next else { return Ok(()) };
        if self.empty > MOST_EMPTY {
            return Err(ListFault::Empty);
        }
        if let Marker::Version(key, _) = next
            && key < self.last.as_str()
        {
            return Err(ListFault::GoesBack { key: key.to_owned(), last: self.last.clone() });
        }
        let next = hash(next);
        if self.markers.contains(&next) {
            return Err(ListFault::RepeatsMarker);
        }
        // After the list has advanced, older markers cannot form a loop; only the last one can.
        if moved {
            self.markers.clear();
        }
        self.markers.insert(next);
        Ok(())
    }

    fn entry(&mut self, key: &str, version: Option<&str>) -> Result<(), ListFault> {
        if !key.starts_with(&self.prefix) {
            return Err(ListFault::Outside(key.to_owned()));
        }
        match key.cmp(&self.last) {
            std::cmp::Ordering::Less => {
                return Err(ListFault::GoesBack { key: key.to_owned(), last: self.last.clone() });
            }
            // It is not documented whether a list that starts at a key marker includes that key.
            std::cmp::Ordering::Equal if self.is_start => return Ok(()),
            std::cmp::Ordering::Equal => {
                if version.is_none_or(|version| !self.versions.insert(hash(version))) {
                    return Err(ListFault::Repeats(key.to_owned()));
                }
            }
            std::cmp::Ordering::Greater => {
                key.clone_into(&mut self.last);
                self.is_start = false;
                self.versions.clear();
                if let Some(version) = version {
                    self.versions.insert(hash(version));
                }
            }
        }
        Ok(())
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Entry = (String, Option<String>);
    type Page = (Vec<Entry>, Option<Next>);

    #[derive(Clone, Debug, PartialEq)]
    enum Next {
        Token(String),
        Version(String, Option<String>),
    }

    impl Next {
        fn marker(&self) -> Marker<'_> {
            match self {
                Self::Token(token) => Marker::Token(token),
                Self::Version(key, version) => Marker::Version(key, version.as_deref()),
            }
        }
    }

    fn check(order: &mut ListOrder, (entries, next): &Page) -> Result<(), ListFault> {
        let entries = entries.iter().map(|(key, version)| (key.as_str(), version.as_deref()));
        order.page(entries, next.as_ref().map(Next::marker))
    }

    fn all(after: Option<&ListPosition>, pages: &[Page]) -> Result<(), ListFault> {
        let mut order = ListOrder::new("p", after);
        pages.iter().try_for_each(|page| check(&mut order, page))
    }

    /// Keys with characters that sort differently in UTF-8 and UTF-16, and one that is the prefix.
    fn key() -> impl Strategy<Value = String> {
        "p[a-c/\u{1}+%ü\u{fffd}\u{10000}]{0,3}"
    }

    /// A correct S3: its content (each key's versions, newest first), and a paginated list of it
    /// while other clients write and delete.
    #[derive(Debug)]
    struct Bucket {
        keys: std::collections::BTreeMap<String, Vec<String>>,
        versioned: bool,
        made: usize,
    }

    impl Bucket {
        fn new(keys: Vec<(String, usize)>, versioned: bool) -> Self {
            let mut bucket = Self { keys: std::collections::BTreeMap::new(), versioned, made: 0 };
            for (key, versions) in keys {
                for _ in 0..versions {
                    bucket.write(&key);
                }
            }
            bucket
        }

        fn write(&mut self, key: &str) {
            self.made += 1;
            let version = format!("v{}", self.made);
            let versions = self.keys.entry(key.to_owned()).or_default();
            if !self.versioned {
                versions.clear();
            }
            versions.insert(0, version);
        }

        /// The page after `after`, and whether the list continues.
        fn page(&self, after: Option<&(String, String)>, size: usize) -> (Vec<Entry>, bool) {
            let mut entries = Vec::new();
            for (key, versions) in &self.keys {
                let rest = match after {
                    Some((last, _)) if key < last => continue,
                    Some((last, _)) if key == last && !self.versioned => continue,
                    // A version that was deleted meanwhile still has its position, because versions
                    // are numbered.
                    Some((last, seen)) if key == last => {
                        let number = |version: &String| version[1..].parse::<usize>().unwrap();
                        let seen = number(seen);
                        versions.iter().filter(|it| number(it) < seen).collect::<Vec<_>>()
                    }
                    _ => versions.iter().collect(),
                };
                for version in rest {
                    if entries.len() == size {
                        return (entries, true);
                    }
                    entries.push((key.clone(), self.versioned.then(|| version.clone())));
                    if !self.versioned {
                        break;
                    }
                }
            }
            (entries, false)
        }

        /// All pages of `size` entries; the actions in `meanwhile` happen before each page.
        fn pages(&mut self, size: usize, meanwhile: &[(u8, String)]) -> Vec<Page> {
            let (mut pages, mut after) = (Vec::new(), None::<(String, String)>);
            let mut meanwhile = meanwhile.iter();
            let mut tokens = 0;
            loop {
                // An empty page before the end.
                if let Some((what, key)) = meanwhile.next() {
                    match what {
                        0 => self.write(key),
                        1 => drop(self.keys.remove(key)),
                        _ if !self.versioned => {
                            tokens += 1;
                            pages.push((Vec::new(), Some(Next::Token(format!("t{tokens}")))));
                        }
                        _ => {}
                    }
                }
                let (entries, goes_on) = self.page(after.as_ref(), size);
                if let Some((key, version)) = entries.last() {
                    after = Some((key.clone(), version.clone().unwrap_or_default()));
                }
                if !goes_on {
                    pages.push((entries, None));
                    return pages;
                }
                let (key, version) = after.clone().unwrap();
                tokens += 1;
                let next = if self.versioned {
                    Next::Version(key, Some(version))
                } else {
                    Next::Token(format!("t{tokens}"))
                };
                pages.push((entries, Some(next)));
            }
        }
    }

    fn bucket() -> impl Strategy<Value = (Bucket, usize, Vec<(u8, String)>)> {
        (
            prop::collection::vec((key(), 1_usize..6), 1..20),
            any::<bool>(),
            1_usize..6,
            prop::collection::vec((0_u8..4, key()), 0..20),
        )
            .prop_map(|(keys, versioned, size, meanwhile)| {
                (Bucket::new(keys, versioned), size, meanwhile)
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn no_honest_list_is_faulty_whatever_happens_meanwhile((mut bucket, size, meanwhile) in bucket()) {
            let pages = bucket.pages(size, &meanwhile);
            prop_assert_eq!(all(None, &pages), Ok(()), "{:?}", pages);
        }

        #[test]
        fn no_honest_list_that_goes_on_in_the_middle_is_faulty((mut bucket, size, _) in bucket(), from in any::<prop::sample::Index>()) {
            let pages = bucket.pages(size, &[]);
            let from = from.index(pages.len());
            let after = pages[..from].iter().rev().find_map(|(entries, _)| entries.last());
            let after = after.map(|(key, version)| ListPosition { key: key.clone(), version: version.clone() });
            prop_assert_eq!(all(after.as_ref(), &pages[from..]), Ok(()), "{:?}", pages);
        }

        #[test]
        fn a_page_that_holds_anything_seen_before_is_never_believed(
            (mut bucket, size, meanwhile) in bucket(), place in any::<prop::sample::Index>(), copied in any::<prop::sample::Index>(), ends: bool,
        ) {
            let mut pages = bucket.pages(size, &meanwhile);
            let place = place.index(pages.len());
            let copied = copied.index(place + 1);
            prop_assume!(!pages[copied].0.is_empty());
            // The previous page, or an earlier one, comes again: completely, as the last one or
            // not.
            let again = (pages[copied].0.clone(), if ends { None } else { pages[place].1.clone() });
            pages.insert(place + 1, again);
            prop_assert!(all(None, &pages).is_err(), "{:?}", pages);
        }

        #[test]
        fn a_way_on_that_is_told_again_is_never_taken((mut bucket, size, meanwhile) in bucket(), place in any::<prop::sample::Index>(), empty: bool) {
            let pages = bucket.pages(size, &meanwhile);
            let place = place.index(pages.len());
            let Some(next) = pages[place].1.clone() else { return Ok(()) };
            let mut order = ListOrder::new("p", None);
            for page in &pages[..=place] {
                prop_assert_eq!(check(&mut order, page), Ok(()));
            }
            let entries = if empty { Vec::new() } else { pages[place].0.clone() };
            prop_assert!(check(&mut order, &(entries, Some(next))).is_err());
        }
    }

    #[test]
    fn tokens_that_go_round_are_noticed_even_where_no_page_holds_anything() {
        let empty = |token: &str| (Vec::new(), Some(Next::Token(token.to_owned())));
        let round = [empty("a"), empty("b"), empty("c"), empty("a")];
        assert_eq!(all(None, &round), Err(ListFault::RepeatsMarker));
        let mut order = ListOrder::new("p", None);
        let endless =
            (0..=MOST_EMPTY).try_for_each(|it| check(&mut order, &empty(&it.to_string())));
        assert_eq!(endless, Err(ListFault::Empty));
    }

    #[test]
    fn a_list_that_begins_before_where_it_was_to_or_elsewhere_is_faulty() {
        let page = |key: &str| (vec![(key.to_owned(), None)], None);
        let after = ListPosition { key: "pm".to_owned(), version: None };
        assert_eq!(all(Some(&after), &[page("pn")]), Ok(()));
        assert_eq!(all(Some(&after), &[page("pm")]), Ok(()), "a bare key marker");
        assert!(matches!(all(Some(&after), &[page("pl")]), Err(ListFault::GoesBack { .. })));
        assert_eq!(all(None, &[page("q")]), Err(ListFault::Outside("q".to_owned())));
        let after = ListPosition { key: "pm".to_owned(), version: Some("v".to_owned()) };
        let same = (vec![("pm".to_owned(), Some("v".to_owned()))], None);
        assert_eq!(all(Some(&after), &[same]), Err(ListFault::Repeats("pm".to_owned())));
    }

    #[test]
    fn a_marker_of_versions_that_goes_back_is_faulty() {
        let entry = |key: &str| (key.to_owned(), Some("v".to_owned()));
        let next = |key: &str| Some(Next::Version(key.to_owned(), Some("v".to_owned())));
        assert_eq!(all(None, &[(vec![entry("pa"), entry("pb")], next("pb"))]), Ok(()));
        assert!(all(None, &[(vec![entry("pa"), entry("pb")], next("pa"))]).is_err());
    }
}

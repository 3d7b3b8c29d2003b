//! Reads paginated lists to their end. The SDK's own paginators treat a repeated marker as the end
//! of the list, and silently omit the rest.

use std::collections::HashSet;

use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};

use crate::base::{
    aws_calls::Call,
    lookup::{Lookup, LookupError, LookupErrorKind},
};

/// The maximum number of pages. AWS's lists of clusters, steps, instances and jobs have tens of
/// items on a page and thousands in all.
const MOST_PAGES: usize = 10_000;

/// Why the pages of a list are incomplete or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum PageFault {
    #[error("a marker came twice, so that the list would never end")]
    RepeatsMarker,
    #[error("a page holds only what earlier pages held")]
    RepeatsPage,
    #[error("it has more than {MOST_PAGES} pages")]
    Endless,
}

/// The items and markers of the pages so far.
#[derive(Debug, Default)]
struct SeenPages {
    markers: HashSet<String>,
    ids: HashSet<String>,
    pages: usize,
}

impl SeenPages {
    /// Takes the next page: its items, and the marker of the following page. A list may shift while
    /// it is read, so some items of a page may have been on the page before, but not all.
    fn page<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a str>,
        next: Option<&str>,
    ) -> Result<(), PageFault> {
        self.pages += 1;
        if self.pages > MOST_PAGES {
            return Err(PageFault::Endless);
        }
        let (mut some, mut new) = (false, false);
        for id in ids {
            some = true;
            new |= self.ids.insert(id.to_owned());
        }
        if some && !new {
            return Err(PageFault::RepeatsPage);
        }
        match next {
            Some(next) if !self.markers.insert(next.to_owned()) => Err(PageFault::RepeatsMarker),
            _ => Ok(()),
        }
    }
}

/// All pages of a list. `ask` requests the page after a marker. `marker` and `ids` return a page's
/// marker for the next page, and the names of its items if they have any. If a page holds no list
/// at all, it is not a page of AWS: an empty list is also a list.
pub(crate) async fn whole_list<O, E, F>(
    call: &Call,
    absent: &[&str],
    ask: impl Fn(Option<String>) -> F,
    marker: impl Fn(&O) -> Option<&str>,
    ids: impl Fn(&O) -> Option<Vec<&str>>,
) -> Lookup<Vec<O>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    F: Future<Output = Result<O, SdkError<E, HttpResponse>>>,
{
    let (mut pages, mut seen, mut next) = (Vec::new(), SeenPages::default(), None);
    loop {
        let page = match Lookup::from_call(call, absent, ask(next).await) {
            Lookup::Found(page) => page,
            other => return other.map(|_| Vec::new()),
        };
        let behind = marker(&page).filter(|marker| !marker.is_empty()).map(str::to_owned);
        let Some(ids) = ids(&page) else {
            return Lookup::unusable(call, "it holds no list, be it an empty one");
        };
        if let Err(fault) = seen.page(ids, behind.as_deref()) {
            return Lookup::Unreachable(LookupError::new(
                call.permission,
                LookupErrorKind::UnreadableAnswer,
                format!("the answers do not hold the whole list: {fault}"),
            ));
        }
        pages.push(page);
        next = behind;
        if next.is_none() {
            return Lookup::Found(pages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Page = (Vec<String>, Option<String>);

    fn pages(items: usize, size: usize) -> Vec<Page> {
        let ids: Vec<String> = (0..items).map(|it| format!("j-{it}")).collect();
        let chunks: Vec<&[String]> = ids.chunks(size).collect();
        let page = |(number, ids): (usize, &&[String])| {
            (ids.to_vec(), (number + 1 < chunks.len()).then(|| format!("m{number}")))
        };
        chunks.iter().enumerate().map(page).collect()
    }

    fn read(pages: &[Page]) -> Result<(), PageFault> {
        let mut seen = SeenPages::default();
        pages
            .iter()
            .try_for_each(|(ids, next)| seen.page(ids.iter().map(String::as_str), next.as_deref()))
    }

    proptest! {
        #[test]
        fn a_list_that_comes_once_is_whole_and_one_that_comes_again_is_not(
            items in 1_usize..60, size in 2_usize..8, moved in 0_usize..2, place in any::<prop::sample::Index>(), copied in any::<prop::sample::Index>(), ends: bool,
        ) {
            let mut pages = pages(items, size);
            // A new item came in front, so that the last item of a page comes again.
            for page in 1..pages.len() * moved {
                let last = pages[page - 1].0.last().unwrap().clone();
                if pages[page].0.len() > 1 {
                    pages[page].0.insert(0, last);
                }
            }
            prop_assert_eq!(read(&pages), Ok(()));
            let place = place.index(pages.len());
            let (ids, _) = pages[copied.index(place + 1)].clone();
            let next = if ends { None } else { Some("other".to_owned()) };
            pages.insert(place + 1, (ids, next));
            prop_assert_eq!(read(&pages), Err(PageFault::RepeatsPage));
        }
    }

    #[test]
    fn a_marker_that_comes_again_is_not_the_end() {
        let page = |id: &str, next: &str| (vec![id.to_owned()], Some(next.to_owned()));
        assert_eq!(
            read(&[page("a", "1"), page("b", "2"), page("c", "1")]),
            Err(PageFault::RepeatsMarker)
        );
        let pages = |number| -> Vec<Page> {
            (0..number).map(|it| page(&format!("j-{it}"), &format!("m-{it}"))).collect()
        };
        assert_eq!(read(&pages(MOST_PAGES)), Ok(()));
        assert_eq!(read(&pages(MOST_PAGES + 1)), Err(PageFault::Endless));
        let empty = |next: &str| (Vec::new(), Some(next.to_owned()));
        assert_eq!(read(&[empty("1"), empty("2")]), Ok(()));
        assert_eq!(read(&[empty("1"), empty("1")]), Err(PageFault::RepeatsMarker));
    }
}

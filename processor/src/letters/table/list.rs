//! Lists: one query for each run of letters that an index has in order, and the runs merged, oldest first.

use std::collections::HashMap;
use std::pin::Pin;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};

use super::TableLetters;
use super::definition::{BY_KEY, BY_PROJECTION, BY_STATE};
use super::rows::{FIRST_AT, Item, STATE, number};
use crate::letters::{LetterFilter, LetterHead, LetterId, LetterState};
use crate::outcome::Fault;
use crate::sink::fault::fault;

/// How many heads a page of a list has: little memory, and the first letters are there at once.
const PAGE: i32 = 250;

/// What a list comes upon.
enum Found {
    Head(Box<LetterHead>),
    /// One letter cannot be read; the rest goes on.
    Damaged(Fault),
    /// Nothing can be read any more.
    Down(Fault),
}

/// How far a query is.
enum Cursor {
    Start,
    After(Item),
    End,
}

/// One query of an index.
#[derive(Debug, Clone, Default, PartialEq)]
struct Query {
    index: &'static str,
    condition: String,
    /// What the index does not order by, judged where the heads are: saves their way to us.
    filter: Option<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl TableLetters {
    pub(super) fn list_letters<'a>(
        &'a self,
        filter: &'a LetterFilter,
    ) -> BoxStream<'a, Result<LetterHead, Fault>> {
        let runs = Query::all(filter).into_iter().map(|query| self.run(query, filter)).collect();
        merged(runs).boxed()
    }

    fn run<'a>(&'a self, query: Query, filter: &'a LetterFilter) -> BoxStream<'a, Found> {
        let start = (query, Cursor::Start);
        let pages = stream::unfold(start, move |(query, cursor)| async move {
            let from = match cursor {
                Cursor::Start => None,
                Cursor::After(key) => Some(key),
                Cursor::End => return None,
            };
            let (found, next) = match self.retried(|| self.page(&query, filter, from.clone())).await {
                Ok(page) => page,
                Err(fault) => (vec![Found::Down(fault)], Cursor::End),
            };
            Some((stream::iter(found), (query, next)))
        });
        pages.flatten().boxed()
    }

    async fn page(
        &self,
        query: &Query,
        filter: &LetterFilter,
        from: Option<Item>,
    ) -> Result<(Vec<Found>, Cursor), Fault> {
        let page = self
            .client
            .query()
            .table_name(&*self.table)
            .index_name(query.index)
            .key_condition_expression(&query.condition)
            .set_filter_expression(query.filter.clone())
            .set_expression_attribute_names(Some(query.names.clone()))
            .set_expression_attribute_values(Some(query.values.clone()))
            .set_exclusive_start_key(from)
            .limit(PAGE)
            .send()
            .await
            .map_err(|error| fault(format!("list the letters in table {}", self.table), &error))?;
        let next = page.last_evaluated_key.map_or(Cursor::End, Cursor::After);
        let rows = page.items.unwrap_or_default().into_iter().filter(|row| !self.is_expired(row));
        let found = rows.filter_map(|row| match self.head(row) {
            Ok(head) => filter.admits(&head).then(|| Found::Head(Box::new(head))),
            // A letter that cannot be read might be one that was asked for.
            Err(fault) => Some(Found::Damaged(fault)),
        });
        Ok((found.collect(), next))
    }
}

impl Query {
    /// The queries that together find what a filter may admit.
    fn all(filter: &LetterFilter) -> Vec<Self> {
        let states: Vec<LetterState> =
            LetterState::ALL.into_iter().filter(|state| filter.admits_state(*state)).collect();
        if filter.since.zip(filter.until).is_some_and(|(since, until)| since >= until)
            || filter.until == Some(0)
        {
            return Vec::new();
        }
        if let Some(digest) = &filter.digest {
            return vec![Self::of(BY_KEY, "digest", digest.as_str()).only(&states)];
        }
        if let Some(projection) = &filter.projection {
            let query = Self::of(BY_PROJECTION, "projection", projection.as_str());
            return vec![query.between(filter).only(&states)];
        }
        let query = |state: &LetterState| Self::of(BY_STATE, STATE, state.as_str()).between(filter);
        states.iter().map(query).collect()
    }

    fn of(index: &'static str, hash: &str, value: &str) -> Self {
        Self {
            index,
            condition: "#hash = :hash".to_owned(),
            filter: None,
            names: HashMap::from([("#hash".to_owned(), hash.to_owned())]),
            values: HashMap::from([(":hash".to_owned(), AttributeValue::S(value.to_owned()))]),
        }
    }

    /// Only what first failed in time, where the index is ordered by that.
    fn between(mut self, filter: &LetterFilter) -> Self {
        let last = filter.until.map(|until| until.saturating_sub(1));
        self.condition += match (filter.since, last) {
            (None, None) => return self,
            (Some(_), None) => " AND #first >= :since",
            (None, Some(_)) => " AND #first <= :last",
            (Some(_), Some(_)) => " AND #first BETWEEN :since AND :last",
        };
        self.names.insert("#first".to_owned(), FIRST_AT.to_owned());
        let bounds = [(":since", filter.since), (":last", last)];
        let bounds = bounds.into_iter().filter_map(|(name, at)| Some((name.to_owned(), number(at?))));
        self.values.extend(bounds);
        self
    }

    fn only(mut self, states: &[LetterState]) -> Self {
        let name = |state: &LetterState| format!(":{}", state.as_str());
        let names: Vec<String> = states.iter().map(name).collect();
        self.filter = Some(format!("#state IN ({})", names.join(", ")));
        self.names.insert("#state".to_owned(), STATE.to_owned());
        let value = |state: &LetterState| (name(state), AttributeValue::S(state.as_str().to_owned()));
        self.values.extend(states.iter().map(value));
        self
    }
}

/// The runs as one, oldest first; each run stays in its own order.
fn merged<'a>(
    runs: Vec<BoxStream<'a, Found>>,
) -> impl Stream<Item = Result<LetterHead, Fault>> + Send + use<'a> {
    let runs: Vec<_> = runs.into_iter().map(StreamExt::peekable).collect();
    stream::unfold(Some(runs), |runs| async move {
        let mut runs = runs?;
        let mut oldest: Option<(usize, (u64, Option<LetterId>))> = None;
        for (place, run) in runs.iter_mut().enumerate() {
            let age = match Pin::new(run).peek().await {
                None => continue,
                Some(Found::Head(head)) => (head.first_at(), Some(head.id.clone())),
                // Faults come as soon as they are found.
                Some(Found::Damaged(_) | Found::Down(_)) => (0, None),
            };
            if oldest.as_ref().is_none_or(|(_, oldest)| age < *oldest) {
                oldest = Some((place, age));
            }
        }
        let (place, _) = oldest?;
        match runs.get_mut(place)?.next().await? {
            Found::Head(head) => Some((Ok(*head), Some(runs))),
            Found::Damaged(fault) => Some((Err(fault), Some(runs))),
            Found::Down(fault) => Some((Err(fault), None)),
        }
    })
}

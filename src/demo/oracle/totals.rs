//! The totals of orders by customer and by month, added up from nothing.
//!
//! Amounts of the demo have two decimals, so they are added up as whole hundredths.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Rows, Tables, customer, in_words, status};
use crate::demo::row::{Row, number, row};
use crate::demo::tables::{BY_CUSTOMER, BY_MONTH};

/// How many hundredths one is.
const ONE: i128 = 100;

/// One row for each customer who has an order: how many, for how much, the first and the last.
pub(super) fn by_customer(orders: &Rows) -> Vec<Row> {
    let groups = grouped(orders, customer);
    let row_of = |(customer, orders): (String, Vec<&Row>)| {
        let mut days: Vec<&AttributeValue> =
            orders.iter().filter_map(|order| order.get("placedAt")).collect();
        days.sort_by_key(|day| in_words(day));
        let mut row = both(("customer", customer), &orders);
        row.extend(days.first().map(|day| ("firstOrder".to_owned(), (*day).clone())));
        row.extend(days.last().map(|day| ("lastOrder".to_owned(), (*day).clone())));
        row
    };
    groups.into_iter().map(row_of).collect()
}

/// One row for each month that has an order: how many, for how much, the largest, the discounts and how many orders have
/// one, and how many customers.
pub(super) fn by_month(orders: &Rows) -> Vec<Row> {
    let groups = grouped(orders, |order| order.get("month").cloned());
    let row_of = |(month, orders): (String, Vec<&Row>)| {
        let discounts: Vec<i128> =
            orders.iter().filter_map(|order| hundredths(order.get("discount")?)).collect();
        let largest = orders.iter().filter_map(|order| hundredths(order.get("total")?)).max();
        let customers: BTreeSet<String> =
            orders.iter().filter_map(|order| customer(order)).map(|it| in_words(&it)).collect();
        let mut row = both(("month", month), &orders);
        row.insert("discount_sum".to_owned(), amount(discounts.iter().sum()));
        row.insert("discount_count".to_owned(), number(discounts.len()));
        row.extend(largest.map(|largest| ("largest".to_owned(), amount(largest))));
        row.insert("customers".to_owned(), number(customers.len()));
        row
    };
    groups.into_iter().map(row_of).collect()
}

/// The orders that count, by a value: none without a total, and no drafts.
fn grouped(orders: &Rows, by: impl Fn(&Row) -> Option<AttributeValue>) -> BTreeMap<String, Vec<&Row>> {
    let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for order in orders.values().filter(|order| order.contains_key("total") && status(order) != "DRAFT") {
        if let Some(group) = by(order) {
            groups.entry(in_words(&group)).or_default().push(order);
        }
    }
    groups
}

/// What both tables have: the group, how many orders, and their revenue.
fn both((name, group): (&str, String), orders: &[&Row]) -> Row {
    let revenue = orders.iter().filter_map(|order| hundredths(order.get("total")?)).sum();
    row([(name, AttributeValue::S(group)), ("orders", number(orders.len())), ("revenue", amount(revenue))])
}

/// Puts what was found in these tables into the form in which it is expected: one number has many spellings, and a month
/// whose last order went has a row of zeros, which says the same as none.
pub(super) fn as_expected(found: &mut Tables) {
    for table in [BY_CUSTOMER, BY_MONTH] {
        let values = found.get_mut(table).into_iter().flat_map(Rows::values_mut).flat_map(Row::values_mut);
        for value in values {
            if let Some(hundredths) = hundredths(value) {
                *value = amount(hundredths);
            }
        }
    }
    if let Some(months) = found.get_mut(BY_MONTH) {
        let zero = |(name, value): (&String, &AttributeValue)| name == "month" || *value == number(0);
        months.retain(|_, row| !row.iter().all(zero));
    }
}

/// A number as hundredths; none if it is no number, or has more than two decimals.
fn hundredths(value: &AttributeValue) -> Option<i128> {
    let text = value.as_n().ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let fraction = fraction.trim_end_matches('0');
    let parts = (whole.parse::<i128>().ok()?, format!("{fraction:0<2}").parse::<u8>().ok()?);
    (fraction.len() <= 2).then_some(parts.0 * ONE + sign * i128::from(parts.1))
}

/// Hundredths as a number, in the one spelling that is compared.
fn amount(hundredths: i128) -> AttributeValue {
    let sign = if hundredths < 0 { "-" } else { "" };
    let (whole, fraction) = (hundredths.abs() / ONE, hundredths.abs() % ONE);
    let text = format!("{sign}{whole}.{fraction:02}");
    number(text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::row::text;

    #[test]
    fn a_number_has_one_spelling() {
        for (text, hundredth, plain) in [
            ("0", 0, "0"),
            ("7", 700, "7"),
            ("70", 7_000, "70"),
            ("0.05", 5, "0.05"),
            ("12.50", 1_250, "12.5"),
            ("-0.5", -50, "-0.5"),
            ("-3.25", -325, "-3.25"),
            ("178.000", 17_800, "178"),
        ] {
            assert_eq!(hundredths(&number(text)), Some(hundredth), "{text}");
            assert_eq!(amount(hundredth), number(plain), "{text}");
        }
        for none in [number("1.234"), number("1E3"), number("x"), text("1")] {
            assert_eq!(hundredths(&none), None, "{none:?}");
        }
    }

    fn order(customer: &str, status: &str, total: Option<&str>, discount: Option<&str>) -> Row {
        let customer = AttributeValue::M(row([("name", text(customer))]).into_iter().collect());
        let day = format!("2026-05-0{}", total.map_or(0, str::len));
        let attributes = [("customer", customer), ("status", text(status)), ("month", text("2026-05"))];
        let mut order = row(attributes);
        order.insert("placedAt".to_owned(), text(day));
        order.extend(total.map(|total| ("total".to_owned(), number(total))));
        order.extend(discount.map(|discount| ("discount".to_owned(), number(discount))));
        order
    }

    fn orders() -> Rows {
        let orders = [
            order("Ada", "PAID", Some("0.10"), Some("0.05")),
            order("Ada", "PLACED", Some("1000.20"), None),
            order("Bo", "SHIPPED", Some("9.9"), Some("2.5")),
            order("Bo", "DRAFT", Some("50"), Some("1")),
            order("Cy", "PLACED", None, None),
        ];
        orders.into_iter().enumerate().map(|(place, order)| (place.to_string(), order)).collect()
    }

    #[test]
    fn orders_count_by_customer_unless_they_are_drafts_or_have_no_total() {
        let ada = row([
            ("customer", text("Ada")),
            ("orders", number(2)),
            ("revenue", number("1000.3")),
            ("firstOrder", text("2026-05-04")),
            ("lastOrder", text("2026-05-07")),
        ]);
        let bo = row([
            ("customer", text("Bo")),
            ("orders", number(1)),
            ("revenue", number("9.9")),
            ("firstOrder", text("2026-05-03")),
            ("lastOrder", text("2026-05-03")),
        ]);
        assert_eq!(by_customer(&orders()), [ada, bo]);
    }

    #[test]
    fn a_month_has_the_largest_order_the_discounts_and_the_customers() {
        let may = row([
            ("month", text("2026-05")),
            ("orders", number(3)),
            ("revenue", number("1010.2")),
            ("discount_sum", number("2.55")),
            ("discount_count", number(2)),
            ("largest", number("1000.2")),
            ("customers", number(2)),
        ]);
        assert_eq!(by_month(&orders()), [may]);
    }

    #[test]
    fn only_a_month_may_stay_with_zeros() {
        let zeros = |name: &str, count| {
            row([(name, text("x")), ("orders", number(count)), ("revenue", number("0.0"))])
        };
        let rows = |row: Row| Rows::from([("x".to_owned(), row)]);
        let mut found =
            Tables::from([(BY_CUSTOMER, rows(zeros("customer", 0))), (BY_MONTH, rows(zeros("month", 0)))]);
        as_expected(&mut found);
        assert_eq!([BY_CUSTOMER, BY_MONTH].map(|table| found[table].len()), [1, 0]);
        let mut found = Tables::from([(BY_MONTH, rows(zeros("month", 1)))]);
        as_expected(&mut found);
        assert_eq!(found[BY_MONTH]["x"]["revenue"], number("0"), "what counts something stays");
    }
}

//! The lookup rows: of companies by their VAT id, and of orders by each of their tags.

use super::status;
use crate::demo::row::{Row, text};

/// The row that leads from a company's VAT id to the company, if it has one.
pub(super) fn by_vat(company: &Row) -> Option<Row> {
    let attributes = ["vatId", "companyId"].map(|name| Some((name.to_owned(), company.get(name)?.clone())));
    attributes.into_iter().collect()
}

/// A row for each tag of an order that is no draft.
pub(super) fn by_tag(order: &Row) -> Vec<Row> {
    let tags = order.get("tags").and_then(|tags| tags.as_ss().ok());
    let tags = tags.into_iter().flatten().filter(|_| status(order) != "DRAFT");
    let row = |tag: &String| {
        let mut row = Row::from([("tag".to_owned(), text(tag))]);
        for name in ["orderId", "status", "placedAt"] {
            row.extend(order.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        row
    };
    tags.map(row).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;
    use crate::demo::row::row;

    #[test]
    fn a_company_is_found_by_its_id_if_it_has_one() {
        let company = row([("companyId", text("c")), ("vatId", text("EU1")), ("name", text("Elm Paper"))]);
        assert_eq!(by_vat(&company), Some(row([("companyId", text("c")), ("vatId", text("EU1"))])));
        assert_eq!(by_vat(&row([("companyId", text("c"))])), None);
    }

    #[test]
    fn an_order_is_found_by_each_of_its_tags() {
        let tags = AttributeValue::Ss(vec!["gift".to_owned(), "return".to_owned()]);
        let mut order = row([("orderId", text("o")), ("status", text("PAID")), ("tags", tags)]);
        let of = |tag| row([("tag", text(tag)), ("orderId", text("o")), ("status", text("PAID"))]);
        assert_eq!(by_tag(&order), [of("gift"), of("return")]);
        order.insert("status".to_owned(), text("DRAFT"));
        assert_eq!(by_tag(&order), []);
        assert_eq!(by_tag(&row([("orderId", text("o")), ("status", text("PAID"))])), []);
    }
}

//! The comparison. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Amounts in cents, by booking number.
pub(crate) type Bookings = BTreeMap<String, i64>;

/// One line for each booking on which the two do not agree, by number.
pub(crate) fn differences(ledger: &Bookings, statement: &Bookings) -> Vec<String> {
    let numbers: BTreeSet<&String> = ledger.keys().chain(statement.keys()).collect();
    numbers
        .into_iter()
        .filter_map(|number| match (ledger.get(number), statement.get(number)) {
            (Some(own), Some(bank)) if own == bank => None,
            (Some(own), Some(bank)) => Some(format!("{number}: {own} in the ledger, {bank} at the bank")),
            (Some(own), None) => Some(format!("{number}: {own} in the ledger, nothing at the bank")),
            (None, bank) => {
                Some(format!("{number}: nothing in the ledger, {} at the bank", bank.copied().unwrap_or(0)))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bookings<const N: usize>(bookings: [(&str, i64); N]) -> Bookings {
        bookings.into_iter().map(|(number, cents)| (number.to_owned(), cents)).collect()
    }

    #[test]
    fn equal_books_have_no_differences() {
        let books = bookings([("1", 5), ("2", -7)]);
        assert_eq!(differences(&books, &books), [""; 0]);
    }

    #[test]
    fn each_difference_is_one_line() {
        let ledger = bookings([("1", 5), ("2", 7), ("3", 9)]);
        let statement = bookings([("1", 5), ("2", 8), ("4", 1)]);
        assert_eq!(
            differences(&ledger, &statement),
            [
                "2: 7 in the ledger, 8 at the bank",
                "3: 9 in the ledger, nothing at the bank",
                "4: nothing in the ledger, 1 at the bank",
            ]
        );
    }
}

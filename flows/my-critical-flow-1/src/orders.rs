//! Orders and their sum. Pure.

use serde::Deserialize;
use surefoot::prelude::*;

/// One line of an order.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    /// What the customer calls it.
    pub(crate) number: String,
    /// How many.
    pub(crate) pieces: u64,
    /// The price of one.
    pub(crate) price_cents: u64,
}

/// The orders that the test mode works with.
pub(crate) fn samples() -> Vec<Order> {
    [("A-1", 3, 1_250), ("A-2", 1, 99), ("A-3", 12, 400)]
        .map(|(number, pieces, price_cents)| Order { number: number.to_owned(), pieces, price_cents })
        .into()
}

/// The sum of all orders; an order without pieces is an error, for somebody made a mistake.
pub(crate) fn total_cents(orders: &[Order]) -> Result<u64> {
    orders.iter().try_fold(0_u64, |total, order| {
        ensure!(order.pieces > 0, "order {} has no pieces", order.number);
        order
            .pieces
            .checked_mul(order.price_cents)
            .and_then(|price| total.checked_add(price))
            .ok_or_else(|| Error::other(format!("order {} is too large to add up", order.number)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_add_up() {
        assert_eq!(total_cents(&samples()), Ok(3 * 1_250 + 99 + 12 * 400));
        assert_eq!(total_cents(&[]), Ok(0));
    }

    #[test]
    fn mistakes_are_named() {
        let order = |pieces, price_cents| Order { number: "B-7".into(), pieces, price_cents };
        assert_eq!(total_cents(&[order(0, 5)]), Err(Error::other("order B-7 has no pieces")));
        assert_eq!(total_cents(&[order(2, u64::MAX)]), Err(Error::other("order B-7 is too large to add up")));
    }
}

//! Statistics: medians, percentiles, and pairs of measurements that are taken in turn, because a shared disk changes
//! its mood from minute to minute.

use std::ops::AsyncFnMut;

use anyhow::Result;

/// Measurements of two things, taken in turn.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    values: Vec<f64>,
    references: Vec<f64>,
}

impl Pairs {
    /// Takes `count` pairs. Which of the two goes first alternates.
    pub(crate) async fn take(
        count: usize,
        mut value: impl AsyncFnMut() -> Result<f64>,
        mut reference: impl AsyncFnMut() -> Result<f64>,
    ) -> Result<Self> {
        let mut pairs = Self::default();
        for pair in 0..count {
            if pair.is_multiple_of(2) {
                pairs.values.push(value().await?);
                pairs.references.push(reference().await?);
            } else {
                pairs.references.push(reference().await?);
                pairs.values.push(value().await?);
            }
        }
        Ok(pairs)
    }

    /// The median of the first thing.
    pub(crate) fn value(&self) -> f64 {
        median(&self.values)
    }

    /// The median of the second thing.
    pub(crate) fn reference(&self) -> f64 {
        median(&self.references)
    }

    /// The first by the second, pair by pair.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.values.iter().zip(&self.references).map(|(value, reference)| value / reference).collect()
    }

    /// The first less the second, pair by pair.
    pub(crate) fn differences(&self) -> Vec<f64> {
        self.values.iter().zip(&self.references).map(|(value, reference)| value - reference).collect()
    }
}

/// The median; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The nearest value at that percentile; NaN of nothing.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let middle = percent == 50.0 && sorted.len().is_multiple_of(2) && last > 0;
    if middle {
        return f64::midpoint(sorted[last / 2], sorted[last / 2 + 1]);
    }
    let index = (last as f64 * percent / 100.0).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// The largest; NaN of nothing.
pub(crate) fn largest(values: &[f64]) -> f64 {
    percentile(values, 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_sorted_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        let hundred: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&hundred, 99.0), largest(&hundred)), (99.0, 100.0));
        assert!(median(&[]).is_nan());
    }

    #[tokio::test]
    async fn pairs_are_taken_in_turn_and_each_goes_first_as_often() {
        let order = std::cell::RefCell::new(String::new());
        let pairs = Pairs::take(
            4,
            async || {
                order.borrow_mut().push('v');
                Ok(6.0)
            },
            async || {
                order.borrow_mut().push('r');
                Ok(2.0)
            },
        );
        let pairs = pairs.await.unwrap();
        assert_eq!(order.into_inner(), "vrrvvrrv");
        assert_eq!((pairs.ratios(), pairs.differences()), (vec![3.0; 4], vec![4.0; 4]));
    }
}

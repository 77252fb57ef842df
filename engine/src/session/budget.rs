//! What a run may use of the limits that its execution began with. Every count is a function of the run alone, so that
//! a replay comes to the same end at the same place.

use serde_json::Value;

use super::{End, Session};
use crate::core::lock;
use crate::journal::Limits;

/// What a run has used so far.
#[derive(Debug, Default)]
pub(super) struct Budget {
    log_lines: u32,
    log_bytes: u64,
    /// Of what was set by name.
    output_bytes: u64,
}

impl Budget {
    /// Takes what one more log line needs.
    pub(super) fn take_log_line(&mut self, limits: &Limits, bytes: usize) -> Result<(), End> {
        self.log_lines = self.log_lines.saturating_add(1);
        self.log_bytes = self.log_bytes.saturating_add(bytes as u64);
        if self.log_lines > limits.log_lines_max {
            let message = format!("the flow wrote more than {} lines to its log", limits.log_lines_max);
            return Err(End::Limit("log_lines_max", format!("{message}; log less, or continue as new before that")));
        }
        if self.log_bytes > limits.log_bytes_max {
            let message = format!("the flow wrote more than {} bytes to its log", limits.log_bytes_max);
            return Err(End::Limit("log_bytes_max", format!("{message}; log less, or put it into a file")));
        }
        Ok(())
    }

    /// Takes what one named output needs, in place of what it had before.
    pub(super) fn take_output(&mut self, limits: &Limits, before: u64, bytes: u64) -> Result<(), End> {
        self.output_bytes = (self.output_bytes - before).saturating_add(bytes);
        check_output(limits, self.output_bytes)
    }
}

/// Size of one named output, bytes.
pub(super) fn output_bytes(key: &str, value: &Value) -> u64 {
    (key.len() + value.to_string().len()) as u64
}

fn check_output(limits: &Limits, bytes: u64) -> Result<(), End> {
    let max = limits.output_bytes_max;
    if bytes > max {
        let message = format!("an output of {bytes} bytes is over the limit of {max}; put it into a file");
        return Err(End::Limit("output_bytes_max", message));
    }
    Ok(())
}

impl Session {
    /// Refuses what the handler returned, or gave as a response, when it is too long together with what was set before.
    pub(crate) fn check_output(&self, bytes: usize) -> Result<(), End> {
        let set = lock(&self.state).budget.output_bytes;
        check_output(&self.resident.started.limits, set.saturating_add(bytes as u64))
    }

    /// Refuses an argument, or arguments, of that size.
    pub(crate) fn check_payload(&self, bytes: usize) -> Result<(), End> {
        let limit = self.resident.started.limits.payload_bytes_max;
        if bytes as u64 > limit {
            let message = format!("a payload of {bytes} bytes is over the limit of {limit}");
            return Err(End::Limit("payload_bytes_max", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(result: Result<(), End>) -> Option<&'static str> {
        match result {
            Err(End::Limit(name, _)) => Some(name),
            _ => None,
        }
    }

    #[test]
    fn a_log_is_bounded_in_lines_and_in_bytes() {
        let limits = Limits { log_lines_max: 2, log_bytes_max: 100, ..Limits::default() };
        let mut budget = Budget::default();
        assert_eq!(name(budget.take_log_line(&limits, 0)), None);
        assert_eq!(name(budget.take_log_line(&limits, 100)), None);
        assert_eq!(name(budget.take_log_line(&limits, 0)), Some("log_lines_max"));
        let mut budget = Budget::default();
        assert_eq!(name(budget.take_log_line(&limits, 101)), Some("log_bytes_max"));
    }

    #[test]
    fn an_output_that_is_set_again_counts_once() {
        let limits = Limits { output_bytes_max: 10, ..Limits::default() };
        let mut budget = Budget::default();
        assert_eq!(name(budget.take_output(&limits, 0, 9)), None);
        assert_eq!(name(budget.take_output(&limits, 9, 10)), None);
        assert_eq!(name(budget.take_output(&limits, 0, 1)), Some("output_bytes_max"));
    }
}

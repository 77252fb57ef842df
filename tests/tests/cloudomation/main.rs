//! Rows C-04 to C-31: the upgrade-safely example, capability by capability. The first line of a test's comment says
//! what the row asks for, as far as this test covers it.

mod connections;
mod files;
mod flows;
mod misdeeds;
mod records;
mod schedulers;
mod secrets;
mod sleeping;
mod upgrade_check;
mod webhooks;

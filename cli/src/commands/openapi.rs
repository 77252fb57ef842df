//! `surefoot openapi`: what the server would serve at `/api/v1/openapi.json`, without one.

use anyhow::Result;

use crate::context::Context;
use crate::exit_codes;

pub(crate) fn run(context: &Context) -> Result<u8> {
    context.printer.json(&surefoot_web::openapi())?;
    Ok(exit_codes::SUCCESS)
}

//! `/health`: whether requests are answered and the database can be read.

use super::call::Call;
use crate::contract::{Outcome, Success};

pub fn handle(call: &Call) -> Outcome {
    call.app.probe_database()?;
    Ok(Success::Sentence)
}

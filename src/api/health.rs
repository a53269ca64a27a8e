//! `/health`: whether requests are answered and the database can be read.

use super::call::Call;
use crate::contract::{Outcome, Success};

pub fn handle(call: &Call) -> Outcome {
    call.app.ask_without_waiting()?;
    Ok(Success::Sentence)
}

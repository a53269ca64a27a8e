//! `/health`: whether requests are answered and the database can be asked.

use crate::app::App;
use crate::contract::{Done, Outcome};
use crate::http::Request;

pub fn handle(app: &App, _: &Request) -> Outcome {
    app.ask_without_waiting()?;
    Ok(Done::Plain)
}

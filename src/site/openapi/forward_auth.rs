//! `/api/forward_auth` as a path of the document: it answers with statuses and headers, as no other
//! interface does, so that its part is a file.

use crate::contract::FORWARD_AUTH;
use serde_json::Value;

/// What the document says of the path.
pub fn path() -> Value {
    let file = include_str!("forward_auth.json");
    let mut path: Value = serde_json::from_str(file).expect("the file is JSON");
    path["get"]["operationId"] = FORWARD_AUTH.name().into();
    path["get"]["summary"] = FORWARD_AUTH.summary.into();
    path
}

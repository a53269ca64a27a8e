//! `/api/forward_auth` as a path of the document: it answers with statuses and headers.

use super::{answer_schema, http_answer};
use crate::contract::FORWARD_AUTH;
use serde_json::{Value, json};

/// What the document says of the path.
pub fn path() -> Value {
    let text =
        |description: &str| json!({"description": description, "schema": {"type": "string"}});
    let mut responses = json!({
        "200": {
            "description": "The request may pass, as this user.",
            "headers": {
                "Remote-User": text("The user name."),
                "Remote-Name": text("The display name."),
                "Remote-Email": text("The email."),
                "Remote-Groups": text("The user's groups, separated by commas."),
            },
        },
        "303": {
            "description": "The browser has to sign in first, at the page that `public_url` names.",
            "headers": {"Location": text("The page, with the address to return to.")},
        },
    });
    for status in [400, 401, 429, 503] {
        responses[status.to_string()] = http_answer(status);
    }
    let refusal = answer_schema(
        "HTTP 403",
        "JSON if the client does not accept HTML.",
        403,
        &json!({"type": "string"}),
    );
    responses["403"] = json!({
        "description": "The user is in none of the groups, or has a name that is not plain.",
        "content": {"application/json": {"schema": refusal}, "text/html": {"schema": {"type": "string"}}},
    });
    json!({"get": {
        "operationId": FORWARD_AUTH.name(),
        "summary": FORWARD_AUTH.summary,
        "tags": ["additions"],
        "parameters": [{
            "name": "group", "in": "query", "schema": {"type": "array", "items": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"}},
            "description": "Groups of which the user has to be in one.",
        }],
        "responses": responses,
    }})
}

//! From a request to its reply: a preflight, an interface, or what GET serves beside them.

use crate::api;
use crate::app::App;
use crate::http::{Reply, Request};
use crate::site::Site;
use std::io::Read;

/// Answers a request.
pub fn answer(app: &App, site: &Site, request: &Request, body: &mut dyn Read) -> Reply {
    // A preflight succeeds on every path, so that a page can see the answer that follows, whatever
    // it is. Health checks of load balancers send OPTIONS to `/` or `*` without a preflight's
    // headers. A proxy that asks for its client may copy such headers: 204 would let the request
    // pass.
    if request.method == "OPTIONS"
        && (request.headers.preflight || matches!(&*request.path, "/" | "*"))
        && !api::is_forward_auth(&request.path)
    {
        let headers = vec![("Allow", "GET, HEAD, POST, OPTIONS".into())];
        return Reply::empty(204, headers);
    }
    api::answer(app, request, body).unwrap_or_else(|| site.answer(request))
}

//! What GET serves besides the interfaces: the web page, avatars, the OpenAPI document, metrics.

mod file;
pub mod metrics;
pub mod openapi;
mod page;

use crate::account::avatar;
use crate::config::Config;
use crate::contract::{AVATARS, OPENAPI, outside};
use crate::http::{Reply, Request};
use page::Page;
use std::path::{Path, PathBuf};

/// Where password managers look for the place at which a password is changed
/// (<https://w3c.github.io/webappsec-change-password-url/>), and that place.
const CHANGE_PASSWORD: (&str, &str) = ("/.well-known/change-password", "/#/account/password");

/// The files that GET serves.
pub struct Site {
    data: PathBuf,
    /// The web page, if it is switched on.
    page: Option<Page>,
}

impl Site {
    /// The files of a server with this data folder and configuration.
    pub fn new(data: &Path, config: &Config) -> Site {
        Site {
            data: data.into(),
            page: config.page.then(|| Page::new(data, config)),
        }
    }

    /// The reply to a request that is not for an interface.
    pub fn answer(&self, request: &Request) -> Reply {
        if !matches!(&*request.method, "GET" | "HEAD") {
            return outside(404).into();
        }
        if let Some(name) = request.path.strip_prefix(AVATARS) {
            return avatar::serve(&self.data, name, &request.headers.if_none_match);
        }
        if request.path == OPENAPI {
            return openapi::serve(&request.headers);
        }
        let Some(page) = &self.page else {
            return outside(404).into();
        };
        if request.path == CHANGE_PASSWORD.0 {
            return Reply::empty(303, vec![("Location", CHANGE_PASSWORD.1.into())]);
        }
        page.serve(&request.path, &request.headers)
            .unwrap_or_else(|| outside(404).into())
    }
}

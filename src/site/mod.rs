//! What GET serves besides the interfaces: the web page, avatars, the OpenAPI document, metrics.

pub mod metrics;
pub mod openapi;
mod page;

use crate::account::avatar;
use crate::config::Config;
use crate::contract::{AVATARS, OPENAPI, outside};
use crate::http::{Reply, Request};
use page::Page;
use std::path::{Path, PathBuf};

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
            page: config.page.then(|| Page::new(config)),
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
            return openapi::serve(&request.headers.if_none_match);
        }
        let page = self.page.as_ref();
        page.and_then(|page| page.serve(&request.path, &request.headers))
            .unwrap_or_else(|| outside(404).into())
    }
}

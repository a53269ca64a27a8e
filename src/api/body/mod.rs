//! Bodies of requests: JSON, and files in `multipart/form-data`.

pub mod json;
pub mod multipart;

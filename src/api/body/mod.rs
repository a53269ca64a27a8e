//! Request bodies: JSON, and uploads as `multipart/form-data`.

pub mod json;
pub mod multipart;

//! Everything about accounts except the database: passwords, captchas, pictures, rate limits.

pub mod avatar;
pub mod captcha;
pub mod expiring;
pub mod image;
pub mod password;
pub mod plain_name;
pub mod policy;
pub mod throttle;

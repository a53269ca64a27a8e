//! Accounts apart from where they are stored: passwords, captchas, pictures, limits.

pub mod avatar;
pub mod captcha;
pub mod expiring;
pub mod image;
pub mod password;
pub mod plain_name;
pub mod policy;
pub mod throttle;

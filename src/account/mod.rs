//! Everything about accounts except the database: passwords, second factors, captchas, pictures,
//! rate limits.

pub mod avatar;
pub mod captcha;
pub mod expiring;
pub mod image;
pub mod password;
pub mod plain_name;
pub mod policy;
pub mod qr;
pub mod sealed;
pub mod throttle;
pub mod totp;

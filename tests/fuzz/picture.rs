//! An uploaded picture: what is cleaned is a picture of the same kind and size, and has nothing
//! left to clean.
#![no_main]

use accountd::account::image::{self, MAX_PIXELS, MAX_SIDE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(picture) = image::read(data) else {
        return;
    };
    assert!(picture.width.max(picture.height) <= MAX_SIDE);
    assert!(u64::from(picture.width) * u64::from(picture.height) <= MAX_PIXELS);
    let clean = picture.pieces.concat();
    let again = image::read(&clean).expect("what was cleaned is a picture");
    assert_eq!(
        (again.kind, again.width, again.height),
        (picture.kind, picture.width, picture.height)
    );
    assert_eq!(again.pieces.concat(), clean, "it was cleaned once more");
});

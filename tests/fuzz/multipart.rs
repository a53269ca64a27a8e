//! A multipart form: its Content-Type up to the first line break, then its body.
#![no_main]

use accountd::api::body::multipart;
use accountd::contract::Reason;
use libfuzzer_sys::fuzz_target;

const USUAL: &str = "multipart/form-data; boundary=XX";
const END: &[u8] = b"--XX--";
const LIMIT: u64 = 1000;

fn read(content_type: &str, mut body: &[u8]) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    match multipart::copy_file(content_type, &mut body, LIMIT, &mut file) {
        Ok(size) => {
            assert!(size == file.len() as u64 && size <= LIMIT);
            Some(file)
        }
        Err(refusal) => {
            assert_eq!(
                (refusal.reason, refusal.cause),
                (Reason::FileUnusable, None)
            );
            assert!(
                refusal
                    .detail
                    .is_some_and(|detail| detail.is_ascii() && !detail.is_empty())
            );
            None
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let Ok(content_type) = std::str::from_utf8(&data[..at]) else {
        return;
    };
    let body = &data[at + 1..];
    if read(content_type, body).is_some() && content_type == USUAL {
        // A form that ends early has no file.
        let end = body
            .windows(END.len())
            .position(|bytes| bytes == END)
            .expect("its last boundary");
        assert_eq!(read(USUAL, &body[..end]), None);
    }
});

//! Why the program ends without having done what it was asked to.

/// An exit code and a sentence.
#[derive(Debug)]
pub struct Failure {
    /// 2 for bad usage or configuration, 1 for anything else.
    pub code: u8,
    /// One sentence for standard error; empty if the reason has already been printed.
    pub sentence: String,
}

impl Failure {
    /// A failure with its code and sentence.
    pub fn new(code: u8, sentence: String) -> Failure {
        Failure { code, sentence }
    }
}

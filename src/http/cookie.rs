//! The cookie of a signed-in browser: found in a request, set and cleared by a reply.

/// How the cookie is set: its name and attributes depend on the address of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The domain whose hosts receive it, or only the host that sets it.
    pub domain: Option<&'a str>,
    /// Whether browsers send it over HTTPS only.
    pub secure: bool,
}

impl Scope<'_> {
    /// The name. Browsers accept the prefix `__Host-` only from the host itself, over HTTPS, so
    /// that no sibling domain can set this cookie (RFC 6265bis, 4.1.3.2).
    pub fn name(self) -> &'static str {
        if self.secure && self.domain.is_none() {
            "__Host-accountd"
        } else {
            "accountd"
        }
    }

    /// The value of `Set-Cookie` for this token. Without `max_age`, in seconds, the cookie lasts as
    /// long as the browser runs.
    pub fn set(self, token: &str, max_age: Option<i64>) -> String {
        let name = self.name();
        let max_age = max_age.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
        let secure = if self.secure { "; Secure" } else { "" };
        let domain = self
            .domain
            .map_or_else(String::new, |domain| format!("; Domain={domain}"));
        format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax{secure}{domain}{max_age}")
    }

    /// The value of `Set-Cookie` that removes it.
    pub fn clear(self) -> String {
        self.set("", Some(0))
    }

    /// The token in the lines of `Cookie`. A sibling domain can add a second cookie of the same
    /// name, and a server cannot tell which one is its own: two different values count as none.
    pub fn find(self, lines: &[String]) -> Option<&str> {
        let all = lines.iter().flat_map(|line| line.split(';'));
        let mut values = all.filter_map(|pair| {
            let (name, value) = pair.trim_ascii().split_once('=')?;
            (name == self.name()).then_some(value)
        });
        let first = values.next()?;
        (!first.is_empty() && values.all(|value| value == first)).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Scope = Scope {
        domain: None,
        secure: true,
    };
    const PLAIN: Scope = Scope {
        domain: None,
        secure: false,
    };
    const DOMAIN: Scope = Scope {
        domain: Some("example.org"),
        secure: true,
    };

    #[test]
    fn the_attributes_follow_from_the_scope() {
        for (scope, max_age, expected) in [
            (
                HOST,
                None,
                "__Host-accountd=t; Path=/; HttpOnly; SameSite=Lax; Secure",
            ),
            (
                PLAIN,
                Some(60),
                "accountd=t; Path=/; HttpOnly; SameSite=Lax; Max-Age=60",
            ),
            (
                DOMAIN,
                None,
                "accountd=t; Path=/; HttpOnly; SameSite=Lax; Secure; Domain=example.org",
            ),
        ] {
            assert_eq!(scope.set("t", max_age), expected);
        }
        assert_eq!(
            HOST.clear(),
            "__Host-accountd=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
        );
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        for (lines, expected) in [
            (&["accountd=a"][..], Some("a")),
            (&["x=1; accountd=a;y=2"], Some("a")),
            (&["x=1", " accountd=a "], Some("a")),
            (&["accountd=a; accountd=a"], Some("a")),
            (&["accountd=a; accountd=b"], None),
            (&["accountd=a", "accountd=b"], None),
            (&["accountd=; accountd=a"], None),
            (&["accountd="], None),
            (&["accountd"], None),
            (&["Accountd=a"], None),
            (&["xaccountd=a; accountdx=b; __Host-accountd=c"], None),
            (&["名=é; accountd=a"], Some("a")),
            (&[""], None),
            (&[], None),
        ] {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            assert_eq!(PLAIN.find(&lines), expected, "{lines:?}");
        }
        let lines = ["accountd=tossed; __Host-accountd=own".to_string()];
        assert_eq!(HOST.find(&lines), Some("own"));
    }
}

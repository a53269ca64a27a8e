//! The kind of client in the header `User-Agent`, in fixed words: never the client's own text.

/// Programs that are not browsers, by the beginning of the header.
const PROGRAMS: [(&str, &str); 31] = [
    ("curl/", "curl"),
    ("Wget/", "wget"),
    ("Wget2/", "wget"),
    ("python-", "Python"),
    ("Python-", "Python"),
    ("Python/", "Python"),
    ("aiohttp/", "Python"),
    ("HTTPie/", "HTTPie"),
    ("Go-http-client/", "Go"),
    ("go-resty/", "Go"),
    ("okhttp/", "okhttp"),
    ("Java/", "Java"),
    ("Java-http-client/", "Java"),
    ("Apache-HttpClient/", "Java"),
    ("ktor-client", "Kotlin"),
    ("node", "Node"),
    ("undici", "Node"),
    ("axios/", "Node"),
    ("got (", "Node"),
    ("Deno/", "Deno"),
    ("Bun/", "Bun"),
    ("Dart/", "Dart"),
    ("reqwest/", "Rust"),
    ("ureq/", "Rust"),
    ("Ruby", "Ruby"),
    ("Faraday v", "Ruby"),
    ("GuzzleHttp/", "PHP"),
    ("PHP", "PHP"),
    ("libwww-perl/", "Perl"),
    ("PostmanRuntime/", "Postman"),
    ("insomnia/", "Insomnia"),
];

/// Browsers, by a part of the header. Most of them also have the parts of those further down.
const BROWSERS: [(&str, &str); 35] = [
    ("PowerShell/", "PowerShell"),
    ("MicroMessenger/", "WeChat"),
    ("QQBrowser/", "QQ Browser"),
    ("UCBrowser/", "UC Browser"),
    ("UBrowser/", "UC Browser"),
    ("MiuiBrowser/", "Mi Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("HeyTapBrowser/", "HeyTap Browser"),
    ("VivoBrowser/", "Vivo Browser"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("OPR/", "Opera"),
    ("OPX/", "Opera"),
    ("OPT/", "Opera"),
    ("Opera", "Opera"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("Epiphany/", "GNOME Web"),
    ("Falkon/", "Falkon"),
    ("SeaMonkey/", "SeaMonkey"),
    ("FxiOS/", "Firefox"),
    ("Focus/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Trident/", "Internet Explorer"),
    ("MSIE ", "Internet Explorer"),
    ("Version/", "Safari"),
    ("AppleWebKit/", "browser"),
];

/// Systems, by a part of the header. Those of phones also name the system that theirs is made from.
const SYSTEMS: [(&str, &str); 14] = [
    ("OpenHarmony", "HarmonyOS"),
    ("HarmonyOS", "HarmonyOS"),
    ("iPhone", "iPhone"),
    ("iPod", "iPhone"),
    ("iPad", "iPad"),
    ("KAIOS/", "KaiOS"),
    ("Tizen", "Tizen"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS ", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
];

/// The kind of client that sends this header: `Firefox on Linux`, `curl`, or `other`.
pub fn client(user_agent: &str) -> String {
    if let Some((_, name)) = PROGRAMS.iter().find(|one| user_agent.starts_with(one.0)) {
        return (*name).into();
    }
    let part = |one: &&(&str, &str)| user_agent.contains(one.0);
    let Some((_, browser)) = BROWSERS.iter().find(part) else {
        return "other".into();
    };
    // Crawlers call themselves compatible, as old versions of Internet Explorer do.
    if user_agent.contains("compatible; ") && !user_agent.contains("MSIE ") {
        return "other".into();
    }
    match SYSTEMS.iter().find(part) {
        Some((_, system)) => format!("{browser} on {system}"),
        None => (*browser).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::client;

    /// `AppleWebKit/… (KHTML, like Gecko)`, which the engines of all browsers but one begin with.
    const KIT: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";
    const IOS: &str = "AppleWebKit/605.1.15 (KHTML, like Gecko)";

    #[test]
    fn browsers_are_named_with_their_system() {
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)";
        let mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)";
        let linux = "Mozilla/5.0 (X11; Linux x86_64)";
        let android = "Mozilla/5.0 (Linux; Android 10; K)";
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)";
        let ipad = "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X)";
        let chrome = "Chrome/140.0.0.0";
        for (expected, header) in [
            ("Firefox on Windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0".into()),
            ("Firefox on macOS", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0".into()),
            ("Firefox on Linux", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into()),
            ("Firefox on Linux", "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".into()),
            ("Firefox on FreeBSD", "Mozilla/5.0 (X11; FreeBSD amd64; rv:140.0) Gecko/20100101 Firefox/140.0".into()),
            ("Firefox on Android", "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0".into()),
            ("Firefox on iPhone", format!("{iphone} {IOS} FxiOS/140.0 Mobile/15E148 Safari/605.1.15")),
            ("Firefox on iPad", format!("{ipad} {IOS} FxiOS/140.0 Mobile/15E148 Safari/605.1.15")),
            ("Chrome on Windows", format!("{windows} {KIT} {chrome} Safari/537.36")),
            ("Chrome on macOS", format!("{mac} {KIT} {chrome} Safari/537.36")),
            ("Chrome on Linux", format!("{linux} {KIT} {chrome} Safari/537.36")),
            ("Chrome on Linux", format!("{linux} {KIT} HeadlessChrome/140.0.0.0 Safari/537.36")),
            ("Chrome on ChromeOS", format!("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {KIT} {chrome} Safari/537.36")),
            ("Chrome on Android", format!("{android} {KIT} {chrome} Mobile Safari/537.36")),
            ("Chrome on iPhone", format!("{iphone} {IOS} CriOS/140.0.7339.39 Mobile/15E148 Safari/604.1")),
            ("Chrome on HarmonyOS", format!("Mozilla/5.0 (Phone; OpenHarmony 5.0) {KIT} Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile")),
            ("Chromium on Linux", format!("{linux} {KIT} Ubuntu Chromium/90.0.4430.93 Chrome/90.0.4430.93 Safari/537.36")),
            ("Edge on Windows", format!("{windows} {KIT} {chrome} Safari/537.36 Edg/140.0.0.0")),
            ("Edge on Windows", format!("{windows} {KIT} Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763")),
            ("Edge on macOS", format!("{mac} {KIT} {chrome} Safari/537.36 Edg/140.0.0.0")),
            ("Edge on Android", format!("{android} {KIT} {chrome} Mobile Safari/537.36 EdgA/140.0.0.0")),
            ("Edge on iPhone", format!("{iphone} {IOS} Version/18.0 EdgiOS/140.0.3485.54 Mobile/15E148 Safari/604.1")),
            ("Safari on macOS", format!("{mac} {IOS} Version/18.5 Safari/605.1.15")),
            ("Safari on iPhone", format!("{iphone} {IOS} Version/18.5 Mobile/15E148 Safari/604.1")),
            ("Safari on iPad", format!("{ipad} {IOS} Version/17.7 Mobile/15E148 Safari/604.1")),
            ("GNOME Web on Linux", format!("{linux} {IOS} Version/18.0 Safari/605.1.15 Epiphany/605.1.15")),
            ("Samsung Internet on Android", format!("{android} {KIT} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36")),
            ("Opera on Windows", format!("{windows} {KIT} {chrome} Safari/537.36 OPR/122.0.0.0")),
            ("Opera on iPhone", format!("{iphone} {IOS} Version/18.5 Mobile/15E148 Safari/604.1 OPT/5.4.0")),
            ("Vivaldi on Linux", format!("{linux} {KIT} {chrome} Safari/537.36 Vivaldi/7.5.3735.54")),
            ("Yandex Browser on Windows", format!("{windows} {KIT} {chrome} YaBrowser/25.8.0.0 Safari/537.36")),
            ("DuckDuckGo on macOS", format!("{mac} {IOS} Version/18.5 Safari/605.1.15 Ddg/18.5")),
            ("WeChat on iPhone", format!("{iphone} {IOS} Mobile/15E148 MicroMessenger/8.0.61(0x18003d2f) NetType/WIFI Language/zh_CN")),
            ("WeChat on Android", format!("{android} {KIT} Version/4.0 Chrome/134.0.0.0 Mobile Safari/537.36 XWEB/1340 MMWEBSDK/20250503 MicroMessenger/8.0.61")),
            ("QQ Browser on Android", format!("{android} {KIT} Version/4.0 Chrome/121.0.0.0 MQQBrowser/16.0 Mobile Safari/537.36")),
            ("UC Browser on Android", format!("{android} {KIT} Version/4.0 Chrome/100.0.4896.58 UCBrowser/17.2.0 Mobile Safari/537.36")),
            ("Huawei Browser on Android", format!("{android} {KIT} Chrome/114.0.5735.196 HuaweiBrowser/16.0.6.300 Mobile Safari/537.36")),
            ("Mi Browser on Android", format!("{android} {KIT} Version/4.0 Chrome/112.0.5615.136 Mobile Safari/537.36 XiaoMi/MiuiBrowser/18.9")),
            ("Internet Explorer on Windows", "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko".into()),
            ("Internet Explorer on Windows", "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)".into()),
            ("PowerShell on Windows", "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1".into()),
            ("PowerShell on Linux", "Mozilla/5.0 (Linux; Debian GNU/Linux 12; en-US) PowerShell/7.4.0".into()),
            // An engine within some other program.
            ("browser on iPhone", format!("{iphone} {IOS} Mobile/15E148")),
            ("Chrome", format!("Mozilla/5.0 {KIT} {chrome}")),
        ] {
            assert_eq!(client(&header), expected, "{header}");
        }
    }

    #[test]
    fn programs_are_named_by_their_library() {
        for (expected, header) in [
            ("curl", "curl/8.14.1"),
            ("wget", "Wget/1.25.0"),
            ("wget", "Wget2/2.2.0"),
            ("Python", "python-requests/2.32.4"),
            ("Python", "Python-urllib/3.13"),
            ("Python", "python-httpx/0.28.1"),
            ("Python", "Python/3.13 aiohttp/3.12.15"),
            ("HTTPie", "HTTPie/3.2.4"),
            ("Go", "Go-http-client/1.1"),
            ("Java", "Java/21.0.8"),
            ("Java", "Java-http-client/21.0.8"),
            ("Java", "Apache-HttpClient/5.5 (Java/21.0.8)"),
            ("Node", "node"),
            (
                "Node",
                "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
            ),
            ("Node", "undici"),
            ("Node", "axios/1.11.0"),
            ("okhttp", "okhttp/5.1.0"),
            ("Dart", "Dart/3.9 (dart:io)"),
            ("Deno", "Deno/2.4.5"),
            ("Bun", "Bun/1.2.21"),
            ("Rust", "reqwest/0.12.23"),
            ("Ruby", "Ruby"),
            ("PHP", "GuzzleHttp/7"),
            ("Perl", "libwww-perl/6.78"),
            ("Postman", "PostmanRuntime/7.45.0"),
        ] {
            assert_eq!(client(header), expected, "{header}");
        }
    }

    #[test]
    fn everything_else_is_other() {
        for header in [
            "",
            " ",
            "my own program 1.0",
            "<script>alert(1)</script>",
            "CURL/8",
            "Mozilla/5.0",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
            "\u{202e}阿巴",
        ] {
            assert_eq!(client(header), "other", "{header}");
        }
    }
}

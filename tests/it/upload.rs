//! Uploads as browsers, scripts and old phones send them: variants of multipart bodies, and
//! pictures that are repaired.

use crate::support::{Response, Server, picture};

/// Uploads a multipart body with this boundary parameter and these parts, each with its headers.
fn upload(
    server: &Server,
    token: &str,
    parameter: &str,
    boundary: &str,
    parts: &[(&[u8], &[u8])],
) -> Response {
    let mut body = Vec::new();
    for (headers, data) in parts {
        body.extend(
            [
                b"--",
                boundary.as_bytes(),
                *headers,
                b"\r\n\r\n",
                *data,
                b"\r\n",
            ]
            .concat(),
        );
    }
    body.extend(format!("--{boundary}--\r\n").as_bytes());
    let kind = format!("multipart/form-data; {parameter}");
    server.send(
        "POST",
        "/api/upload_avatar/",
        &[("token", token), ("Content-Type", &kind)],
        &body,
    )
}

/// The served file of the avatar that a response names.
fn served(server: &Server, response: &Response) -> Vec<u8> {
    assert_eq!(response.code(), 200, "{}", response.text());
    let path = format!("/s/{}", response.json()["message"].as_str().unwrap());
    server.send("GET", &path, &[], b"").body
}

#[test]
fn variants_of_multipart_bodies_are_accepted() {
    let server = Server::start();
    let token = server.user("rei");
    let file = picture(30_000);
    let plain: &[u8] = b"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"";
    let other: &[u8] = b"\r\nContent-Disposition: form-data; name=\"other\"; filename=\"file\"";
    for (parameter, boundary) in [
        ("boundary=XyZ", "XyZ"),
        ("Boundary=\"a;b\"; charset=utf-8", "a;b"),
    ] {
        for headers in [
            plain,
            b"\r\nContent-Disposition: form-data; filename=\"a.png\"; name=\"file\"",
            b"\r\ncontent-disposition: Form-Data; NAME=\"file\"; FILENAME=\"a.png\"",
            b" \t\r\nContent-Disposition: form-data; name=\"file\"",
            b"\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nContent-Disposition: form-data; name=\"file\"",
            b"\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\xd7\xd4\xc5\xc4.png\"",
            b"\r\nContent-Type:\r\nContent-Disposition: form-data; name=\"file\"",
            b"\r\nContent-Type: image/png;\r\n charset=binary\r\nContent-Disposition: form-data; name=\"file\"",
        ] {
            let response = upload(&server, &token, parameter, boundary, &[(other, b"text"), (headers, &file)]);
            assert!(served(&server, &response) == file, "{}", String::from_utf8_lossy(headers));
        }
        let response = upload(&server, &token, parameter, boundary, &[(other, &file)]);
        assert_eq!(
            (response.code(), response.json()["detail"].as_str()),
            (169, Some("the form has no part named `file`"))
        );
    }
}

#[test]
fn damaged_pictures_that_browsers_show_are_repaired() {
    let server = Server::start();
    let token = server.user("rei");
    let png = picture(30_000);
    let response = server.upload(&token, &png[..png.len() - 12]);
    assert!(served(&server, &response) == png);

    let scan = [0x55; 20_000];
    let jpeg = |stray: &[u8]| {
        let frame: &[u8] = b"\xff\xc0\0\x0b\x08\0\x02\0\x03\x01\x01\x11\0";
        [
            b"\xff\xd8\xff\xdb\0\x03a",
            stray,
            frame,
            stray,
            b"\xff\xda\0\x02",
            &scan,
            b"\xff\xd9",
        ]
        .concat()
    };
    assert!(served(&server, &server.upload(&token, &jpeg(b"stray"))) == jpeg(b""));

    let gif = |width: u8, height: u8, zero: &[u8]| {
        let image = [
            b"\x2c\0\0\0\0\x03\0\x02\0\0\x02",
            &[b"\x7f", &[1; 127][..]].concat().repeat(100)[..],
            b"\0",
        ]
        .concat();
        [
            b"GIF89a",
            &[width, 0, height, 0, 0, 0, 0][..],
            zero,
            &image,
            zero,
            b"\x3b",
        ]
        .concat()
    };
    assert!(served(&server, &server.upload(&token, &gif(0, 0, b"\0"))) == gif(3, 2, b""));
}

#[test]
fn the_openapi_document_describes_the_detail() {
    let document = accountd::site::openapi::document();
    let path =
        "/paths/~1api~1upload_avatar/post/responses/200/content/application~1json/schema/oneOf";
    for row in document.pointer(path).unwrap().as_array().unwrap() {
        let is_described = row["properties"]["detail"]["description"].is_string();
        assert_eq!(
            is_described,
            row["properties"]["code"]["const"] == 169,
            "{row}"
        );
    }
}

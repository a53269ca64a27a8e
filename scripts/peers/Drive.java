// Sends the requests on standard input, one per line, with Java's HttpClient. See scripts/peers/ask.py.
//
//   java Drive.java [CERTIFICATE]

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Base64;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

class Drive {
    static final Duration TIMEOUT = Duration.ofSeconds(10);

    // Trusts only this certificate.
    static SSLContext trust(String certificate) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var file = Files.newInputStream(Path.of(certificate))) {
            store.setCertificateEntry("proxy", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    static BodyPublisher publisher(String way, byte[] body) {
        if (body == null) return BodyPublishers.noBody();
        // The client does not know the length of a stream.
        if (way.equals("stream")) return BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body));
        return BodyPublishers.ofByteArray(body);
    }

    static String ask(HttpClient client, String[] fields) throws Exception {
        var body = fields[3].isEmpty() ? null : Files.readAllBytes(Path.of(fields[3]));
        var request = HttpRequest.newBuilder(URI.create(fields[1]))
            .method(fields[0], publisher(fields[2], body))
            .expectContinue(fields[2].equals("expect"))
            .timeout(TIMEOUT);
        for (int i = 4; i < fields.length; i++) {
            request.header(fields[i].split(": ", 2)[0], fields[i].split(": ", 2)[1]);
        }
        HttpResponse<byte[]> answer = client.send(request.build(), BodyHandlers.ofByteArray());
        var line = new StringBuilder();
        line.append(answer.statusCode()).append('\t').append(Base64.getEncoder().encodeToString(answer.body()));
        answer.headers().map().forEach(
            (name, values) -> values.forEach(value -> line.append('\t').append(name).append(": ").append(value)));
        return line.toString();
    }

    public static void main(String[] arguments) throws Exception {
        var builder = HttpClient.newBuilder();
        if (arguments.length > 0) builder.sslContext(trust(arguments[0]));
        var client = builder.build();
        var input = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = input.readLine()) != null; ) {
            try {
                System.out.println(ask(client, line.split("\t", -1)));
            } catch (Exception error) {
                System.out.println("error\t" + error.toString().replaceAll("\\s+", " "));
            }
        }
        System.exit(0);
    }
}

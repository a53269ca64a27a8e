// Sends the requests on standard input, one per line, with Go's net/http. See scripts/peers/ask.py.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"time"
)

const timeout = 10 * time.Second

var client = &http.Client{
	Timeout: timeout,
	Transport: &http.Transport{
		ExpectContinueTimeout: 5 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   64,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// The request of a line.
type order struct {
	method, url, way string
	headers          []string
	body             []byte
}

// A body of unknown length, in at least three pieces of at most 16 KiB.
func stream(body []byte) io.Reader {
	reader, writer := io.Pipe()
	size := len(body)/3 + 1
	if size > 16384 {
		size = 16384
	}
	go func() {
		for len(body) > 0 {
			if size > len(body) {
				size = len(body)
			}
			if _, err := writer.Write(body[:size]); err != nil {
				return
			}
			body = body[size:]
		}
		writer.Close()
	}()
	return reader
}

// A multipart body with a picture, made while it is sent, and its type.
func form(picture []byte) (io.Reader, string) {
	reader, writer := io.Pipe()
	form := multipart.NewWriter(writer)
	go func() {
		head := textproto.MIMEHeader{}
		head.Set("Content-Disposition", `form-data; name="file"; filename="a.png"`)
		head.Set("Content-Type", "image/png")
		part, err := form.CreatePart(head)
		if err == nil {
			_, err = part.Write(picture)
		}
		if err == nil {
			err = form.Close()
		}
		writer.CloseWithError(err)
	}()
	return reader, form.FormDataContentType()
}

// Sends a request; returns the response and its body.
func ask(order order) (*http.Response, []byte, error) {
	var body io.Reader
	kind := ""
	if order.body != nil {
		switch order.way {
		case "stream":
			body = stream(order.body)
		case "form":
			body, kind = form(order.body)
		default:
			body = bytes.NewReader(order.body)
		}
	}
	request, err := http.NewRequest(order.method, order.url, body)
	if err != nil {
		return nil, nil, err
	}
	if order.way == "expect" {
		request.Header.Set("Expect", "100-continue")
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	for _, header := range order.headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return answer, content, err
}

// Sends a request many times, some at once; returns the count of each outcome.
func repeat(order order, times, atOnce int) string {
	counts := map[string]int{}
	var lock sync.Mutex
	var group sync.WaitGroup
	left := make(chan struct{}, times)
	for i := 0; i < times; i++ {
		left <- struct{}{}
	}
	close(left)
	for i := 0; i < atOnce; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for range left {
				answer, content, err := ask(order)
				outcome := fmt.Sprint(err)
				if err == nil {
					outcome = fmt.Sprintf("%s %d %s", answer.Proto, answer.StatusCode, content)
				}
				lock.Lock()
				counts[outcome]++
				lock.Unlock()
			}
		}()
	}
	group.Wait()
	text := ""
	for outcome, count := range counts {
		text += fmt.Sprintf("%d %s\n", count, strings.Join(strings.Fields(outcome), " "))
	}
	return text
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		order := order{method: fields[0], url: fields[1], way: fields[2], headers: fields[4:]}
		if fields[3] != "" {
			body, err := os.ReadFile(fields[3])
			if err != nil {
				panic(err)
			}
			order.body = body
		}
		var times, atOnce int
		if n, _ := fmt.Sscanf(order.way, "stream*%d/%d", &times, &atOnce); n == 2 {
			order.way = "stream"
			fmt.Printf("200\t%s\n", base64.StdEncoding.EncodeToString([]byte(repeat(order, times, atOnce))))
			continue
		}
		answer, content, err := ask(order)
		if err != nil {
			fmt.Printf("error\t%s\n", strings.Join(strings.Fields(err.Error()), " "))
			continue
		}
		fmt.Printf("%d\t%s", answer.StatusCode, base64.StdEncoding.EncodeToString(content))
		for name, values := range answer.Header {
			for _, value := range values {
				fmt.Printf("\t%s: %s", name, value)
			}
		}
		fmt.Println()
	}
}

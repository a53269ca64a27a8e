// Sends the requests on standard input, one per line, with one of Node's HTTP clients. See scripts/peers/ask.py.
//
//   node drive.mjs fetch|http|undici-request|undici-stream

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { Readable, Writable } from 'node:stream';

const TIMEOUT = 10_000;

// A body in at least three pieces of at most 16 KiB.
async function* pieces(body) {
  const size = Math.min(16384, Math.floor(body.length / 3) + 1);
  for (let at = 0; at < body.length; at += size) {
    yield body.subarray(at, at + size);
    await new Promise(setImmediate);
  }
}

function form(FormData, picture) {
  const form = new FormData();
  form.append('file', new Blob([picture], { type: 'image/png' }), 'a.png');
  return form;
}

const pairs = (headers) => Object.entries(headers).flatMap(([name, values]) => [values].flat().map((value) => [name, value]));

async function withFetch(method, url, way, body, headers) {
  const init = { method, headers, body, redirect: 'manual', signal: AbortSignal.timeout(TIMEOUT) };
  if (way === 'stream') Object.assign(init, { body: Readable.toWeb(Readable.from(pieces(body))), duplex: 'half' });
  if (way === 'form') init.body = form(FormData, body);
  const answer = await fetch(url, init);
  return { status: answer.status, headers: [...answer.headers], body: Buffer.from(await answer.arrayBuffer()) };
}

const agents = { 'http:': new http.Agent({ keepAlive: true }), 'https:': new https.Agent({ keepAlive: true }) };

function withHttp(method, url, way, body, headers) {
  return new Promise((resolve, reject) => {
    const { protocol } = new URL(url);
    const expecting = way === 'expect' ? { Expect: '100-continue' } : {};
    const length = body && way !== 'stream' ? { 'Content-Length': body.length } : {};
    const options = { method, agent: agents[protocol], headers: { ...headers, ...expecting, ...length } };
    const request = (protocol === 'https:' ? https : http).request(url, { ...options, timeout: TIMEOUT });
    let asked = way === 'expect';
    request.on('information', ({ statusCode }) => {
      if (statusCode !== 100 || !asked) request.destroy(new Error(`HTTP ${statusCode}, which the request did not ask for`));
      asked = false;
    });
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', reject);
    request.on('response', async (answer) => {
      try {
        resolve({ status: answer.statusCode, headers: pairs(answer.headers), body: Buffer.concat(await answer.toArray()) });
      } catch (error) {
        reject(error);
      }
    });
    if (way === 'stream') Readable.from(pieces(body)).pipe(request);
    else if (way === 'expect') {
      request.on('continue', () => request.end(body));
      request.flushHeaders();
    } else request.end(body);
  });
}

// Options for undici's request and stream.
function options(undici, method, way, body, headers) {
  const content = { stream: () => Readable.from(pieces(body)), form: () => form(undici.FormData, body) };
  const limits = { headersTimeout: TIMEOUT, bodyTimeout: TIMEOUT };
  return { method, headers, body: content[way]?.() ?? body, ...limits };
}

async function withUndiciRequest(undici, method, url, way, body, headers) {
  const answer = await undici.request(url, options(undici, method, way, body, headers));
  const content = Buffer.from(await answer.body.arrayBuffer());
  return { status: answer.statusCode, headers: pairs(answer.headers), body: content };
}

async function withUndiciStream(undici, method, url, way, body, headers) {
  const parts = [];
  let head;
  await undici.stream(url, options(undici, method, way, body, headers), ({ statusCode, headers }) => {
    head = { status: statusCode, headers: pairs(headers) };
    return new Writable({ write: (part, _encoding, done) => (parts.push(part), done()) });
  });
  return { ...head, body: Buffer.concat(parts) };
}

async function client(name) {
  if (name === 'fetch') return withFetch;
  if (name === 'http') return withHttp;
  const undici = await import('undici');
  return (name === 'undici-request' ? withUndiciRequest : withUndiciStream).bind(null, undici);
}

const ask = await client(process.argv[2]);
for await (const line of createInterface({ input: process.stdin })) {
  const [method, url, way, file, ...headers] = line.split('\t');
  let fields;
  try {
    const named = Object.fromEntries(headers.map((header) => header.split(/: (.*)/s)));
    const answer = await ask(method, url, way, file ? await readFile(file) : undefined, named);
    fields = [answer.status, answer.body.toString('base64'), ...answer.headers.map((pair) => pair.join(': '))];
  } catch (error) {
    fields = ['error', `${error.name}: ${error.message} ${error.cause ?? ''}`.replace(/\s+/g, ' ')];
  }
  process.stdout.write(`${fields.join('\t')}\n`);
}
process.exit();

// Runs test files in each browser that BROWSERS names: `node run.js [FILE...]`; without a file, all tests.

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";

const browsers = (process.env.BROWSERS ?? "chromium,firefox").split(",");
const named = process.argv.slice(2);
const files = named.length ? named : readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.js"));
// Files at once, in all browsers together: more than processors, since a test also waits.
const AT_ONCE = 4;
// The milliseconds are for a test.
const options = ["--test", "--test-reporter=spec", "--test-timeout=180000", `--test-concurrency=${Math.max(1, AT_ONCE / browsers.length)}`];

/// Runs the files in one browser; returns the exit code and what is printed.
async function run(name) {
  const since = performance.now();
  const child = spawn(process.execPath, [...options, ...files], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, BROWSER: name },
  });
  const lines = [];
  child.stdout.on("data", (bytes) => lines.push(bytes));
  const code = await new Promise((resolve) => child.once("close", resolve));
  console.log(`${name}, ${Math.round((performance.now() - since) / 1000)} s\n${Buffer.concat(lines)}`);
  return code;
}

const codes = await Promise.all(browsers.map(run));
process.exitCode = codes.every((code) => code === 0) ? 0 : 1;

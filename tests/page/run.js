// Runs test files in each browser that BROWSERS names: `node run.js [FILE...]`; without a file, all tests. With --short,
// Firefox, which takes twice as long, runs only the files of FLOWS.

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { createInterface } from "node:readline";

const browsers = (process.env.BROWSERS ?? "chromium,firefox").split(",");
const isShort = process.argv[2] === "--short";
const named = process.argv.slice(isShort ? 3 : 2);
/// What a person does with an account, from the registration on.
const FLOWS = ["flows.test.js", "totp.test.js"];
const files = named.length ? named : readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.js"));
// Files at once, in all browsers together: more than processors, since a test also waits.
const AT_ONCE = 4;
const options = ["--test", "--test-reporter=spec", `--test-concurrency=${Math.max(1, AT_ONCE / browsers.length)}`];

/// Runs the files in one browser and prints each line behind the browser's name; returns the exit code.
async function run(name) {
  const since = performance.now();
  const own = isShort && name === "firefox" ? FLOWS : files;
  const child = spawn(process.execPath, [...options, ...own], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, BROWSER: name },
  });
  for (const end of ["SIGTERM", "SIGINT"]) process.once(end, () => child.kill(end));
  createInterface(child.stdout).on("line", (line) => console.log(`${name.padEnd(8)} ${line}`));
  const code = await new Promise((resolve) => child.once("close", resolve));
  console.log(`${name.padEnd(8)} ${Math.round((performance.now() - since) / 1000)} s`);
  return code;
}

const codes = await Promise.all(browsers.map(run));
process.exitCode = codes.every((code) => code === 0) ? 0 : 1;

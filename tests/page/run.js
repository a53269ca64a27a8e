// Runs test files in each browser that BROWSERS names: `node run.js [FILE...]`.

import { spawn } from "node:child_process";

const browsers = (process.env.BROWSERS ?? "chromium,firefox").split(",");
for (const name of browsers) {
  const child = spawn(process.execPath, ["--test", ...process.argv.slice(2)], { stdio: "inherit", env: { ...process.env, BROWSER: name } });
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) process.exitCode = 1;
}

// Starts a server, waits for its URL, and runs test.mjs against it:
//   node run.mjs fake|hadal COMMAND [ARGUMENTS]
// Exit code 77: the npm packages could not be installed.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [kind, command, ...args] = process.argv.slice(2);

if (!existsSync(join(here, "node_modules", "openai"))) {
  const install = spawnSync("npm", ["ci", "--no-audit", "--no-fund"],
    { cwd: here, stdio: "inherit" });
  if (install.status !== 0) process.exit(77);
}

const server = spawn(command, args, { stdio: ["pipe", "ignore", "pipe"] });
let log = "";
const url = await new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no URL in 120 s:\n${log}`)), 120_000);
  server.on("exit", code => reject(new Error(`the server ended with ${code}:\n${log}`)));
  server.stderr.on("data", data => {
    log += data;
    const found = /listening .*?url=(http\S+)/.exec(log);
    if (found) { clearTimeout(timer); resolve(found[1]); }
  });
}).catch(e => { console.error(e.message); server.kill(); process.exit(1); });

const test = spawn(process.execPath, ["--test", join(here, "test.mjs")], {
  stdio: "inherit",
  env: { ...process.env, HADAL_URL: url, HADAL_KIND: kind },
});
test.on("exit", code => {
  server.removeAllListeners("exit");
  server.on("exit", (status, signal) => {
    if (status !== 0) {
      console.error(`the server ended with ${status ?? signal}:\n${log.slice(-4000)}`);
    }
    process.exit(code || (status === 0 ? 0 : 1));
  });
  if (kind === "fake") server.stdin.end();
  else server.kill("SIGTERM");
});

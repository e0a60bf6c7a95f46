// The real proxy, something to download, and a client of SOCKS5 of our own.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const TOKEN = "a-token-for-the-dashboard-test";
export const PASSWORD = "a password that nobody uses";
const PROGRAM = process.env.WEIRGATE_PROXY ?? new URL("../../../target/debug/weirgate-proxy", import.meta.url).pathname;

/** Starts the proxy; `{admin, listen, stop}`: where its page is, where clients connect. */
export async function startProxy() {
  const folder = mkdtempSync(join(tmpdir(), "weirgate-dashboard-"));
  writeFileSync(join(folder, "token"), TOKEN);
  const child = spawn(PROGRAM, ["run", "--listen", "127.0.0.1:0", "--database", join(folder, "users.db"), "--admin", "127.0.0.1:0",
    "--admin-token-file", join(folder, "token"), "--allow-egress", "127.0.0.0/8"], { stdio: ["ignore", "pipe", "inherit"] });
  const found = {};
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, address] = line.split(" ");
    found[word] = address;
    if (found.listening && found.admin) break;
  }
  if (!found.admin) throw new Error("the proxy has not started");
  const ended = new Promise((resolve) => child.once("exit", resolve));
  return {
    admin: `http://${found.admin}`,
    listen: found.listening,
    async stop() {
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), 3000).unref();
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

/** Calls the API as a program does. */
export async function call(admin, method, path, body) {
  const response = await fetch(admin + path, {
    method,
    headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json", "If-Match": "*" },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
}

/** A web server whose answer never ends. */
export async function startSource() {
  const chunk = Buffer.alloc(65536, "weir");
  const server = http.createServer((request, response) => {
    const more = () => {
      while (response.write(chunk));
      response.once("drain", more);
    };
    response.on("error", () => {});
    more();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: server.address().port, stop: () => server.closeAllConnections() ?? server.close() };
}

/** Downloads through the proxy; `{received(), ended, stop()}`. */
export async function download(listen, user, port) {
  const [host, proxyPort] = listen.split(":");
  const socket = net.connect(Number(proxyPort), host);
  const waiting = [];
  let buffered = Buffer.alloc(0);
  let streaming = false;
  let received = 0;
  const serve = () => {
    while (waiting.length > 0 && buffered.length >= waiting[0].length) {
      const { length, resolve } = waiting.shift();
      resolve(buffered.subarray(0, length));
      buffered = buffered.subarray(length);
    }
  };
  socket.on("data", (data) => {
    if (streaming) received += data.length;
    else buffered = Buffer.concat([buffered, data]);
    serve();
  });
  socket.on("error", () => {});
  const ended = new Promise((resolve) => socket.once("close", resolve));
  const read = (length) => new Promise((resolve) => {
    waiting.push({ length, resolve });
    serve();
  });
  const name = Buffer.from(user);
  const password = Buffer.from(PASSWORD);
  socket.write(Buffer.from([5, 1, 2]));
  await read(2);
  socket.write(Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([password.length]), password]));
  if ((await read(2))[1] !== 0) throw new Error(`${user} cannot log in`);
  socket.write(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]));
  if ((await read(10))[1] !== 0) throw new Error("the target is not reached");
  streaming = true;
  socket.write("GET / HTTP/1.1\r\nHost: source\r\n\r\n");
  return { received: () => received, ended, stop: () => socket.destroy() };
}

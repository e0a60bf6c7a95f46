// The dashboard in headless Chromium: log in, see a running transfer, change its rate, see the curve bend.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { PASSWORD, TOKEN, call, download, startProxy, startSource } from "./server.mjs";

const SCRIPT = "<script>alert(1)</script>";
const PICTURES = process.env.PICTURES ?? new URL("../../../target/dashboard", import.meta.url).pathname;
const AXE = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

let proxy;
let source;
let browser;
const running = [];

before(async () => {
  mkdirSync(PICTURES, { recursive: true });
  proxy = await startProxy();
  source = await startSource();
  await call(proxy.admin, "POST", "/api/v1/users", { name: "ada", password: PASSWORD, rate_down: "400 kB/s", quota: "60MB/daily" });
  await call(proxy.admin, "POST", "/api/v1/users", { name: SCRIPT, password: PASSWORD, rate: "50 kB/s" });
  await call(proxy.admin, "POST", "/api/v1/users", { name: "grace", password: PASSWORD, rate: "1500 kB/s" });
  for (const user of ["ada", SCRIPT, "grace"]) running.push(await download(proxy.listen, user, source.port));
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
});

after(async () => {
  await browser?.close();
  for (const one of running) one.stop();
  source?.stop();
  await proxy?.stop();
});

/** A page whose every complaint is kept: errors, refusals of the security policy, dialogs. */
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  page.on("dialog", (dialog) => {
    page.complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("console", (message) => {
    // A 401 is how the page learns that it has to log in.
    if (message.type() === "error" && !message.text().includes("401")) page.complaints.push(message.text());
  });
  await page.goto(proxy.admin);
  return page;
}

async function login(page) {
  await page.getByLabel("Admin token").fill(TOKEN);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator("#users tbody tr").first().waitFor();
}

/** The rate in B/s that the chart of the chosen user says it draws last. */
async function drawn(page) {
  const words = await page.locator("#user-chart").getAttribute("aria-label");
  const [, number, unit] = /: ([0-9.]+) (k?M?)B\/s down/.exec(words ?? "") ?? [];
  return number === undefined ? null : Number(number) * { "": 1, k: 1e3, M: 1e6 }[unit];
}

/** Waits until the drawn rate has been within `least` and `most` for three seconds on end. */
async function settles(page, least, most) {
  const seen = [];
  for (const deadline = Date.now() + 60000; Date.now() < deadline; ) {
    const rate = await drawn(page);
    seen.push(rate);
    const last = seen.slice(-3);
    if (last.length === 3 && last.every((one) => one !== null && one >= least && one <= most)) return;
    await page.waitForTimeout(1000);
  }
  assert.fail(`the curve was to settle within ${least} and ${most} B/s: ${seen}`);
}

async function choose(page, name) {
  await page.getByRole("button", { name, exact: true }).click();
  await page.locator("#user-name", { hasText: name }).waitFor();
  await page.locator("#user-body").waitFor();
}

test("a wrong token does not log in", async () => {
  const page = await open();
  await page.getByLabel("Admin token").fill("not the token at all");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").filter({ hasText: "That is not the token." }).waitFor();
  assert.equal(await page.locator("#board").isVisible(), false);
  await page.context().close();
});

test("log in, see a transfer, change its rate, see the curve bend", async () => {
  const page = await open();
  await login(page);
  await choose(page, "ada");
  await settles(page, 300e3, 500e3);
  await page.getByText("Now down 400 kB/s.").waitFor();
  assert.match(await page.locator("#user-quota").innerText(), /of 60\.0 MB/);
  assert.equal(await page.locator("#sessions tbody tr").count(), 1);

  await page.getByLabel("Rate").fill("100");
  await page.getByRole("button", { name: "Set the limit" }).click();
  await page.getByText("ada: down 100 kB/s, from this moment on.").waitFor();
  await settles(page, 70e3, 130e3);
  // Not only the picture: the bytes that arrive, too.
  const [first, since] = [running[0].received(), Date.now()];
  await page.waitForTimeout(4000);
  const rate = (running[0].received() - first) / ((Date.now() - since) / 1000);
  assert.ok(rate > 60e3 && rate < 140e3, `${rate} B/s arrive`);
  await page.screenshot({ path: `${PICTURES}/bend.png`, fullPage: true });

  // The limit that was seen has been changed by somebody else: nothing is overwritten.
  await call(proxy.admin, "PATCH", "/api/v1/users/ada", { rate_down: "300 kB/s" });
  await page.getByLabel("Rate").fill("7");
  await page.getByRole("button", { name: "Set the limit" }).click();
  await page.getByRole("alert").filter({ hasText: "changed this user meanwhile" }).waitFor();
  assert.equal(await page.getByLabel("Rate").inputValue(), "300");
  assert.deepEqual(page.complaints.filter((text) => !text.includes("412")), []);
  await page.context().close();
});

test("a rate that is none is refused in words", async () => {
  const page = await open();
  await login(page);
  await choose(page, "grace");
  for (const [rate, unit] of [["0", "1000"], ["0.5", "1"]]) {
    await page.getByLabel("Rate").fill(rate);
    await page.getByLabel("Unit").selectOption(unit);
    await page.getByRole("button", { name: "Set the limit" }).click();
    await page.getByRole("alert").filter({ hasText: "whole number of bytes" }).waitFor();
  }
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test("a user's name is text, whatever it says", async () => {
  const page = await open();
  await login(page);
  await choose(page, SCRIPT);
  await page.getByText("Now 50.0 kB/s.").waitFor();
  await page.getByRole("button", { name: "Disable the account" }).click();
  await page.getByRole("dialog").getByText(SCRIPT).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  assert.equal(await page.locator("script", { hasText: "alert(1)" }).count(), 0);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test("it is usable by keyboard alone", async () => {
  const page = await open();
  await page.getByLabel("Admin token").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "token");
  await page.keyboard.type(TOKEN);
  await page.keyboard.press("Enter");
  await page.locator("#users tbody tr").first().waitFor();
  await page.getByRole("searchbox").focus();
  await page.keyboard.type("grace");
  await page.keyboard.press("Enter");
  await page.locator("#user-name", { hasText: "grace" }).waitFor();
  await page.locator("#user-body").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "user");
  for (let presses = 0; (await page.evaluate(() => document.activeElement.id)) !== "limit-rate"; presses += 1) {
    assert.ok(presses < 20, "the rate is never reached");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Control+A");
  await page.keyboard.type("900");
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByText("grace: 900 kB/s, from this moment on.").waitFor();
  await page.context().close();
});

for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 400]) {
    test(`${colorScheme} at ${width} px: nothing sticks out, nobody is shut out`, async () => {
      const page = await open({ viewport: { width, height: 860 }, colorScheme, bypassCSP: true });
      await login(page);
      await choose(page, "ada");
      await page.locator("#errors-note, #errors tbody tr").first().waitFor();
      await page.locator("#changes li").first().waitFor();
      await page.waitForTimeout(2500);
      await page.screenshot({ path: `${PICTURES}/${width}-${colorScheme}.png`, fullPage: true });
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(beyond <= 0, `${beyond} px stick out`);
      await page.addScriptTag({ content: AXE });
      const { violations } = await page.evaluate(() => window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
      assert.deepEqual(violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`), []);
      await page.context().close();
    });
  }
}

test("the theme that was chosen goes before the system's, and stays", async () => {
  const page = await open({ colorScheme: "light" });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByLabel("Theme").selectOption("dark");
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.reload();
  assert.equal(await ground(), dark);
  await page.getByLabel("Theme").selectOption("system");
  assert.equal(await ground(), light);
  await page.emulateMedia({ colorScheme: "dark" });
  // Told with the next frame.
  while ((await ground()) !== dark) await page.waitForTimeout(20);
  await page.context().close();
});

test("a session is ended, and whoever logs out sees nothing more", async () => {
  const page = await open();
  await login(page);
  await choose(page, "grace");
  await page.getByRole("button", { name: /^End the session/ }).first().click();
  await running[2].ended;
  await page.getByText("None is open.").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Admin token").waitFor();
  assert.equal(await page.locator("#board").isVisible(), false);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

// The page: logs in, follows the server, and gives each part what is its.

import * as api from "./api.js";
import { byId, keyed, make, say, show } from "./dom.js";
import { count, duration, rate, time } from "./format.js";
import { Chart, History } from "./chart.js";
import { UserPanel, changed } from "./user.js";
import { UserTable } from "./users.js";

const LIST_INTERVAL = 2000;
const SLOW_INTERVAL = 5000;
const MOST_HISTORIES = 1000;

const histories = new Map();
const errors = [];
let stream = null;
let timers = [];
let chosen = null;
let latest = null;
let busy = false;

const table = new UserTable((name) => choose(name, true));
const panel = new UserPanel(told, sure);
const serverHistory = new History();
const serverChart = new Chart(byId("server-chart"), false);

let hiding = 0;
function told(text, bad = false) {
  const message = byId("message");
  say(message, text);
  message.classList.toggle("bad", bad);
  show(message, true);
  clearTimeout(hiding);
  hiding = setTimeout(() => show(message, false), 8000);
}

/** Asks before something is done. */
function sure(text, yes) {
  const dialog = byId("ask");
  say(byId("ask-text"), text);
  say(byId("ask-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function state(word, kind) {
  const pill = byId("state");
  say(pill, word);
  pill.className = `pill ${kind}`;
}

const now = (rates) => rates.instantaneous ?? 0;

function limitsOf(user) {
  return { shared: user.limit_shared_Bps, down: user.limit_down_Bps, up: user.limit_up_Bps };
}

function remember(user, at) {
  let history = histories.get(user.name);
  if (!history) {
    if (histories.size >= MOST_HISTORIES) histories.delete(histories.keys().next().value);
    history = new History();
    histories.set(user.name, history);
  }
  history.add(at, user.down_Bps.instantaneous, user.up_Bps.instantaneous, limitsOf(user));
  return history;
}

/** Follows one user: each second of theirs, and of the server. */
function follow() {
  stream?.close();
  stream = api.events(chosen);
  stream.addEventListener("open", () => state("live", "good"));
  stream.addEventListener("error", () => {
    state("reconnecting", "bad");
    // A browser gives up on an answer that is no stream: a login that has ended, a server that starts anew.
    if (stream.readyState === EventSource.CLOSED) check();
  });
  stream.addEventListener("server", (event) => {
    latest = JSON.parse(event.data);
    serverHistory.add(latest.at, latest.down_Bps.instantaneous, latest.up_Bps.instantaneous);
    serverChart.draw(serverHistory, `Throughput of the server: ${rate(latest.down_Bps.instantaneous)} down, ${rate(latest.up_Bps.instantaneous)} up`);
    tiles();
  });
  stream.addEventListener("user", (event) => {
    const user = JSON.parse(event.data);
    const history = remember(user, latest?.at ?? Math.floor(Date.now() / 1000));
    if (user.name === chosen) panel.live(user, history);
    else if (chosen === null) choose(user.name, false);
  });
}

function choose(name, asked) {
  chosen = name;
  table.select(name);
  panel.open(name).then(() => panel.sessions()).catch(() => {});
  follow();
  if (asked) {
    byId("user").focus({ preventScroll: true });
    byId("user").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }
}

function tiles() {
  const throttled = table.users.filter((user) => user.throttled_share >= 0.5).length;
  const failed = errors.length < 2 ? 0 : errors.at(-1).total - errors[0].total;
  const values = [
    ["Down", rate(latest.down_Bps.instantaneous), `peak ${rate(latest.down_Bps.peak)}`],
    ["Up", rate(latest.up_Bps.instantaneous), `peak ${rate(latest.up_Bps.peak)}`],
    ["Sessions", count(latest.sessions), `${count(latest.waiting)} waiting for a limit`],
    ["Users", count(latest.users), `${count(table.users.filter((user) => user.connections > 0).length)} connected`],
    ["Throttled", count(throttled), "users, most of the time"],
    ["Errors", count(failed), "in five minutes"],
  ];
  keyed(byId("tiles"), values, ([key]) => key, ([key]) => make("div", { class: "tile" }, make("dt", {}, key), make("dd"), make("dd", { class: "note" })), (tile, [, value, note]) => {
    say(tile.children[1], value);
    say(tile.children[2], note);
  });
}

async function list() {
  const page = await api.rates();
  for (const user of page.users) if (user.name !== chosen) remember(user, page.server.at);
  table.set(page.users, page.server.users);
  if (chosen === null && page.users.length > 0) choose(page.users[0].name, false);
  await panel.sessions();
}

/** The failures by reason, of the metrics. */
function failures(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = /^weirgate_failures_total\{([^}]*)\} ([0-9.e+]+)/.exec(line);
    const reason = match && /reason="([a-z-]+)"/.exec(match[1]);
    if (reason) found.set(reason[1], (found.get(reason[1]) ?? 0) + Number(match[2]));
  }
  return found;
}

async function slow() {
  const at = Date.now();
  const byReason = failures(await api.metrics());
  errors.push({ at, byReason, total: [...byReason.values()].reduce((sum, one) => sum + one, 0) });
  while (errors[0].at < at - 300000) errors.shift();
  const rows = [...byReason].filter(([, total]) => total > 0).map(([reason, total]) => ({ reason, total, recent: total - (errors[0].byReason.get(reason) ?? 0) }));
  rows.sort((a, b) => b.recent - a.recent || b.total - a.total);
  keyed(byId("errors").tBodies[0], rows, (row) => row.reason, (row) => make("tr", {}, make("th", { scope: "row" }, row.reason), make("td", { class: "number" }), make("td", { class: "number" })), (element, row) => {
    say(element.cells[1], count(row.recent));
    say(element.cells[2], count(row.total));
    element.classList.toggle("some", row.recent > 0);
  });
  show(byId("errors"), rows.length > 0);
  say(byId("errors-note"), rows.length > 0 ? "" : "Nobody was turned away since the server started.");
  const page = await api.changes();
  keyed(byId("changes"), page.entries, (entry) => entry.id, (entry) => {
    return make("li", {}, make("span", { class: "what" }, `${entry.action} `, make("strong", {}, entry.subject)), make("span", { class: "detail" }, changed(entry.detail)), make("span", { class: "note" }, `${time(entry.at)} · ${entry.actor}`));
  }, () => {});
  say(byId("changes-note"), page.entries.length > 0 ? "" : "Nobody has changed anything yet.");
  const server = await api.server();
  say(byId("server"), `weirgate-proxy ${server.version}, up ${duration(server.uptime_seconds)}, on ${server.listeners.join(" and ")}`);
  if (server.draining) state("draining", "bad");
}

/** Does `what` again and again, unless nobody looks. */
function every(interval, what) {
  const run = async () => {
    if (document.hidden) return;
    try {
      await what();
    } catch (error) {
      if (error.status === 401) await check();
      else state("reconnecting", "bad");
    }
  };
  timers.push(setInterval(run, interval));
  return run();
}

async function start() {
  const entered = !byId("login").hidden;
  show(byId("login"), false);
  show(byId("board"), true);
  // The field that had the focus is gone.
  if (entered) byId("main").focus();
  for (const timer of timers) clearInterval(timer);
  timers = [];
  follow();
  await every(LIST_INTERVAL, list);
  await every(SLOW_INTERVAL, slow);
}

function stop() {
  stream?.close();
  for (const timer of timers) clearInterval(timer);
  timers = [];
  show(byId("board"), false);
  show(byId("logout"), false);
  show(byId("login"), true);
  state("logged out", "");
  byId("token").focus();
}

/** Shows the board, or the login where it is needed; tries again while there is no server. */
async function check() {
  if (busy) return;
  busy = true;
  try {
    await api.server();
    show(byId("logout"), true);
    await start();
  } catch (error) {
    if (error.status === 401) stop();
    else {
      state("no server", "bad");
      setTimeout(check, 2000);
    }
  } finally {
    busy = false;
  }
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = byId("login-error");
  try {
    await api.login(byId("token").value);
    byId("token").value = "";
    show(problem, false);
    await check();
  } catch (error) {
    say(problem, error.status === 401 ? "That is not the token." : error.message);
    show(problem, true);
    byId("token").select();
  }
});

byId("logout").addEventListener("click", async () => {
  await api.logout().catch(() => {});
  await check();
});

check();

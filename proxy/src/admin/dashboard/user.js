// One user: curve, limit, quota, sessions.

import * as api from "./api.js";
import { bar, byId, keyed, make, say, show } from "./dom.js";
import { bytes, count, duration, percent, rate, split } from "./format.js";
import { badges, quota } from "./users.js";
import { Chart } from "./chart.js";

const DEFAULT_BURST = (perSecond) => Math.max(1500, Math.floor(perSecond / 100));

/** The policy `old` (null: none) at another rate. A burst that was chosen stays. */
export function atRate(old, perSecond) {
  const found = /^([a-z-]+):(.*)$/.exec(old ?? "");
  const field = (name) => new RegExp(`(?:^|,)${name}=([0-9]+)B`).exec(found?.[2] ?? "")?.[1];
  if (!found || !field("rate")) return `token-bucket:rate=${perSecond}B/s`;
  const usual = DEFAULT_BURST(Number(field("rate")));
  return old
    .replace(/rate=[^,]*/, `rate=${perSecond}B/s`)
    .replace(/,burst=([0-9]+)B(?=,|$)/, (whole, burst) => (Number(burst) === usual ? "" : whole));
}

/** A change as people say it; what was left as it is for everybody is left out. */
export function changed(detail) {
  const { rules, ...others } = detail ?? {};
  const keys = { ...others, ...rules };
  const words = Object.entries(keys).filter(([, value]) => value !== null && value !== true);
  const limits = { limit_shared: "limit", limit_down: "limit down", limit_up: "limit up" };
  const parts = words.map(([key, value]) => (limits[key] ? `${limits[key]} ${said(value)}` : `${key.replace("_", " ")} ${value}`));
  if (parts.length === 0 && Object.keys(limits).some((key) => keys[key] === null)) return "as for everybody";
  return parts.join(", ");
}

/** A limit as people say it. */
function said(policy) {
  if (policy === null || policy === undefined) return null;
  const found = /^([a-z-]+):.*?rate=([0-9]+)B\/s/.exec(policy);
  return found ? `${rate(Number(found[2]))}${found[1] === "token-bucket" ? "" : ` (${found[1]})`}` : policy === "none" ? "unlimited" : policy;
}

function limits(rules) {
  const parts = [["", rules.limit_shared], ["down ", rules.limit_down], ["up ", rules.limit_up]];
  const words = parts.filter(([, policy]) => policy).map(([way, policy]) => way + said(policy));
  return words.length > 0 ? words.join(", ") : "unlimited";
}

export class UserPanel {
  /** `told(text, bad)` shows what came of something, `sure(text, yes)` asks before it is done. */
  constructor(told, sure) {
    this.told = told;
    this.sure = sure;
    this.name = null;
    this.chart = new Chart(byId("user-chart"), true);
    this.quota = bar("Share of the quota used");
    byId("user-quota").append(make("span", { class: "key" }, "Quota"), this.quota.element);
    byId("limit-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.setLimit();
    });
    byId("limit-scope").addEventListener("change", () => this.fill());
    byId("limit-none").addEventListener("click", () => this.patch(() => ({ limit_shared: "none", limit_up: null, limit_down: null })));
    byId("limit-inherit").addEventListener("click", () => this.patch(() => ({ limit_shared: null, limit_up: null, limit_down: null })));
    byId("end-all").addEventListener("click", () => this.endAll());
    byId("enable").addEventListener("click", () => this.toggle());
  }

  /** Shows another user. */
  async open(name) {
    this.name = name;
    this.known = null;
    this.problem(null);
    say(byId("user-name"), name);
    show(byId("user-none"), false);
    byId("user-badges").replaceChildren();
    byId("sessions").tBodies[0].replaceChildren();
    try {
      await this.read();
      show(byId("user-body"), true);
      this.fill(true);
    } catch (error) {
      if (name !== this.name) return;
      show(byId("user-body"), false);
      say(byId("user-none"), error.message);
      show(byId("user-none"), true);
    }
  }

  /** Reads the user's settings again. */
  async read() {
    const name = this.name;
    const known = await api.user(name);
    if (name !== this.name) return;
    this.known = known;
    const { user } = known;
    const own = user.limit_shared || user.limit_up || user.limit_down;
    say(byId("limit-now"), `Now ${limits(user.rules)}${own ? "" : ", as for everybody"}.`);
    say(byId("enable"), user.enabled ? "Disable the account" : "Enable the account");
    byId("enable").classList.toggle("danger", user.enabled);
    byId("limit-inherit").disabled = !own;
    badges(byId("user-badges"), user);
    const period = { quota_bytes: user.period.quota_bytes, period_bytes: user.period.upload_bytes + user.period.download_bytes };
    this.showQuota(period);
  }

  /** Puts the limit that holds into the form; `whole`: the scope, too. */
  fill(whole = false) {
    const rules = this.known?.user.rules;
    if (!rules) return;
    const scope = byId("limit-scope");
    if (whole) scope.value = rules.limit_shared || !(rules.limit_down || rules.limit_up) ? "shared" : rules.limit_down ? "down" : "up";
    const policy = rules[`limit_${scope.value}`] ?? "";
    const found = /rate=([0-9]+)B\/s/.exec(policy);
    const { number, unit } = found ? split(Number(found[1])) : { number: "", unit: "1000" };
    byId("limit-rate").value = number;
    byId("limit-unit").value = unit;
  }

  problem(text) {
    const element = byId("limit-error");
    say(element, text ?? "");
    show(element, text !== null);
    byId("limit-rate").toggleAttribute("aria-invalid", text !== null);
  }

  setLimit() {
    const perSecond = Number(byId("limit-rate").value) * Number(byId("limit-unit").value);
    const whole = Math.round(perSecond);
    if (!(perSecond > 0) || Math.abs(whole - perSecond) > 1e-6 * perSecond || !Number.isSafeInteger(whole)) {
      this.problem("A rate is a whole number of bytes per second, and more than none.");
      byId("limit-rate").focus();
      return;
    }
    const scope = byId("limit-scope").value;
    this.patch((user) => {
      const { rules } = user;
      const at = (way) => (way === scope ? atRate(rules[`limit_${way}`], whole) : null);
      const other = (way) => (scope === "shared" ? null : rules[`limit_${way}`]);
      return { limit_shared: at("shared"), limit_up: at("up") ?? other("up"), limit_down: at("down") ?? other("down") };
    });
  }

  /** Changes what is shown, unless somebody else has meanwhile. */
  async patch(body) {
    const { name, known } = this;
    if (!known) return;
    try {
      await api.change(name, known.etag, body(known.user));
      this.problem(null);
      await this.read();
      this.fill(true);
      this.told(`${name}: ${limits(this.known.user.rules)}, from this moment on.`);
    } catch (error) {
      if (error.status === 412) {
        await this.read().catch(() => {});
        this.fill(true);
        this.problem("Somebody has changed this user meanwhile. This is how it is now; try again.");
      } else this.problem(error.message);
    }
  }

  async toggle() {
    const { name, known } = this;
    if (!known) return;
    const enabled = !known.user.enabled;
    if (!enabled && !(await this.sure(`Disable ${name}? Their sessions end at once.`, "Disable"))) return;
    await this.attempt(async () => {
      await api.change(name, known.etag, { enabled });
      await this.read();
      return `${name} is ${enabled ? "enabled" : "disabled"}.`;
    });
  }

  async endAll() {
    const { name } = this;
    if (!(await this.sure(`End all sessions of ${name}?`, "End them"))) return;
    await this.attempt(async () => {
      await api.killAll(name);
      return `The sessions of ${name} have ended.`;
    });
    await this.sessions();
  }

  async attempt(what) {
    try {
      this.told(await what());
    } catch (error) {
      this.told(error.message, true);
    }
  }

  /** A new second. */
  live(user, history) {
    const facts = [
      ["Down", rate(user.down_Bps.instantaneous)],
      ["Up", rate(user.up_Bps.instantaneous)],
      ["Smoothed", rate((user.down_Bps.smoothed ?? 0) + (user.up_Bps.smoothed ?? 0))],
      ["Peak down", rate(user.down_Bps.peak)],
      ["Sessions", `${count(user.connections)} from ${count(user.addresses)} ${user.addresses === 1 ? "address" : "addresses"}`],
      ["Throttled", percent(user.throttled_share)],
    ];
    factList(byId("user-facts"), facts);
    badges(byId("user-badges"), user);
    this.showQuota(user);
    const limit = user.limit_shared_Bps ?? user.limit_down_Bps ?? user.limit_up_Bps;
    this.chart.draw(history, `Throughput of ${user.name}: ${facts[0][1]} down, ${facts[1][1]} up, ${limit === null ? "no limit" : `limit ${rate(limit)}`}`);
  }

  showQuota(user) {
    const used = quota(user);
    show(byId("user-quota"), used !== null);
    if (used !== null) this.quota.set(used, `${bytes(user.period_bytes)} of ${bytes(user.quota_bytes)} (${percent(used)})`);
  }

  async sessions() {
    const { name } = this;
    if (name === null || byId("user-body").hidden) return;
    const page = await api.sessions(name);
    if (name !== this.name) return;
    keyed(byId("sessions").tBodies[0], page.sessions, (one) => one.id, (one) => this.session(one), (row, one) => {
      say(row.cells[1], bytes(one.download_bytes));
      say(row.cells[2], bytes(one.upload_bytes));
      say(row.cells[3], duration(one.seconds));
      say(row.cells[4], duration(one.throttled_seconds));
    });
    show(byId("sessions"), page.sessions.length > 0);
    byId("end-all").disabled = page.sessions.length === 0;
    say(byId("sessions-note"), page.sessions.length === 0 ? "None is open." : page.next === null ? "" : "The first hundred.");
  }

  session(one) {
    const end = make("button", { type: "button", class: "small", "aria-label": `End the session to ${one.target}`, onclick: () => this.attempt(async () => {
      await api.kill(one.id);
      await this.sessions();
      return `The session to ${one.target} has ended.`;
    }) }, "End");
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, one.target, make("span", { class: "note" }, `${one.protocol} from ${one.source}`)),
      ...["Down", "Up", "Age", "Waited"].map((label) => make("td", { "data-label": label, class: "number" })),
      make("td", {}, end),
    );
  }
}

/** A list of words and values. */
function factList(list, facts) {
  keyed(list, facts, ([key]) => key, ([key]) => make("div", {}, make("dt", {}, key), make("dd")), (item, [, value]) => say(item.lastElementChild, value));
}

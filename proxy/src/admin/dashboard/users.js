// The table of users.

import { bar, byId, keyed, make, say, show } from "./dom.js";
import { bytes, count, percent, rate } from "./format.js";

const MOST = 100;

const now = (rates) => rates.instantaneous ?? 0;

/** How much of the limit that binds most is used, and that limit; null is: there is none. */
export function share(user) {
  const uses = [
    [now(user.up_Bps) + now(user.down_Bps), user.limit_shared_Bps],
    [now(user.down_Bps), user.limit_down_Bps],
    [now(user.up_Bps), user.limit_up_Bps],
  ].filter(([, limit]) => limit !== null);
  if (uses.length === 0) return { share: null, limit: null };
  return uses.map(([used, limit]) => ({ share: used / limit, limit })).reduce((most, use) => (use.share > most.share ? use : most));
}

export function quota(user) {
  return user.quota_bytes === null ? null : user.quota_bytes === 0 ? 1 : user.period_bytes / user.quota_bytes;
}

const KEYS = {
  name: (user) => user.name,
  down: (user) => now(user.down_Bps),
  up: (user) => now(user.up_Bps),
  share: (user) => share(user).share ?? -1,
  quota: (user) => quota(user) ?? -1,
  sessions: (user) => user.connections,
};

export class UserTable {
  /** `choose(name)` is called for the user whom somebody wants to see. */
  constructor(choose) {
    this.choose = choose;
    this.users = [];
    this.total = 0;
    this.key = "down";
    this.falling = true;
    this.body = byId("users").tBodies[0];
    this.heads = [...document.querySelectorAll("#users th[data-key]")];
    for (const head of this.heads) head.querySelector("button").addEventListener("click", () => this.sort(head.dataset.key));
    byId("find").addEventListener("input", () => this.draw());
    byId("find").addEventListener("keydown", (event) => {
      const wanted = byId("find").value.trim();
      if (event.key === "Enter" && wanted) this.choose(this.found()[0]?.name ?? wanted);
    });
  }

  sort(key) {
    this.falling = this.key === key ? !this.falling : key !== "name";
    this.key = key;
    this.draw();
  }

  found() {
    const wanted = byId("find").value.trim().toLowerCase();
    const value = KEYS[this.key];
    const order = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
    const users = this.users.filter((user) => user.name.toLowerCase().includes(wanted));
    users.sort((a, b) => (this.falling ? order(b, a) : order(a, b)) || (a.name < b.name ? -1 : 1));
    return users;
  }

  set(users, total) {
    this.users = users;
    this.total = total;
    this.draw();
  }

  select(name) {
    this.chosen = name;
    this.draw();
  }

  draw() {
    for (const head of this.heads) {
      const sorted = head.dataset.key === this.key;
      if (sorted) head.setAttribute("aria-sort", this.falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const found = this.found();
    keyed(this.body, found.slice(0, MOST), (user) => user.name, (user) => this.row(user), (row, user) => this.update(row, user));
    const wanted = byId("find").value.trim();
    const note =
      found.length > MOST
        ? `The first ${MOST} of ${count(found.length)}.`
        : found.length === 0 && wanted
          ? `Nobody active is called that. Enter opens “${wanted}” all the same.`
          : `${count(this.users.length)} of ${count(this.total)} users have moved anything since the server started.`;
    say(byId("users-note"), note);
    show(byId("users"), found.length > 0);
  }

  row(user) {
    const cell = (label, ...children) => make("td", { "data-label": label }, ...children);
    const bars = { share: bar("Share of the limit in use"), quota: bar("Share of the quota used") };
    const name = make("button", { type: "button", class: "name", title: user.name, onclick: () => this.choose(user.name) }, user.name);
    const number = (label) => make("td", { "data-label": label, class: "number" });
    const row = make(
      "tr",
      {},
      make("th", { scope: "row" }, name, make("span", { class: "badges" })),
      number("Down"),
      number("Up"),
      cell("Of the limit", bars.share.element),
      cell("Quota", bars.quota.element),
      number("Sessions"),
    );
    row.bars = bars;
    return row;
  }

  update(row, user) {
    const cells = row.cells;
    const binding = share(user);
    const used = quota(user);
    say(cells[1], rate(user.down_Bps.instantaneous));
    say(cells[2], rate(user.up_Bps.instantaneous));
    row.bars.share.set(binding.share, binding.limit === null ? "no limit" : `${percent(binding.share)} of ${rate(binding.limit)}`);
    row.bars.quota.set(used, used === null ? "none" : `${percent(used)} of ${bytes(user.quota_bytes)}`);
    say(cells[5], count(user.connections));
    const chosen = user.name === this.chosen;
    row.classList.toggle("chosen", chosen);
    const name = row.querySelector("button");
    if (chosen) name.setAttribute("aria-current", "true");
    else name.removeAttribute("aria-current");
    badges(row.querySelector(".badges"), user);
  }
}

/** What is out of the ordinary with a user. */
export function badges(element, user) {
  const found = [];
  if (!user.enabled) found.push("disabled");
  if (user.standing === "over-quota") found.push("over quota");
  if (user.standing === "expired") found.push("expired");
  if ((user.throttled_share ?? 0) >= 0.5) found.push("throttled");
  keyed(element, found, (word) => word, (word) => make("span", { class: `badge ${word.replace(" ", "-")}` }, word), () => {});
}

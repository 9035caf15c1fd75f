import { byId, el, count, time } from "./dom.js";
import { ask, Refused } from "./api.js";

// The dead rows: found by a filter, which is in the page's address, page by page.

const fields = ["id", "topic", "key", "error", "type", "since", "until"];
let access = { details: false, change: false, token_set: false };
let next = "", counted = null, asked = null, running = false, looking = 0;

const address = () => new URLSearchParams(location.search);

// query is the filter of the address, as the relay reads it.
function query() {
  const q = new URLSearchParams();
  for (const name of fields) {
    const value = address().get(name);
    if (value) q.set(name, name === "since" || name === "until" ? utc(value) : value);
  }
  return q;
}

const utc = (text) => (/Z$/.test(text) ? text : text + (text.length === 16 ? ":00Z" : "Z"));

function fillForm() {
  for (const name of fields) byId("f-" + name).value = (address().get(name) ?? "").replace(/Z$/, "");
}

function go(q) {
  const text = q.toString();
  history.pushState(null, "", text ? "?" + text : location.pathname);
  fillForm();
  look();
}

async function look() {
  const mine = ++looking;
  if (!access.details) return list([], "", "Dead rows are shown on the relay's host, and with the token.");
  const q = query();
  if (address().get("after")) q.set("after", address().get("after"));
  try {
    const found = await (await ask("/api/dead?" + q)).json();
    if (mine !== looking) return;
    const chosen = fields.some((name) => address().get(name));
    const said = found.rows.length ? count(found.rows.length) + (found.next ? " on this page" : address().get("after") ? " on the last page" : found.rows.length === 1 ? " row" : " rows")
      : found.next ? "None so far: go on with the next page." : chosen ? "No dead rows of that kind." : "No dead rows.";
    list(found.rows, found.next, said);
  } catch (failure) {
    if (mine === looking) list([], "", "They cannot be read: " + failure.message);
  }
}

function list(all, after, said) {
  next = after;
  byId("dead-say").textContent = said;
  byId("dead-rows").replaceChildren(...all.map(row));
  byId("dead-scroll").hidden = !all.length;
  byId("dead-next").hidden = !next;
  byId("dead-first").hidden = !address().get("after");
  allow(all.length > 0);
}

function allow(any) {
  byId("dead-deeds").hidden = !any;
  for (const id of ["replay", "discard"]) byId(id).disabled = !access.change || running;
  byId("read-only").textContent = access.change ? "" : access.token_set ? "Read only: give the admin token above." : "Read only: OUTBOX_ADMIN_TOKEN is not set.";
}

function row(r) {
  const button = el("button", { type: "button", "aria-expanded": "false" }, "Show", el("span", { class: "hide" }, " row " + r.id));
  const line = el("tr", {}, el("td", { class: "number" }, r.id), el("td", { class: "number" }, time(r.dead_at)), el("td", {}, r.topic), el("td", {}, r.key ?? "–"),
    el("td", {}, r.error_type ? el("strong", {}, r.error_type) : null, r.error_type ? " " : null, short(r.error)), el("td", { class: "number" }, r.attempts), el("td", { class: "buttons-cell" }, button));
  let open = null;
  button.addEventListener("click", () => {
    if (open) {
      open.remove();
      open = null;
    } else line.after((open = details(r)));
    button.setAttribute("aria-expanded", String(Boolean(open)));
  });
  return line;
}

const short = (text) => (text.length > 200 ? text.slice(0, 200) + "…" : text);

function details(r) {
  const facts = (pairs) => el("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  const payload = el("div");
  const one = (action) => el("button", { type: "button", disabled: !access.change, class: action === "discard" ? "danger" : null, onclick: () => preview(action, { id: r.id }) }, action === "discard" ? "Discard this row…" : "Replay this row…");
  const load = el("button", { type: "button", disabled: !access.change, onclick: async () => {
    try {
      const whole = await (await ask("/api/dead/row?id=" + encodeURIComponent(r.id))).json();
      const cut = whole.payload_cut ? ", its beginning" : "";
      payload.replaceChildren(facts([["content type", whole.content_type], ["headers", whole.headers || "–"], ["payload", count(whole.payload_bytes) + " bytes" + cut]]),
        el("pre", { tabindex: "0", "aria-label": "payload" }, whole.payload_binary ? "(not text)" : whole.payload));
    } catch (failure) {
      payload.replaceChildren(el("p", { class: "failed" }, failure.message));
    }
  } }, "Show the payload");
  return el("tr", {}, el("td", { colspan: "7" }, facts([["message id", r.message_id], ["inserted", time(r.created_at)], ["error", r.error]]), payload, el("div", { class: "buttons" }, load, one("replay"), one("discard"))));
}

// filter is the address's filter for a request that changes something.
function filter() {
  return Object.fromEntries(query());
}

async function preview(action, choice) {
  byId("ask-say").textContent = "";
  byId("progress-say").textContent = "Counting the rows…";
  try {
    asked = { action, ...(await (await ask("/api/dead/preview", { method: "POST", body: choice })).json()) };
  } catch (failure) {
    byId("progress-say").textContent = failure.message;
    return;
  }
  byId("progress-say").textContent = "";
  if (!asked.count) {
    byId("progress-say").textContent = "There are no such dead rows any more.";
    return look();
  }
  asked.all = Object.keys(choice).length === 0;
  const what = (asked.count === 1 ? "1 dead row" : count(asked.count) + " dead rows");
  byId("ask-title").textContent = (action === "replay" ? "Replay " : "Discard ") + (asked.all && asked.count > 1 ? "all " : "") + what + "?";
  byId("ask-text").textContent = action === "replay" ? "They are sent again, each under its message id, as if they had never been tried." : "They are deleted, for good.";
  byId("ask-groups").replaceChildren(...asked.groups.map((g) => el("tr", {}, el("td", { class: "number" }, count(g.rows)), el("td", {}, g.topic), el("td", {}, g.error_type))));
  const yes = byId("ask-yes");
  yes.textContent = (action === "replay" ? "Replay " : "Discard ") + what;
  yes.className = action === "discard" ? "danger" : "";
  byId("ask").showModal();
}

async function confirmed() {
  const { action, filter, count, all } = asked;
  let mine;
  try {
    mine = (await (await ask("/api/dead/" + action, { method: "POST", body: { filter, count, all } })).json()).began_at;
  } catch (failure) {
    byId("ask-say").textContent = failure.message;
    return;
  }
  byId("ask").close();
  byId("dead").focus();
  follow(mine);
}

// follow shows how far the replay or discard has got that began at that time. The relay goes
// on with it whatever becomes of the page.
async function follow(mine) {
  running = true;
  allow(!byId("dead-deeds").hidden);
  for (;;) {
    const p = await progress(mine);
    tell(p);
    if (!p.running) break;
    await new Promise((done) => setTimeout(done, p.trouble ? 3000 : 500));
    if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
  }
  running = false;
  look();
}

const inTheLog = " The relay's log has the numbers of yours.";

async function progress(mine) {
  let p;
  try {
    p = await (await ask("/api/dead/progress")).json();
  } catch (failure) {
    // Without the right token nothing more is to be learned here.
    return { running: !(failure instanceof Refused), trouble: failure.message + (failure instanceof Refused ? inTheLog : "") };
  }
  if (p.began_at === mine) return p;
  return { running: false, trouble: p.began_at ? "Another replay or discard has begun since." + inTheLog : "The relay knows of none: it was started anew, or another relay has answered. The log of the one that began it has the numbers." };
}

function tell(p) {
  byId("progress").hidden = !p.running;
  if (p.trouble) {
    byId("progress-say").textContent = p.trouble;
    return;
  }
  const bar = byId("progress-bar");
  bar.max = Math.max(1, p.count);
  bar.value = p.changed;
  const done = p.action === "replay" ? "replayed" : "discarded";
  const left = p.left ? ", " + count(p.left) + " left: locked by others, or no longer dead" : "";
  byId("progress-say").textContent = p.error ? p.error + " (" + count(p.changed) + " " + done + ")" : count(p.changed) + " of " + count(p.count) + (p.count === 1 ? " row " : " rows ") + done + left + ".";
}

// update takes the snapshot: what may be done, and how many rows are dead.
export function showDead(shot) {
  const changed = JSON.stringify(access) !== JSON.stringify(shot.access);
  access = shot.access;
  const dead = shot.rows ? shot.rows.dead.rows : null;
  const quiet = !byId("dead-rows").querySelector("[aria-expanded=true]") && !byId("ask").open && !running && !byId("dead-scroll").contains(document.activeElement);
  if (changed || (dead !== counted && quiet)) {
    counted = dead;
    look();
  }
}

export function startDead() {
  fillForm();
  byId("filter").addEventListener("submit", (event) => {
    event.preventDefault();
    const q = new URLSearchParams();
    for (const name of fields) if (byId("f-" + name).value) q.set(name, byId("f-" + name).value);
    go(q);
  });
  byId("filter-clear").addEventListener("click", () => go(new URLSearchParams()));
  byId("dead-next").addEventListener("click", () => { const q = address(); q.set("after", next); go(q); });
  byId("dead-first").addEventListener("click", () => { const q = address(); q.delete("after"); go(q); });
  byId("replay").addEventListener("click", () => preview("replay", filter()));
  byId("discard").addEventListener("click", () => preview("discard", filter()));
  byId("ask-no").addEventListener("click", () => byId("ask").close());
  byId("ask-yes").addEventListener("click", confirmed);
  addEventListener("popstate", () => { fillForm(); look(); });
}

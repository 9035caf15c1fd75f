import { byId, el, count, rate, rows, span, time } from "./dom.js";

// The panels but for plots and dead rows. Each takes the snapshot.

export function showState(shot) {
  byId("state").dataset.level = shot.level;
  const heading = byId("state-text");
  if (heading.textContent !== shot.state) heading.textContent = shot.state;
  document.title = (shot.level === "bad" ? "✕ " : shot.level === "warn" ? "! " : "") + "outbox-relay " + shot.table;
  byId("where").textContent = shot.table + " → " + shot.broker + ", on " + shot.host + ", " + shot.version;
  byId("troubles").replaceChildren(...shot.troubles.map((t) => el("li", { class: t.level }, t.text, t.cause ? el("small", {}, t.cause) : null)));
}

export function showTiles(shot) {
  const r = shot.rows, load = shot.load;
  const tiles = [
    ["Messages a second", rate(shot.per_second)],
    ["Rows that wait", r ? rows(r.pending) : "–"],
    ["Oldest waits for", r ? span(r.oldest_pending_age_seconds) : "–"],
    ["Scheduled, retrying", r ? rows(r.scheduled) + ", " + rows(r.retrying) : "–"],
    ["On their way", count(load.in_flight)],
    ["Dead", r ? rows(r.dead) : "–"],
  ];
  byId("tiles").replaceChildren(...tiles.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

export function showRelays(shot) {
  const parts = [];
  if (shot.relays_error) parts.push(el("p", { class: "failed" }, "They cannot be looked up: " + shot.relays_error));
  else if (!shot.relays) parts.push(el("p", { class: "quiet" }, "They are being looked up."));
  else {
    const line = (m) => el("li", {}, m.name, " ", el("span", { class: "quiet" }, (m.leads ? "leads" : "stands by") + (m.relay ? "" : "; no working relay") + ", session " + m.pid));
    parts.push(shot.relays.length ? el("ul", {}, ...shot.relays.map(line)) : el("p", {}, "No relay leads or stands by."));
  }
  parts.push(el("p", { class: "quiet" }, "This one: " + shot.host + ", " + shot.mode + " since " + time(shot.since) + ", started " + time(shot.started_at) + ". Since then " +
    count(shot.totals.published_total) + " published, " + count(shot.totals.refused_total) + " refused."));
  byId("relays").replaceChildren(...parts);
}

export function showWaiting(shot) {
  const parts = [], hiddenNote = shot.access.details ? "" : " Which ones is shown on the relay's host, and with the token.";
  const list = (title, lines, more) => {
    if (!lines.length && !more) return;
    parts.push(el("h3", {}, title), el("ul", {}, ...lines.map((l) => el("li", {}, l)), more > 0 ? el("li", {}, "and " + count(more) + " more") : null));
  };
  if (shot.load.held_keys) {
    if (shot.held_keys.length) list("Keys that wait for a row of theirs", shot.held_keys, shot.load.held_keys - shot.held_keys.length);
    else parts.push(el("h3", {}, "Keys that wait for a row of theirs"), el("p", {}, count(shot.load.held_keys) + "." + hiddenNote));
  }
  list("Topics that come late", shot.late.map((t) => t.topic + ", since " + time(t.since) + ": " + t.why), shot.late_more);
  list("Rows that PostgreSQL refuses to mark", shot.unmarkable.map((r) => "row " + r.id + ", " + r.tries + " tries: " + r.error), shot.unmarkable_more);
  list("Sessions that have rows locked", shot.locked_by.map((b) => (b.pid ? "pid " + b.pid + " " + b.application : "prepared transaction " + b.prepared)), 0);
  byId("waiting").replaceChildren(...(parts.length ? parts : [el("p", { class: "quiet" }, "No key is held, no topic is late, every row can be marked.")]));
}

import { byId } from "./dom.js";
import { ask, token, Refused } from "./api.js";
import { drawPlots } from "./plots.js";
import { showState, showTiles, showRelays, showWaiting } from "./panels.js";
import { showDead, startDead } from "./dead.js";

// The page asks for one snapshot every few seconds, and not while nobody sees it.

const every = 3000;
let etag = "", timer = 0, answered = null, asking = false;

const panels = [["state", showState], ["tiles", showTiles], ["relays", showRelays], ["waiting", showWaiting], ["plots", (shot) => drawPlots(byId("plots"), shot.history)], ["dead", showDead]];

// show draws each panel for itself: one that fails leaves the others as they are, and is
// named, since what it shows is old.
function show(shot) {
  const old = [];
  for (const [name, draw] of panels) {
    try {
      draw(shot);
    } catch (failure) {
      console.warn(name, failure);
      old.push(name);
    }
  }
  byId("broken").hidden = !old.length;
  byId("broken").textContent = old.length ? "The page cannot show all that the relay says. These parts are old: " + old.join(", ") + "." : "";
  const state = byId("token-state");
  byId("token-forget").hidden = !token.get();
  state.textContent = shot.access.change ? "accepted" : shot.access.token_set ? "" : "none is set: read only";
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  asking = true;
  try {
    const answer = await ask("/api/snapshot", { headers: etag ? { "If-None-Match": etag } : {} });
    if (answer.status !== 304) {
      const shot = await answer.json();
      etag = answer.headers.get("ETag") ?? "";
      show(shot);
    }
    answered = new Date();
    byId("stale").hidden = true;
  } catch (failure) {
    failed(failure);
  } finally {
    asking = false;
  }
  timer = setTimeout(poll, every);
}

function failed(failure) {
  if (failure instanceof Refused && (failure.status === 401 || failure.status === 403) && token.get()) {
    token.set("");
    etag = "";
    byId("token-state").textContent = failure.message;
    return;
  }
  byId("state").dataset.level = "bad";
  byId("stale").hidden = false;
  byId("stale").textContent = "The relay does not answer" + (answered ? "; what is shown is of " + answered.toTimeString().slice(0, 8) : "") + ".";
  etag = "";
}

function useToken(text) {
  token.set(text);
  byId("token").value = "";
  etag = "";
  poll();
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value.trim());
});
byId("token-forget").addEventListener("click", () => useToken(""));
document.addEventListener("visibilitychange", poll);
startDead();
poll();

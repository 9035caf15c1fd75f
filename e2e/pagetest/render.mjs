// Runs the page's own modules in jsdom, for FuzzTextOfRowsIsShownAsText. Each line of the
// standard input has what the relay answers, by path. The page is shown, each dead row is
// opened, its payload is asked for, and a replay is previewed. Then a line says what the
// document has: its kinds of elements with their attributes, the values of those, and its text.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { JSDOM } from "jsdom";

const page = new URL("../../relay/admin/page/", import.meta.url);
const { window } = new JSDOM(readFileSync(new URL("index.html", page), "utf8"), { url: "http://localhost/", pretendToBeVisual: true });
const { document } = window;

for (const name of ["window", "document", "location", "history", "sessionStorage", "Node", "addEventListener", "getComputedStyle"]) {
  globalThis[name] = name === "window" ? window : typeof window[name] === "function" && name !== "Node" ? window[name].bind(window) : window[name];
}
// What jsdom does not have: the page works without what they do.
globalThis.ResizeObserver = class { observe() {} };
globalThis.matchMedia = () => ({ addEventListener() {} });
globalThis.uPlot = class { setData() {} setSize() {} redraw() {} };
globalThis.uPlot.paths = { stepped: () => null };
window.HTMLDialogElement.prototype.showModal = function () { this.setAttribute("open", ""); };
window.HTMLDialogElement.prototype.close = function () { this.removeAttribute("open"); };
console.warn = (...said) => trouble.push(said.join(" "));

let answers = {}, trouble = [];
globalThis.fetch = async (path) => {
  const answer = answers[path.split("?")[0]];
  return answer === undefined ? new Response("none", { status: 404 }) : new Response(answer, { status: 200 });
};

const settled = async () => { for (let n = 0; n < 30; n++) await new Promise((done) => setImmediate(done)); };
const click = async (selector) => {
  for (const button of document.querySelectorAll(selector)) button.click();
  await settled();
};

await import(new URL("page.js", page));
await settled();

for await (const line of createInterface({ input: process.stdin })) {
  answers = JSON.parse(line);
  trouble = [];
  document.getElementById("dead-rows").replaceChildren();
  document.dispatchEvent(new window.Event("visibilitychange")); // has it ask at once
  await settled();
  window.dispatchEvent(new window.Event("popstate")); // has it list the dead rows again
  await settled();
  await click("#dead-rows button[aria-expanded]");
  await click("#dead-rows .buttons button:first-child");
  await click("#replay");
  const kinds = new Set(), values = new Set();
  for (const element of document.querySelectorAll("*")) {
    kinds.add(element.localName);
    for (const { name, value } of element.attributes) {
      kinds.add(element.localName + " " + name);
      values.add(value);
    }
  }
  const text = document.body.textContent + " " + document.title;
  await click("#ask-no");
  process.stdout.write(JSON.stringify({ kinds: [...kinds], values: [...values], text, trouble }) + "\n");
}
process.exit(0);

// What builds the page. Text of rows, of brokers and of databases is set as text and
// nothing else: no markup is ever made from it.

export const byId = (id) => document.getElementById(id);

// el makes an element. Attributes are the page's own words.
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((c) => c != null).map((c) => (c instanceof Node ? c : document.createTextNode(String(c)))));
  return made;
}

export const count = (n) => n.toLocaleString("en");

export const rate = (n) => (n > 0 && n < 10 ? n.toFixed(1) : count(Math.round(n)));

// rows is a number of rows as the relay counts them.
export function rows(c) {
  return (c.more ? "more than " : c.estimated ? "about " : "") + count(c.rows);
}

export function span(seconds) {
  if (seconds == null) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.01) return (seconds * 1000).toFixed(1) + " ms";
  if (seconds < 1) return Math.round(seconds * 1000) + " ms";
  if (seconds < 120) return (seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)) + " s";
  if (seconds < 7200) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " d";
}

export function time(text) {
  return text == null ? "–" : text.replace("T", " ").replace(/(\.\d+)?Z$/, "") + " UTC";
}

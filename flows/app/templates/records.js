// Drawing of what a model says of a text, by the kinds of its values: no task is known here.
"use strict";
const FIRST = 5, MARKS = 6;

function made(kind, content, ...classes) {
  const found = document.createElement(kind);
  found.append(...[content].flat());
  if (classes.length) found.className = classes.join(" ");
  return found;
}
const share = number => (100 * number).toFixed(1) + "%";
const isMap = value => value !== null && typeof value === "object" && !Array.isArray(value);
const named = key => key.charAt(0).toUpperCase() + key.slice(1).replaceAll("_", " ");

function shown(record, text) {
  const parts = [];
  for (const [key, value] of Object.entries(record)) {
    if (typeof value === "string") parts.push(headline(value, record.probability));
    else if (typeof value === "number" && key !== "probability") parts.push(headline(String(value), undefined, named(key)));
    else if (isMap(value)) parts.push(bars(Object.entries(value)));
    else if (Array.isArray(value)) parts.push(...listed(key, value, text));
  }
  return parts;
}
function headline(text, probability, name) {
  const found = made("p", text, "head");
  if (name) found.prepend(made("span", name + " ", "muted"));
  if (probability !== undefined) found.append(made("span", "  " + share(probability), "muted"));
  return found;
}
function bars(pairs) {
  const sorted = pairs.filter(pair => typeof pair[1] === "number").sort((a, b) => b[1] - a[1]);
  const whole = made("div", drawn(sorted.slice(0, FIRST)));
  if (sorted.length > FIRST) {
    const more = made("details", made("summary", `${sorted.length - FIRST} more`));
    more.append(drawn(sorted.slice(FIRST)));
    whole.append(more);
  }
  return whole;
}
function drawn(pairs) {
  const list = made("dl", [], "bars");
  for (const [name, value] of pairs) {
    const meter = made("meter", "");
    meter.value = value;
    meter.setAttribute("aria-label", name);
    list.append(made("dt", name), made("dd", meter), made("dd", share(value), "number"));
  }
  return list;
}
function listed(key, values, text) {
  if (!values.length) return [headline(`No ${key.replaceAll("_", " ")}`)];
  if (typeof values[0] === "number") return [headline(`${values.length} numbers`, undefined, named(key)),
    made("p", values.slice(0, 8).join(", ") + (values.length > 8 ? ", …" : ""), "muted")];
  if (!isMap(values[0])) return values.map(value => headline(String(value)));
  if (!("start" in values[0])) return [headline(values.map(nameOf).join(", "))];
  return [marked(values, text), found(values)];
}
const nameOf = value => Object.entries(value).filter(e => typeof e[1] === "string" && e[0] !== "text").map(e => e[1])[0] ?? "";
// Places are counted in characters of Unicode, and a string of JavaScript in units of UTF-16.
function marked(spans, text) {
  const letters = Array.from(text), passage = made("p", [], "passage");
  const kinds = [...new Set(spans.map(nameOf))];
  let done = 0;
  for (const span of spans.filter(one => one.start !== null).sort((a, b) => a.start - b.start)) {
    if (span.start < done) continue;
    passage.append(letters.slice(done, span.start).join(""));
    const mark = made("mark", letters.slice(span.start, span.end).join(""));
    mark.style.background = `var(--mark-${1 + kinds.indexOf(nameOf(span)) % MARKS})`;
    if (nameOf(span)) mark.append(made("small", nameOf(span)));
    passage.append(mark);
    done = span.end;
  }
  passage.append(letters.slice(done).join(""));
  return passage;
}
function found(spans) {
  return drawn(spans.map(one => [[nameOf(one), one.text].filter(Boolean).join(": "), one.probability ?? 0]));
}
function answered(record, text) {
  const whole = made("details", [made("summary", "As JSON"), made("pre", JSON.stringify(record, null, 2))]);
  return [...shown(record, text), whole];
}
function refused(error) {
  const place = error.where ? ` (${error.where})` : "";
  const allowed = error.allowed ? ` Allowed: ${error.allowed}.` : "";
  const told = made("p", `${named(error.what)}${place}: ${error.found}.${allowed} ${error.next}`, "error");
  told.setAttribute("role", "alert");
  return told;
}
